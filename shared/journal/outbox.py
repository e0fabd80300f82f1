"""The outbox: events are committed with the change that causes them, then published.

Publication follows right after the commit, many events at a time. What a crash or a silent bus leaves
behind is published by ``relay``, which a timer calls: each partition is on the agenda before its first
commit in a time window, so the relay looks there and nowhere else. An event may be published twice,
never not at all; the bus drops most duplicates and the consumers the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from shared.base import telemetry
from shared.base.errors import InvalidEvent, StrongroomError
from shared.base.events import Event
from shared.base.ids import earliest_id
from shared.base.models import Model
from shared.base.partitions import Partition
from shared.journal.agenda import COMMIT_MARGIN, Agenda, Task, after_commit
from shared.journal.collections import Collection, Stored, remove_all
from shared.ports.bus import EventBus
from shared.ports.clock import Runtime
from shared.ports.records import Change, Delete, RecordStore

KIND: Final = "outbox"
BATCH: Final = 100

# Younger events are left to the process that committed them: it is publishing them right now.
RELAY_AFTER: Final = timedelta(seconds=5)

WINDOW: Final = timedelta(minutes=2)
"""One agenda item a process and partition in this time."""

_log = logging.getLogger("strongroom.outbox")


class OutboxEvent(Model):
    """An event that is not known to be published.

    Attributes:
        id: The event's.
        event: Its CloudEvents JSON.
    """

    id: str
    event: str


class Outbox:
    """Publishes committed events.

    Args:
        records: Where the events were committed.
        bus: Where they go.
        agenda: Knows in which partitions events may be left.
        runtime: Tells which events are old enough for ``relay``.
    """

    def __init__(
        self, records: RecordStore, bus: EventBus, agenda: Agenda, runtime: Runtime
    ) -> None:
        self._records = records
        self._bus = bus
        self._agenda = agenda
        self._runtime = runtime
        self._outbox = Collection(records, OutboxEvent, KIND, lambda waiting: waiting.id)
        self._waiting: deque[Event] = deque()
        self._publishing: asyncio.Task[None] | None = None
        self._left: set[Partition] = set()
        self._relayed_at: datetime | None = None
        self._oldest = runtime.now()

    async def prepare(self, partition: Partition) -> None:
        """Before a commit with events: make sure that ``relay`` will look at the partition."""
        due = after_commit(self._runtime.now(), WINDOW)
        await self._agenda.add(Task.RELAY_EVENTS, partition, due)

    def changes(self, partition: Partition, events: Sequence[Event]) -> list[Change]:
        """The changes that put events into the outbox, to be committed with what caused them."""
        return [
            self._outbox.create(partition, OutboxEvent(id=event.id, event=event.to_json().decode()))
            for event in events
        ]

    def schedule_publish(self, events: Sequence[Event]) -> None:
        """Publish events that were just committed, in the background."""
        self._waiting.extend(events)
        if self._waiting and (self._publishing is None or self._publishing.done()):
            self._publishing = asyncio.create_task(self._publish_waiting())

    async def relay(self, *, everything: bool = False) -> int:
        """Publish what was committed and not published; return how many events that was.

        What cannot be read, such as an event of a later release, is logged and left.

        Args:
            everything: Do not wait for what processes that are still alive may be publishing: for the
                start of the only process. When the clock was set back it is done by itself: the times of
                what is left then say nothing.
        """
        now = self._runtime.now()
        if self._relayed_at is not None and now < self._relayed_at:
            everything = True
        self._relayed_at = self._oldest = now
        try:
            return await self._relay_due(now, everything)
        finally:
            telemetry.OUTBOX_AGE.set((now - self._oldest).total_seconds())

    async def close(self) -> None:
        """Wait until what is being published is published or left to ``relay``."""
        if self._publishing is not None:
            await self._publishing

    async def _relay_due(self, now: datetime, everything: bool) -> int:
        if everything:
            await self._agenda.bring_forward()
        relayed = 0
        for partition in list(self._left):
            relayed += await self._relay(partition, everything)
            self._left.discard(partition)
        horizon = now + (WINDOW + COMMIT_MARGIN if everything else timedelta())
        async for item in self._agenda.due(Task.RELAY_EVENTS, horizon):
            partition = Partition.parse(item.value.partition)
            relayed += await self._relay(partition, everything)
            # Something was committed there: the next set of the backups looks at it.
            await self._agenda.add(Task.BACK_UP, partition, min(item.value.due, now))
            await self._agenda.remove(Task.RELAY_EVENTS, [item])
        return relayed

    async def _relay(self, partition: Partition, everything: bool) -> int:
        limit = earliest_id("evt", self._runtime.now() - RELAY_AFTER)
        relayed = 0
        batch: list[Event] = []
        async for waiting in self._outbox.scan(partition):
            if not everything and waiting.value.id >= limit:
                break
            event = _event(waiting)
            if event is None:
                continue
            self._oldest = min(self._oldest, event.time)
            telemetry.link_to(event.traceparent)
            batch.append(event)
            if len(batch) == BATCH:
                relayed += await self._publish(batch)
                batch = []
        if batch:
            relayed += await self._publish(batch)
        return relayed

    async def _publish_waiting(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._publish(batch)
            except StrongroomError as error:
                _log.warning("left %d events to the relay: %s", len(batch), error.slug)
                self._left.update(event.partition for event in batch)
            except Exception as error:
                # A defect; it must neither hold up the events behind it nor the end of the process.
                _log.error("left %d events to the relay: %s", len(batch), type(error).__name__)
                self._left.update(event.partition for event in batch)

    async def _publish(self, events: Sequence[Event]) -> int:
        await self._bus.publish(events)
        by_partition: dict[Partition, list[Event]] = {}
        for event in events:
            by_partition.setdefault(event.partition, []).append(event)
        await asyncio.gather(
            *(
                remove_all(
                    self._records, partition, [Delete(KIND, event.id) for event in published]
                )
                for partition, published in by_partition.items()
            )
        )
        return len(events)


def _event(waiting: Stored[OutboxEvent]) -> Event | None:
    try:
        return Event.from_json(waiting.value.event.encode())
    except InvalidEvent:
        _log.error("left %s of %s in the outbox: not an event", waiting.value.id, waiting.partition)
        return None
