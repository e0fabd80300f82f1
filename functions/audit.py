"""The audit function: gives each tenant's waiting entries their place in its log."""

from __future__ import annotations

from typing import Final

import azure.functions as func

from functions.deliveries import backing_off
from functions.services import ready_services

SUBSCRIPTION: Final = "audit"

blueprint = func.Blueprint()


@blueprint.function_name("audit")
@blueprint.service_bus_topic_trigger(
    arg_name="message",
    connection="ServiceBus",
    topic_name="events",
    subscription_name=SUBSCRIPTION,
    is_sessions_enabled=True,
)
async def audit(message: func.ServiceBusMessage) -> None:
    """``audit.*``: append what waits in its tenant's log."""
    async with backing_off(message):
        services = await ready_services()
        await services.handlers.handle(SUBSCRIPTION, message.get_body())
