"""The one event table: which service method handles an event of a type for a subscription."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from shared.audit.log import AuditLog
from shared.base import telemetry
from shared.base.errors import InvalidEvent
from shared.base.events import Event, EventType
from shared.documents.staged import StagedContentSealer
from shared.journal.outbox import Outbox
from shared.ports.clock import Clock
from shared.replication.service import Replication
from shared.targets.queue import TargetQueue

Handler = Callable[[Event], Awaitable[object]]

ENCRYPTION: Final = "encryption"
REPLICATION: Final = "replication"
TARGETS: Final = "targets"
AUDIT: Final = "audit"


@dataclass(frozen=True, slots=True)
class Handlers:
    """The handlers of every subscription.

    Attributes:
        table: Subscription -> event type -> handler; at least what ``infra/topology.json`` delivers.
        outbox: Learns which events are published, as those that arrive are.
        clock: Tells how old an event is.
    """

    table: Mapping[str, Mapping[EventType, Handler]]
    outbox: Outbox
    clock: Clock

    async def handle(self, subscription: str, message: bytes) -> None:
        """Let a message of a subscription take effect.

        Args:
            subscription: Where it was received.
            message: CloudEvents JSON.

        Raises:
            InvalidEvent: It is not an event that the subscription takes; no later try can help.
        """
        event = Event.from_json(message)
        handler = self.table[subscription].get(event.type)
        if handler is None:
            raise InvalidEvent(f"The subscription {subscription} does not take {event.type}.")
        self.outbox.record_published(event.id)
        age = (self.clock.now() - event.time).total_seconds()
        with telemetry.processing(subscription, event.type, event.id, event.traceparent, age):
            await handler(event)


def event_handlers(
    sealer: StagedContentSealer,
    replication: Replication,
    targets: TargetQueue,
    audit_log: AuditLog,
    outbox: Outbox,
    clock: Clock,
) -> Handlers:
    """The handlers over these services."""

    async def append(event: Event) -> None:
        await audit_log.append_pending(event.partition)

    # The queue of targets has its part whatever becomes of the replica: a target is there for the time
    # when a region is down.
    async def replicate(event: Event) -> None:
        try:
            await replication.replicate(event)
        finally:
            await targets.copy(event)

    async def erase(event: Event) -> None:
        try:
            await replication.erase(event)
        finally:
            await targets.erase(event)

    return Handlers(
        {
            ENCRYPTION: {EventType.UPLOAD_COMPLETED: sealer.seal},
            REPLICATION: {
                EventType.DOCUMENT_SEALED: replicate,
                EventType.DOCUMENT_DAMAGED: replication.repair,
                EventType.DOCUMENT_REPAIRED: replication.erase,
                EventType.DOCUMENT_DELETED: erase,
            },
            # What an earlier release put there.
            TARGETS: {
                EventType.DOCUMENT_SEALED: targets.copy,
                EventType.DOCUMENT_DELETED: targets.erase,
            },
            # All types, since messages of an earlier release may still be there.
            AUDIT: dict.fromkeys(EventType, append),
        },
        outbox,
        clock,
    )
