"""The replication function: makes replicas, heals damage, removes what is deleted."""

from __future__ import annotations

import azure.functions as func

from functions.deliveries import backing_off
from shared.base.events import Event, EventType
from shared.wiring.services import ready_services

blueprint = func.Blueprint()


@blueprint.function_name("replication")
@blueprint.service_bus_topic_trigger(
    arg_name="message",
    connection="ServiceBus",
    topic_name="events",
    subscription_name="replication",
)
async def replication(message: func.ServiceBusMessage) -> None:
    """``document.*``: bring the copies of a document into the state that its record asks for."""
    async with backing_off(message):
        service = (await ready_services()).replication
        effects = {
            EventType.DOCUMENT_SEALED: service.replicate,
            EventType.DOCUMENT_DAMAGED: service.repair,
            EventType.DOCUMENT_REPAIRED: service.erase,
            EventType.DOCUMENT_DELETED: service.erase,
        }
        event = Event.from_json(message.get_body())
        await effects[event.type](event)
