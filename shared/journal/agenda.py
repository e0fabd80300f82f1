"""The agenda: which partitions a timer has to look at, and when.

No timer searches all partitions of all tenants. Before work begins that a timer may have to finish, its
partition is put on the agenda; the timer reads what is due, in the order of time, and takes it off. So a
timer's cost follows the work that there is. Items lie in a few partitions of the operator's, chosen by
a hash, so that no single one takes the load of all tenants.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import field_validator

from shared.base.errors import Conflict
from shared.base.models import Model, UtcDatetime
from shared.base.partitions import OPERATOR, Partition
from shared.journal.collections import Collection, Stored, remove_all
from shared.ports.clock import Runtime
from shared.ports.records import RecordStore

SHARDS: Final = 8
BATCH: Final = 90
"""Items that one commit takes off."""

COMMIT_MARGIN: Final = timedelta(minutes=1)
"""Longer than any commit takes with all of its retries, and than clocks differ."""

ANNOUNCED: Final = timedelta(seconds=30)
"""One item a partition and process in this time, for what timers begin at once."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Task(StrEnum):
    """What a timer does with a partition."""

    RELAY_EVENTS = "relay-events"
    EXPIRE_UPLOADS = "expire-uploads"
    SWEEP_OBJECTS = "sweep-objects"
    ROTATE_TENANT_KEY = "rotate-tenant-key"
    COPY_TO_TARGETS = "copy-to-targets"
    EMPTY_TRASH = "empty-trash"
    HELD_TRASH = "held-trash"
    BACK_UP = "back-up"
    PRUNE_BACKUPS = "prune-backups"
    VERIFY_BACKUP = "verify-backup"
    RESTORE = "restore"
    DRILL = "drill"
    CHECKPOINT = "checkpoint"
    PUSH_WEBHOOKS = "push-webhooks"
    MONITOR_LOG = "monitor-log"
    END_GRANTS = "end-grants"
    REVIEW = "review"
    REVIEW_GRANTS = "review-grants"
    ATTEST_LOG = "attest-log"


LONGEST_LEAD: Final = {
    # What is to be looked at again in an hour may be looked at at once as well.
    Task.RELAY_EVENTS: timedelta(minutes=5),
    Task.RESTORE: timedelta(minutes=5),
    Task.COPY_TO_TARGETS: timedelta(hours=7),
    Task.BACK_UP: timedelta(hours=26),
    Task.PUSH_WEBHOOKS: timedelta(hours=25),
    Task.ATTEST_LOG: timedelta(hours=25),
}
"""How long before their time the items of some tasks are put there at most."""


class AgendaItem(Model):
    """One partition that one timer has to look at.

    Attributes:
        partition: As text.
        due: From when on.
    """

    partition: str
    due: UtcDatetime

    @field_validator("partition")
    @classmethod
    def _is_partition(cls, text: str) -> str:
        Partition.parse(text)
        return text

    @property
    def id(self) -> str:
        """Sorts by time."""
        return f"{self.due:%Y%m%dT%H%M%SZ}.{self.partition}"


class Agenda:
    """Puts partitions on the agenda and gives out what is due.

    Args:
        records: Where it is kept.
        runtime: Time.
    """

    def __init__(self, records: RecordStore, runtime: Runtime) -> None:
        self._records = records
        self._runtime = runtime
        self._items = {
            task: Collection(records, AgendaItem, f"agenda-{task}", lambda item: item.id)
            for task in Task
        }
        self._noted: dict[tuple[Task, Partition, datetime], asyncio.Task[None]] = {}
        self._latest = runtime.now()

    async def add(self, task: Task, partition: Partition, due: datetime) -> None:
        """Put a partition on the agenda; durable on return. Adding it again costs nothing."""
        key = (task, partition, due)
        self._look_at_clock()
        noted = self._noted.get(key)
        if noted is None:
            self._forget_past()
            noted = self._noted[key] = asyncio.create_task(self._add(task, partition, due))
            noted.add_done_callback(lambda done: self._forget_failed(key, done))
        if noted.done():
            noted.result()
            return
        # One caller that is cancelled must not cancel it for the others.
        await asyncio.shield(noted)

    async def announce(
        self, task: Task, partition: Partition, within: timedelta | None = None
    ) -> None:
        """Before a commit that makes work which a timer should begin soon.

        The partition is due soon, and again when the commit is certainly over: a timer that looks in
        between finds nothing to do, and takes the first item off.

        Args:
            task: The timer's.
            partition: Where the work is.
            within: It is due at the end of a time window of this length, so that what happens in one is
                done at once; None: it is due now.
        """
        now = self._runtime.now()
        await self.add(task, partition, end_of_window(now, within) if within else now)
        await self.add(task, partition, after_commit(now, within or ANNOUNCED))

    async def due(
        self, task: Task, by: datetime | None = None
    ) -> AsyncIterator[Stored[AgendaItem]]:
        """What is due, by shard and then by time.

        Args:
            task: The timer's.
            by: What was due at this time; None: now.
        """
        by = by or self._runtime.now()
        for shard in range(SHARDS):
            async for item in self._items[task].scan(_shard(shard), tolerant=True):
                if item.value.due > by:
                    break
                yield item

    async def bring_forward(self) -> None:
        """Make due what is due later than it can have been asked for: the clock was ahead then."""
        now = self._runtime.now()
        self._noted.clear()
        for task, lead in LONGEST_LEAD.items():
            for shard in range(SHARDS):
                items = self._items[task].scan(_shard(shard), order="descending", tolerant=True)
                async for item in items:
                    if item.value.due <= now + lead:
                        break
                    await self.add(task, Partition.parse(item.value.partition), now)
                    await self.remove(task, [item])

    async def remove(self, task: Task, items: Sequence[Stored[AgendaItem]]) -> None:
        """Take items off; those that are off already are left."""
        by_shard: dict[Partition, list[Stored[AgendaItem]]] = {}
        for item in items:
            by_shard.setdefault(item.partition, []).append(item)
        for shard, same in by_shard.items():
            for start in range(0, len(same), BATCH):
                deletes = [self._items[task].delete(item) for item in same[start : start + BATCH]]
                await remove_all(self._records, shard, deletes)

    async def _add(self, task: Task, partition: Partition, due: datetime) -> None:
        item = AgendaItem(partition=str(partition), due=due)
        digest = hashlib.sha256(item.partition.encode()).digest()
        shard = _shard(digest[0] % SHARDS)
        try:
            await self._records.commit(shard, [self._items[task].create(shard, item)])
        except Conflict:
            return  # another process has put it there

    def _forget_failed(
        self, key: tuple[Task, Partition, datetime], done: asyncio.Task[None]
    ) -> None:
        if done.cancelled() or done.exception() is not None:
            self._noted.pop(key, None)

    def _look_at_clock(self) -> None:
        now = self._runtime.now()
        if now < self._latest:
            # The clock was set back, and the process of the timers may have brought forward what is noted.
            self._noted.clear()
        self._latest = now

    def _forget_past(self) -> None:
        now = self._runtime.now()
        for key in [key for key in self._noted if key[2] <= now]:
            del self._noted[key]


def end_of_window(at: datetime, window: timedelta) -> datetime:
    """The end of the time window that holds a moment: windows follow each other from 1970 on."""
    return at - (at - _EPOCH) % window + window


def after_commit(at: datetime, window: timedelta) -> datetime:
    """A moment when a commit that begins now is over: the same for all that begin in a time window."""
    return end_of_window(at, window) + COMMIT_MARGIN


def _shard(number: int) -> Partition:
    return Partition(OPERATOR, f"agenda-{number}")
