"""The replication function: makes and repairs replicas, erases what is deleted, queues what targets get."""

from __future__ import annotations

from typing import Final

import azure.functions as func

from functions.deliveries import backing_off
from functions.services import ready_services

SUBSCRIPTION: Final = "replication"

blueprint = func.Blueprint()


@blueprint.function_name("replication")
@blueprint.service_bus_topic_trigger(
    arg_name="message",
    connection="ServiceBus",
    topic_name="events",
    subscription_name=SUBSCRIPTION,
)
async def replication(message: func.ServiceBusMessage) -> None:
    """``document.*``: bring the copies of a document into the state that its record asks for."""
    async with backing_off(message):
        services = await ready_services()
        await services.handlers.handle(SUBSCRIPTION, message.get_body())
