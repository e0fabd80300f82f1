"""Where targets, their status and what waits to be copied to them are kept as records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.base.errors import Conflict, NotFound
from shared.base.partitions import MAIN, Partition, partition_of
from shared.journal.agenda import Agenda, AgendaItem, Task, after_commit, end_of_window
from shared.journal.collections import Collection, Stored, StoredPage
from shared.journal.contention import retry_conflicts
from shared.journal.months import DOCUMENT_MONTHS, Months
from shared.ports.clock import Runtime
from shared.ports.records import RecordStore
from shared.targets.models import Target, TargetPlaces, TargetStatus, WaitingCopy

TARGET_KIND: Final = "target"
STATUS_KIND: Final = "target-status"
PLACES_KIND: Final = "target-places"
COPY_KIND: Final = "target-copy"

WINDOW: Final = timedelta(seconds=30)
"""One agenda item a target and month in this time."""

# Copies are put on the agenda after their records: all that this covers is that clocks differ.
MARGIN: Final = timedelta(seconds=15)

COUNTED: Final = 10_000
"""Waiting copies are counted so far and no further."""

_MONTHS_AT_ONCE: Final = 8
_SECOND: Final = timedelta(seconds=1)
_MOMENT: Final = timedelta(microseconds=1)
_PLACES_ID: Final = "current"


@dataclass(frozen=True, slots=True, order=True)
class TargetKey:
    """Names a target: its tenant and its id."""

    tenant: str
    id: str

    @property
    def partition(self) -> Partition:
        """Where its records lie."""
        return Partition(self.tenant)


@dataclass(frozen=True, slots=True, order=True)
class Backlog:
    """A target's work in one part of a tenant's records.

    In a month: its waiting copies. In ``MAIN``: the walk over the documents that were there before the
    target. In order, ``MAIN`` comes last.

    It stands on the agenda as a partition whose part ends with the target's id.
    """

    target: TargetKey
    part: str

    @property
    def partition(self) -> Partition:
        """Where the work lies."""
        return Partition(self.target.tenant, self.part)

    @property
    def on_agenda(self) -> Partition:
        """How the agenda names it."""
        return Partition(self.target.tenant, f"{self.part}.{self.target.id}")

    @classmethod
    def of(cls, item: AgendaItem) -> Backlog:
        """What an item of the agenda is about."""
        named = Partition.parse(item.partition)
        part, _, target = named.part.partition(".")
        return cls(TargetKey(named.tenant, target), part)


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a target is behind.

    Attributes:
        waiting: Copies and erasures that wait, of all targets counted up to ``COUNTED``.
        since: When the one that has waited longest began to; None: nothing waits.
    """

    waiting: int = 0
    since: datetime | None = None

    def and_since(self, since: datetime) -> Lag:
        """With one more."""
        return Lag(self.waiting + 1, since if self.since is None else min(self.since, since))


@dataclass(slots=True)
class TargetRecords:
    """Finds and changes targets and what waits for them.

    Attributes:
        records: Where they are kept.
        agenda: Learns where copies wait.
        runtime: Time, and for retries.
    """

    records: RecordStore
    agenda: Agenda
    runtime: Runtime
    targets: Collection[Target] = field(init=False)
    statuses: Collection[TargetStatus] = field(init=False)
    copies: Collection[WaitingCopy] = field(init=False)
    places: Collection[TargetPlaces] = field(init=False)
    _months: Months = field(init=False)

    def __post_init__(self) -> None:
        self.targets = Collection(
            self.records,
            Target,
            TARGET_KIND,
            lambda target: target.id,
            missing="There is no such target in your tenant.",
        )
        self.statuses = Collection(
            self.records, TargetStatus, STATUS_KIND, lambda status: status.id
        )
        self.places = Collection(self.records, TargetPlaces, PLACES_KIND, lambda _: _PLACES_ID)
        self.copies = Collection(
            self.records,
            WaitingCopy,
            COPY_KIND,
            lambda copy: copy.id,
            index_of=lambda copy: {"target": copy.target},
        )
        self._months = Months(self.records, DOCUMENT_MONTHS)

    async def of_tenant(self, tenant: str) -> StoredPage[Target]:
        """A tenant's targets, oldest first; one read where there are none."""
        kept = await self._kept(tenant)
        if not kept:
            return StoredPage([], None)
        page = await self.targets.page(Partition(tenant), tolerant=True)
        items = [stored for stored in page.items if stored.value.id in kept]
        return StoredPage(items, None, page.damaged)

    async def find_places(self, tenant: str) -> Stored[TargetPlaces] | None:
        """The places of a tenant's targets; None before the first."""
        return await self.places.find(Partition(tenant), _PLACES_ID)

    async def find(self, target: TargetKey) -> Stored[Target] | None:
        """A target; None where there is none any more."""
        if target.id not in await self._kept(target.tenant):
            return None
        return await self.targets.find(target.partition, target.id)

    async def get(self, target: TargetKey) -> Stored[Target]:
        """A target.

        Raises:
            NotFound: There is no such target.
        """
        found = await self.find(target)
        if found is None:
            raise NotFound(self.targets.missing)
        return found

    async def _kept(self, tenant: str) -> frozenset[str]:
        """The ids of a tenant's targets.

        Their places decide, not their records: a restore brings back records of targets that were deleted,
        and these must get no document again.
        """
        stored = await self.find_places(tenant)
        places = stored.value.places if stored else ()
        return frozenset(place.target for place in places if place.until is None)

    async def status(self, target: TargetKey) -> TargetStatus:
        """How copying to a target fares."""
        found = await self.statuses.find(target.partition, target.id)
        return TargetStatus(id=target.id) if found is None else found.value

    async def update_status(
        self, target: TargetKey, change: Callable[[TargetStatus], TargetStatus]
    ) -> TargetStatus:
        """Change how copying to a target fares, and return it; of a deleted target nothing is kept."""

        async def attempt() -> TargetStatus:
            found = await self.statuses.find(target.partition, target.id)
            if found is None:
                return change(TargetStatus(id=target.id))
            changed = change(found.value)
            if changed != found.value:
                await self.records.commit(found.partition, [self.statuses.replace(found, changed)])
            return changed

        return await retry_conflicts(attempt, self.runtime)

    async def put_waiting(self, tenant: str, copies: Sequence[WaitingCopy]) -> None:
        """Let copies of one document wait; durable and on the agenda on return.

        A copy that waits already is marked as asked for again: who is at it will not end its wait.

        Args:
            tenant: Whose document.
            copies: At most ``MAX_CHANGES``.
        """
        if not copies:
            return
        partition = partition_of(tenant, copies[0].document)
        try:
            await self.records.commit(
                partition, [self.copies.create(partition, copy) for copy in copies]
            )
        except Conflict:
            for copy in copies:
                await retry_conflicts(partial(self._put, partition, copy), self.runtime)
        for target in dict.fromkeys(copy.target for copy in copies):
            await self.schedule(Backlog(TargetKey(tenant, target), partition.part))

    async def _put(self, partition: Partition, copy: WaitingCopy) -> None:
        found = await self.copies.find(partition, copy.id)
        again = self.copies.create(partition, copy) if found is None else self.copies.touch(found)
        await self.records.commit(partition, [again])

    def waiting(self, backlog: Backlog) -> AsyncIterator[Stored[WaitingCopy]]:
        """What waits for a target in a month, in the order of the documents' ids."""
        return self.copies.scan(backlog.partition, where={"target": backlog.target.id})

    async def schedule(self, backlog: Backlog, at: datetime | None = None) -> None:
        """Put a target's work on the agenda.

        Args:
            backlog: Where the work lies.
            at: When, in the future; None: soon, and later than any process sees the present time.
        """
        # In whole seconds, as items are named: one that is due now, and about to be taken off, is another.
        due = end_of_window(at - _MOMENT, _SECOND) if at else self._soon()
        await self.agenda.add(Task.COPY_TO_TARGETS, backlog.on_agenda, due)

    def _soon(self) -> datetime:
        return end_of_window(self.runtime.now(), WINDOW) + MARGIN

    async def prepare(self, target: TargetKey) -> None:
        """Before a change to a target: make sure that the timer looks at all that may wait for it.

        That is its walk over earlier documents, and each month.
        """
        due = after_commit(self.runtime.now(), WINDOW)
        for part in (MAIN, *await self._months.of(target.tenant)):
            await self.schedule(Backlog(target, part), due)

    async def lags(self, tenant: str) -> dict[str, Lag]:
        """How far a tenant's targets are behind, by id; a target without waiting copies is missing."""
        lags: dict[str, Lag] = {}
        months = await self._months.of(tenant)
        for start in range(0, len(months), _MONTHS_AT_ONCE):
            of_months = await asyncio.gather(
                *(self._waiting_in(tenant, m) for m in months[start : start + _MONTHS_AT_ONCE])
            )
            for copies in of_months:
                for copy in copies:
                    lags[copy.target] = lags.get(copy.target, Lag()).and_since(copy.since)
            if sum(lag.waiting for lag in lags.values()) >= COUNTED:
                break
        return lags

    async def _waiting_in(self, tenant: str, month: str) -> list[WaitingCopy]:
        found: list[WaitingCopy] = []
        async for copy in self.copies.scan(Partition(tenant, month)):
            found.append(copy.value)
            if len(found) == COUNTED:
                break
        return found
