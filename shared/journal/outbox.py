"""The outbox: events are committed with the change that causes them, then published.

An event waits with the audit entry of its change (``shared.journal.waiting``), or, where there is none, as
a record of its own. Publication follows right after the commit, many events at a time. What a crash or a
silent bus leaves behind is published by ``relay``, which a timer calls: each partition is on the agenda
before its first commit in a time window, so the relay looks there and nowhere else. Before an entry moves
into its log its events are published, whoever committed it. An event may be published twice, never not at
all; the bus drops most duplicates and the consumers the rest.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from shared.base import telemetry
from shared.base.errors import Conflict, Damaged, InvalidEvent, StrongroomError, Unavailable
from shared.base.events import Event
from shared.base.ids import created_at, earliest_id
from shared.base.models import Model
from shared.base.partitions import Partition
from shared.base.recent_ids import RecentIds
from shared.journal.agenda import COMMIT_MARGIN, Agenda, Task, after_commit
from shared.journal.announcing import EntryAnnouncements
from shared.journal.collections import SCAN_PAGE, Collection, remove_all
from shared.journal.waiting import ENTRY_KIND, read_waiting
from shared.ports.bus import EventBus
from shared.ports.clock import Runtime
from shared.ports.records import Change, Delete, Record, RecordStore

KIND: Final = "outbox"
BATCH: Final = 100

# Younger events are left to the process that committed them: it is publishing them right now.
RELAY_AFTER: Final = timedelta(seconds=5)

WINDOW: Final = timedelta(minutes=2)
"""One agenda item a process and partition in this time."""

LOOK_AGAIN: Final = timedelta(hours=1)
"""What cannot be read may be an event of a later release, which can read it once it is there."""

PUBLISHED_KNOWN: Final = 20_000
"""Events that a process remembers as published, so that it does not do so again for their entries."""

_log = logging.getLogger("strongroom.outbox")


class OutboxEvent(Model):
    """An event without an entry of its own that is not known to be published.

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
        environment: Bound into what it announces itself.
        runtime: Tells which events are old enough for ``relay``.
    """

    def __init__(
        self,
        records: RecordStore,
        bus: EventBus,
        agenda: Agenda,
        environment: str,
        runtime: Runtime,
    ) -> None:
        self._records = records
        self._bus = bus
        self._agenda = agenda
        self._runtime = runtime
        self._outbox = Collection(records, OutboxEvent, KIND, lambda waiting: waiting.id)
        self._waiting: deque[Event] = deque()
        self._recorded: set[str] = set()
        self._published = RecentIds(PUBLISHED_KNOWN)
        self._publishing: asyncio.Task[None] | None = None
        self._left: set[Partition] = set()
        self._entries = EntryAnnouncements(bus, environment, runtime, self._left)
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

    def schedule_publish(self, events: Sequence[Event], *, recorded: bool = False) -> None:
        """Publish events that were just committed, in the background.

        Args:
            events: Of one commit.
            recorded: They have records of their own (``changes``), which go once they are published.
        """
        self._waiting.extend(events)
        if recorded:
            self._recorded.update(event.id for event in events)
        if self._waiting and (self._publishing is None or self._publishing.done()):
            self._publishing = asyncio.create_task(self._publish_waiting())

    def announce_entry(self, partition: Partition, entry: str) -> None:
        """Tell the audit function, soon, that an entry which was just committed waits."""
        self._entries.schedule(partition, entry)

    def record_published(self, event: str) -> None:
        """Remember that an event, by its id, is on the bus, or was: whoever published it."""
        self._published.add(event)

    async def ensure_published(self, partition: Partition, events: Sequence[str]) -> None:
        """Publish the events of entries that are about to leave the place where they wait.

        Those that this process has published or received already are left out. One that cannot be read,
        such as one of a later release, stays in the outbox.

        Args:
            partition: Where the entries wait.
            events: As they were committed.

        Raises:
            Unavailable: The bus, or the record store, does not respond.
        """
        found = [(text, _event(text)) for text in events]
        unpublished = [
            event for _, event in found if event is not None and event.id not in self._published
        ]
        for start in range(0, len(unpublished), BATCH):
            await self._publish(unpublished[start : start + BATCH])
        for text in (text for text, event in found if event is None):
            await self._keep(partition, text)

    async def relay(self, *, everything: bool = False) -> int:
        """Publish what was committed and not published; return how many events that was.

        What cannot be read, such as an event of a later release, is logged and left, and looked at again an
        hour later. A partition that cannot be relayed is logged, and tried again by the next relay.

        Args:
            everything: Do not wait for what processes that are still alive may be publishing: for the
                start of the only process. When the clock was set back it is done by itself: the times of
                what is left then say nothing.

        Raises:
            Unavailable: The bus, or the record store, does not respond.
        """
        now = self._runtime.now()
        set_back = self._relayed_at is not None and now < self._relayed_at
        self._relayed_at = self._oldest = now
        try:
            # Other processes count on items whose time has not come: those stay.
            done_until = None if everything else now
            return await self._relay_due(now, everything or set_back, done_until)
        finally:
            telemetry.OUTBOX_AGE.set((now - self._oldest).total_seconds())

    async def close(self) -> None:
        """Wait until what is being published is published or left to ``relay``."""
        if self._publishing is not None:
            await self._publishing
        await self._entries.flush()

    async def _relay_due(self, now: datetime, everything: bool, done_until: datetime | None) -> int:
        if everything:
            await self._agenda.bring_forward()
        relayed = 0
        for partition in list(self._left):
            count = await self._relay_apart(partition, everything, None)
            if count is not None:
                relayed += count
                self._left.discard(partition)
        horizon = now + (WINDOW + COMMIT_MARGIN if everything else timedelta())
        async for item in self._agenda.due(Task.RELAY_EVENTS, horizon):
            partition = Partition.parse(item.value.partition)
            since = None if everything else item.value.due - WINDOW - 2 * COMMIT_MARGIN
            count = await self._relay_apart(partition, everything, since)
            if count is None:
                continue
            relayed += count
            # Something was committed there: the next set of the backups looks at it.
            await self._agenda.add(Task.BACK_UP, partition, min(item.value.due, now))
            if done_until is None or item.value.due <= done_until:
                await self._agenda.remove(Task.RELAY_EVENTS, [item])
        return relayed

    async def _relay_apart(
        self, partition: Partition, everything: bool, since: datetime | None
    ) -> int | None:
        """As ``_relay``; None where what is in the partition made it fail: others must not wait for it."""
        try:
            return await self._relay(partition, everything, since)
        except Unavailable:
            raise
        except Exception as error:
            what = error.slug if isinstance(error, StrongroomError) else type(error).__name__
            _log.error("left the events of %s to the next relay: %s", partition, what)
            return None

    async def _relay(self, partition: Partition, everything: bool, since: datetime | None) -> int:
        """Publish what was left in a partition; return how many events that was.

        Args:
            partition: Where to look.
            everything: See ``relay``.
            since: When the commits began that are to be looked after; None: whenever. Events of entries
                that have waited for longer were relayed before.
        """
        limit = None if everything else self._runtime.now() - RELAY_AFTER
        relayed = await self._relay_recorded(partition, limit)
        oldest = await self._records.query(partition, ENTRY_KIND, limit=1)
        waiting = [each.id for each in oldest.records]
        if not waiting or (limit is not None and waiting[0] >= earliest_id("aud", limit)):
            return relayed
        relayed += await self._relay_of_entries(partition, since, limit)
        with suppress(ValueError):  # the append says so
            self._oldest = min(self._oldest, created_at(waiting[0]))
        await self._entries.announce({partition: waiting[0]})
        return relayed + 1

    async def _relay_recorded(self, partition: Partition, limit: datetime | None) -> int:
        relayed = 0
        batch: list[Event] = []
        left = False
        async for waiting in self._outbox.scan(partition, tolerant=True):
            if limit is not None and waiting.value.id >= earliest_id("evt", limit):
                break
            event = _event(waiting.value.event)
            if event is None:
                _log.error("left %s of %s in the outbox: not an event", waiting.value.id, partition)
                left = True
                continue
            self._recorded.add(event.id)
            batch.append(event)
            if len(batch) == BATCH:
                relayed += await self._relay_batch(batch)
                batch = []
        if left:
            await self._look_again(partition)
        return relayed + await self._relay_batch(batch)

    async def _relay_of_entries(
        self, partition: Partition, since: datetime | None, limit: datetime | None
    ) -> int:
        relayed = 0
        cursor: str | None = None
        while True:
            page = await self._records.query(
                partition,
                ENTRY_KIND,
                limit=SCAN_PAGE,
                cursor=cursor,
                first=None if since is None else earliest_id("aud", since),
                before=None if limit is None else earliest_id("aud", limit),
            )
            found = [_event(text) for record in page.records for text in _events_of(record)]
            events = [
                event for event in found if event is not None and event.id not in self._published
            ]
            for start in range(0, len(events), BATCH):
                relayed += await self._relay_batch(events[start : start + BATCH])
            cursor = page.cursor
            if cursor is None:
                return relayed

    async def _relay_batch(self, events: Sequence[Event]) -> int:
        if not events:
            return 0
        self._oldest = min(self._oldest, *(event.time for event in events))
        for event in events:
            telemetry.link_to(event.traceparent)
        await self._publish(events)
        return len(events)

    async def _keep(self, partition: Partition, text: str) -> None:
        try:
            name = str(json.loads(text)["id"])
        except (KeyError, TypeError, ValueError):
            raise Damaged("An event of an audit entry that waits is damaged.") from None
        await self._look_again(partition)
        with suppress(Conflict):  # it is there
            await self._records.commit(
                partition, [self._outbox.create(partition, OutboxEvent(id=name, event=text))]
            )

    async def _look_again(self, partition: Partition) -> None:
        due = after_commit(self._runtime.now(), LOOK_AGAIN)
        await self._agenda.add(Task.RELAY_EVENTS, partition, due)

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

    async def _publish(self, events: Sequence[Event]) -> None:
        await self._bus.publish(events)
        by_partition: dict[Partition, list[Event]] = {}
        for event in events:
            self.record_published(event.id)
            if event.id in self._recorded:
                by_partition.setdefault(event.partition, []).append(event)
        await asyncio.gather(
            *(
                remove_all(
                    self._records, partition, [Delete(KIND, event.id) for event in published]
                )
                for partition, published in by_partition.items()
            )
        )
        self._recorded.difference_update(event.id for event in events)


def _events_of(record: Record) -> Sequence[str]:
    try:
        return read_waiting(record).events
    except Damaged:
        return ()  # the append says so


def _event(text: str) -> Event | None:
    try:
        return Event.from_json(text.encode())
    except InvalidEvent:
        return None
