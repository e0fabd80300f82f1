"""The targets function: takes what earlier releases put into a subscription of its own.

The replication function notes today what has to be copied to external storage that tenants own.
"""

from __future__ import annotations

from typing import Final

import azure.functions as func

from functions.deliveries import backing_off
from functions.services import ready_services

SUBSCRIPTION: Final = "targets"

blueprint = func.Blueprint()


@blueprint.function_name("targets")
@blueprint.service_bus_topic_trigger(
    arg_name="message",
    connection="ServiceBus",
    topic_name="events",
    subscription_name=SUBSCRIPTION,
)
async def targets(message: func.ServiceBusMessage) -> None:
    """``document.sealed`` and ``document.deleted``: let copies and erasures wait for the timer."""
    async with backing_off(message):
        services = await ready_services()
        await services.handlers.handle(SUBSCRIPTION, message.get_body())
