"""The outbox: events are committed with the change that causes them, then published.

Publication follows right after the commit, many events at a time; what a crash or a silent bus leaves
behind is published by ``relay``, which a timer calls. An event may therefore be published twice, never
not at all; the bus drops most duplicates and the consumers the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from shared.base.errors import Conflict, InvalidInput, StrongroomError
from shared.base.events import Event
from shared.base.ids import earliest_id
from shared.ports.bus import EventBus
from shared.ports.clock import Clock
from shared.ports.records import Change, Create, Delete, Record, RecordStore

KIND: Final = "outbox"
BATCH: Final = 100

# Younger events are left to the process that committed them: it is publishing them right now.
RELAY_AFTER: Final = timedelta(seconds=5)

_log = logging.getLogger("strongroom.outbox")


class Outbox:
    """Publishes committed events.

    Args:
        records: Where the events were committed.
        bus: Where they go.
        clock: Tells which events are old enough for ``relay``.
    """

    def __init__(self, records: RecordStore, bus: EventBus, clock: Clock) -> None:
        self._records = records
        self._bus = bus
        self._clock = clock
        self._waiting: deque[Event] = deque()
        self._publishing: asyncio.Task[None] | None = None

    @staticmethod
    def changes(events: Sequence[Event]) -> list[Change]:
        """The changes that put events into the outbox, to be committed with what caused them."""
        return [
            Create(Record(event.tenant, KIND, event.id, {"event": event.to_json().decode()}))
            for event in events
        ]

    def schedule_publish(self, events: Sequence[Event]) -> None:
        """Publish events that were just committed, in the background."""
        self._waiting.extend(events)
        if self._waiting and (self._publishing is None or self._publishing.done()):
            self._publishing = asyncio.create_task(self._publish_waiting())

    async def relay(self) -> int:
        """Publish what was committed and not published; return how many events that was.

        What cannot be read, such as an event of a release that was taken back, is logged and left.
        """
        limit = earliest_id("evt", self._clock.now() - RELAY_AFTER)
        relayed = 0
        cursor: str | None = None
        while True:
            page = await self._records.query(KIND, tenant=None, limit=BATCH, cursor=cursor)
            old = [record for record in page.records if record.id < limit]
            events = [event for record in old if (event := _event(record)) is not None]
            if events:
                await self._publish(events)
            relayed += len(events)
            cursor = page.cursor
            if cursor is None or len(old) < len(page.records):
                return relayed

    async def close(self) -> None:
        """Wait until what is being published is published or left to ``relay``."""
        if self._publishing is not None:
            await self._publishing

    async def _publish_waiting(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._publish(batch)
            except StrongroomError as error:
                _log.warning("left %d events to the relay: %s", len(batch), error.slug)
            except Exception as error:
                # A defect; it must neither hold up the events behind it nor the end of the process.
                _log.error("left %d events to the relay: %s", len(batch), type(error).__name__)

    async def _publish(self, events: Sequence[Event]) -> None:
        await self._bus.publish(events)
        by_tenant: dict[str, list[Event]] = {}
        for event in events:
            by_tenant.setdefault(event.tenant, []).append(event)
        await asyncio.gather(
            *(self._forget(tenant, published) for tenant, published in by_tenant.items())
        )

    async def _forget(self, tenant: str, events: Sequence[Event]) -> None:
        try:
            await self._records.commit(tenant, [Delete(KIND, event.id) for event in events])
        except Conflict:
            # The relay and the committing process met: some are gone, so go one by one.
            for event in events:
                try:
                    await self._records.commit(tenant, [Delete(KIND, event.id)])
                except Conflict:
                    continue


def _event(record: Record) -> Event | None:
    try:
        return Event.from_json(str(record.body["event"]).encode())
    except (InvalidInput, KeyError):
        _log.error("left %s of %s in the outbox: it is no event", record.id, record.tenant)
        return None
