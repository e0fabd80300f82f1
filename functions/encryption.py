"""The encryption function: seals each completed upload."""

from __future__ import annotations

from typing import Final

import azure.functions as func

from functions.deliveries import backing_off
from functions.services import ready_services

SUBSCRIPTION: Final = "encryption"

blueprint = func.Blueprint()


@blueprint.function_name("encryption")
@blueprint.service_bus_topic_trigger(
    arg_name="message",
    connection="ServiceBus",
    topic_name="events",
    subscription_name=SUBSCRIPTION,
)
async def encryption(message: func.ServiceBusMessage) -> None:
    """``upload.completed``: seal the staged content into its document."""
    async with backing_off(message):
        services = await ready_services()
        await services.handlers.handle(SUBSCRIPTION, message.get_body())
