"""Repairs of what a verification found: copies are made again, and the backup gets again what it lacks.

Nothing in the backup store is changed, because nothing there can be. What cannot be used any more is left
where it is, and the next set makes the partition anew, as if it were the first: it finds what is
packed and whole, packs the versions whose locations were dropped, and writes all records into new segments.
Its index then counts and names exactly what there is, which taking single versions out of the index would
not ensure when a process ends in between. That costs as much as the partition has records, and no version
is packed twice; damage is rare enough for that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.backup.claims import UNDER_WAY
from shared.backup.contents import ContentBackup
from shared.backup.state import STATE_ID, BackupState, Location, states_of
from shared.base.errors import Conflict, Damaged, NotFound
from shared.base.events import EventType, VersionData
from shared.base.partitions import Partition, partition_of
from shared.journal.agenda import Agenda, Task
from shared.journal.collections import Collection
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from shared.verification.findings import BadCopy, Checked, Flawed
from shared.verification.newest import NewestSets


class Busy(Conflict):
    """A set of the tenant is being made, which would end without these repairs; try again later."""

    slug = Conflict.slug
    title = Conflict.title


@dataclass(slots=True)
class Repairs:
    """Repairs what verifications find.

    Attributes:
        journal: Reports damaged copies.
        agenda: Lets the next set be made.
        contents: What the backup has of each version.
        newest: What the newest set has.
        runtime: Time.
    """

    journal: Journal
    agenda: Agenda
    contents: ContentBackup
    newest: NewestSets
    runtime: Runtime
    _states: Collection[BackupState] = field(init=False)

    def __post_init__(self) -> None:
        self._states = states_of(self.contents.records)

    async def apply(self, tenant: str, checked: Checked) -> None:
        """Begin all repairs; doing so twice does no harm.

        Raises:
            Busy: A set is being made; try again.
            Unavailable: A store does not respond; try again.
        """
        for copy in checked.copies:
            await self._report(tenant, copy)
        for page in checked.pages:
            await self.contents.page_repair.repair(tenant, page)
        for page in checked.leaks:
            await self.contents.forget_unnamed(tenant, page)
        anew = set(checked.anew)
        for flawed in checked.flawed:
            if flawed.part not in anew and await self._is_needed(tenant, flawed):
                anew.add(flawed.part)
        by_partition: defaultdict[Partition, list[Location]] = defaultdict(list)
        for location in checked.unusable:
            by_partition[partition_of(tenant, location.document)].append(location)
        anew.update(partition.part for partition in by_partition)
        if not anew:
            return
        if (await self.newest.state(tenant)).under_way(self.runtime.now()):
            raise Busy(UNDER_WAY)
        for partition, locations in by_partition.items():
            await self.contents.drop(partition, locations)
        await self._ask(tenant, anew)

    async def _report(self, tenant: str, copy: BadCopy) -> None:
        """Report a copy as a reader would, so that replication makes it again."""
        event = self.journal.event(
            EventType.DOCUMENT_DAMAGED if copy.made else EventType.DOCUMENT_SEALED,
            tenant,
            copy.document,
            VersionData(version=copy.number),
        )
        entry = self.journal.entry(
            Action.DOCUMENT_DAMAGE,
            copy.document,
            tenant=tenant,
            failed=Damaged.slug if copy.made else NotFound.slug,
            details={"version": copy.number, "copy": copy.place},
        )
        await self.journal.commit(entry, events=[event])

    async def _is_needed(self, tenant: str, flawed: Flawed) -> bool:
        """Whether the newest set needs an object; one that only earlier sets need is lost to them."""
        last = (await self.newest.state(tenant)).last
        if last is not None and flawed.id == last.id:
            return True
        manifest = await self.newest.manifest(tenant)
        ref = None if manifest is None else manifest.part(flawed.part)
        if ref is None:
            return False
        index = await self.newest.index(tenant, flawed.part)
        if ref.index == flawed.id or index is None:
            return True
        named = {each.id for each in index.segments} | {each.id for each in index.packs}
        return flawed.id in named

    async def _ask(self, tenant: str, parts: Iterable[str]) -> None:
        """Let the next set make partitions anew, and put it on the agenda."""
        partition = Partition(tenant)
        await self.agenda.announce(Task.BACK_UP, partition)

        async def attempt() -> None:
            stored = await self._states.get(partition, STATE_ID)
            if stored.value.under_way(self.runtime.now()):
                raise Busy(UNDER_WAY)  # to change the record would end the attempt
            anew = tuple(sorted({*stored.value.anew, *parts}))
            changed = stored.value.model_copy(update={"anew": anew})
            await self._states.records.commit(partition, [self._states.replace(stored, changed)])

        await retry_conflicts(attempt, self.runtime)
