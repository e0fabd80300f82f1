"""The content of a partition's versions on its way into packs, and the forgetting of erased ones."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.backup.models import (
    Counts,
    MissingContent,
    PackRef,
    PartIndex,
    SegmentRef,
    object_name,
    version_id,
)
from shared.backup.packs import MAX_BYTES, MAX_CONTENTS, Content, Packs
from shared.backup.page_repair import KeyPageRepair, erasable, partition_of_page
from shared.backup.pages import KeyPages
from shared.backup.state import Attempt, Location, locations_of
from shared.base import telemetry
from shared.base.concurrency import BoundedTasks
from shared.base.errors import Damaged, NotFound
from shared.base.partitions import Partition
from shared.documents.models import Document, Version
from shared.documents.store import DOCUMENT_KIND, VERSION_KIND, DocumentRecords
from shared.journal.collections import Collection, Stored, remove_all
from shared.ports.records import Record, RecordStore

BATCH: Final = 90
"""Locations in one commit."""

FOUND_AT_ONCE: Final = 16
"""Locations that are looked up at the same time."""

_log = logging.getLogger("strongroom.backup")


@dataclass(slots=True)
class Ledger:
    """What a partition has in the backup, while it is brought up to date.

    Attributes:
        packs: By their ids.
        missing: Versions whose content was good in no store, by ``version_id``.
        counts: What the partition holds.
        new_bytes: What was written.
        new_contents: How many versions were packed or found packed.
        packing: Writes packs in the background.
        pending: Versions that wait for a pack, by ``version_id``.
        packed: The ids of versions that have a pack since, or whose pack is being written.
    """

    packs: dict[str, PackRef]
    missing: dict[str, MissingContent]
    counts: Counts
    packing: BoundedTasks
    new_bytes: int = 0
    new_contents: int = 0
    pending: dict[str, Content] = field(default_factory=dict)
    pending_bytes: int = 0
    packed: set[str] = field(default_factory=set)
    adopted: dict[str, set[str]] = field(default_factory=dict)
    pages: int = 0

    @classmethod
    def of(cls, index: PartIndex, packing: BoundedTasks) -> Ledger:
        """What an index says."""
        return cls(
            {pack.id: pack for pack in index.packs},
            {version_id(each.document, each.number): each for each in index.missing},
            index.counts,
            packing,
        )

    def index(
        self, part: str, position: str | None, segments: tuple[SegmentRef, ...], changed: int
    ) -> PartIndex:
        """The index of the partition now."""
        return PartIndex(
            part=part,
            position=position,
            segments=segments,
            packs=tuple(pack for pack in self.packs.values() if pack.live > 0),
            missing=tuple(self.missing.values()),
            changed=changed,
            counts=self.counts,
        )

    def add(self, locations: Iterable[Location], sign: int = 1) -> None:
        """Count versions that the backup has now, or (``sign`` -1) has no more."""
        live: defaultdict[str, int] = defaultdict(int)
        size = 0
        for each in locations:
            live[each.pack] += sign
            size += sign * each.size
        for name, change in live.items():
            pack = self.packs[name]
            self.packs[name] = pack.model_copy(update={"live": pack.live + change})
        self.counts += Counts(versions=sum(live.values()), content_bytes=size)


@dataclass(slots=True)
class ContentBackup:
    """Packs the content of new versions and forgets that of erased documents.

    Attributes:
        store: Finds documents and versions; its records say where the backup has them.
        packs: Take the content.
        pages: Take what must be possible to forget.
    """

    store: DocumentRecords
    packs: Packs
    pages: KeyPages
    _documents: Collection[Document] = field(init=False)
    _versions: Collection[Version] = field(init=False)
    _locations: Collection[Location] = field(init=False)
    page_repair: KeyPageRepair = field(init=False)

    def __post_init__(self) -> None:
        self.page_repair = KeyPageRepair(self.store, self.pages)
        self._documents = Collection(self.records, Document, DOCUMENT_KIND)
        self._versions = Collection(self.records, Version, VERSION_KIND)
        self._locations = locations_of(self.records)

    @property
    def records(self) -> RecordStore:
        """Where the documents are."""
        return self.store.records

    async def take(
        self, attempt: Attempt, partition: Partition, ledger: Ledger, records: Sequence[Record]
    ) -> None:
        """Pack the new versions among changed records, and forget documents that were erased.

        What is damaged is left: earlier sets have it as it was, and those of all others must not wait.

        Raises:
            Conflict: Another process backs up the same tenant.
            Unavailable: A store does not respond.
        """
        contents: list[Content] = []
        erased: list[str] = []
        for record in records:
            if record.kind == DOCUMENT_KIND:
                document = self._documents.readable(record)
                if document is None:
                    continue
                if document.value.current is None:
                    erased.append(record.id)
                else:
                    contents.append(Content(record.id, document.value.current))
            elif record.kind == VERSION_KIND:
                version = self._versions.readable(record)
                if version is not None:
                    contents.append(Content(record.id.rpartition(".")[0], version.value))
        await self._forget(partition, ledger, erased)
        await self._plan(attempt, partition, ledger, contents)

    async def retry_missing(self, attempt: Attempt, partition: Partition, ledger: Ledger) -> None:
        """Try again the versions whose content was good in no store."""
        again: list[Content] = []
        for each in list(ledger.missing.values()):
            found = await self.store.find_version(attempt.tenant, each.document, each.number)
            del ledger.missing[version_id(each.document, each.number)]
            if found is not None:
                again.append(Content(each.document, found.version))
        await self._plan(attempt, partition, ledger, again)

    async def flush(self, attempt: Attempt, partition: Partition, ledger: Ledger) -> None:
        """Write what waits to be packed, and wait until all packs are written."""
        if ledger.pending:
            await self._begin_pack(attempt, partition, ledger)
        await ledger.packing.finish()

    async def _begin_pack(self, attempt: Attempt, partition: Partition, ledger: Ledger) -> None:
        """Have what waits to be packed written in the background.

        The disk or the store is waited for while the next pack is read.
        """
        await attempt.renew()
        contents, ledger.pending, ledger.pending_bytes = ledger.pending, {}, 0
        ledger.packed.update(contents)
        ledger.pages += 1
        page = f"{attempt.id}/{partition.part}-{ledger.pages:06d}"
        await ledger.packing.start(
            lambda: self._write_pack(attempt, partition, ledger, list(contents.values()), page)
        )

    async def _write_pack(
        self,
        attempt: Attempt,
        partition: Partition,
        ledger: Ledger,
        contents: Sequence[Content],
        page: str,
    ) -> None:
        packed = await self.packs.write(attempt.tenant, contents, page, attempt.retain_until)
        for each in packed.damaged:
            name = version_id(each.document, each.version.number)
            # The operators' alert looks for this line.
            _log.error("backup.failed %s, no good copy of %s", attempt.tenant, name)
            telemetry.BACKUP_FAILURES.add(1)
            ledger.packed.discard(name)
            ledger.missing[name] = MissingContent(
                document=each.document, number=each.version.number
            )
        if packed.pack is None:
            return
        versions = {version_id(one.document, one.version.number): one.version for one in contents}
        held = {each.id: erasable(versions[each.id]) for each in packed.locations}
        await self.pages.write(attempt.tenant, page, held)
        for start in range(0, len(packed.locations), BATCH):
            batch = packed.locations[start : start + BATCH]
            creates = [self._locations.create(partition, each) for each in batch]
            await self.records.commit(partition, creates)
        ledger.packs[packed.pack.id] = packed.pack.model_copy(update={"live": 0})
        ledger.add(packed.locations)
        ledger.new_bytes += packed.pack.size
        ledger.new_contents += len(packed.locations)

    async def forget_unnamed(self, tenant: str, page: str) -> None:
        """Forget what a key page holds of versions that no location has there.

        Args:
            tenant: Whose.
            page: As ``flush`` named it.
        """
        try:
            unnamed = await self.unnamed(tenant, page)
        except Damaged:
            await self._repair(tenant, page)
        else:
            await self.pages.forget(tenant, page, unnamed)

    async def unnamed(self, tenant: str, page: str) -> Sequence[str]:
        """The versions that a key page holds and that no location has there.

        Raises:
            Damaged: The page is not what was written.
            Unavailable: A store does not respond.
        """
        held = list(await self.pages.read(tenant, page))
        found = await self.find(partition_of_page(tenant, page), held)
        named = {each.id for each in found if each.page == page}
        return [name for name in held if name not in named]

    async def drop(self, partition: Partition, locations: Sequence[Location]) -> None:
        """Let the backup have versions no more, because what it has of them cannot be used.

        A set that reads the partition anew then packs them again.

        Raises:
            Unavailable: A store does not respond.
        """
        # As with erased documents, the page comes first: no key may stay where nothing names it.
        by_page: defaultdict[str, list[str]] = defaultdict(list)
        for location in locations:
            by_page[location.page].append(location.id)
        for page, versions in by_page.items():
            await self._forget_in(partition.tenant, page, versions)
        found = [await self._locations.find(partition, location.id) for location in locations]
        # One that is another by now is of a set that has packed the version again.
        same = [each for each in found if each is not None and each.value in locations]
        await self._remove(partition, same)

    async def _plan(
        self, attempt: Attempt, partition: Partition, ledger: Ledger, contents: Sequence[Content]
    ) -> None:
        """Let versions that the backup does not have wait for a pack."""
        new = {version_id(each.document, each.version.number): each for each in contents}
        apart = ledger.pending.keys() | ledger.packed
        new = {name: each for name, each in new.items() if name not in apart}
        if attempt.search:
            for location in await self.find(partition, new):
                if await self._adopt(attempt, ledger, location):
                    del new[location.id]
                else:
                    await self.drop(partition, [location])
        for name, content in new.items():
            ledger.pending[name] = content
            ledger.pending_bytes += content.size
            if ledger.pending_bytes >= MAX_BYTES or len(ledger.pending) == MAX_CONTENTS:
                await self._begin_pack(attempt, partition, ledger)

    async def _adopt(self, attempt: Attempt, ledger: Ledger, location: Location) -> bool:
        """Count a version that is packed already; False: its pack is missing, or ends before it."""
        if location.pack in ledger.packs and location.pack not in ledger.adopted:
            return True
        if location.pack not in ledger.packs:
            name = object_name(attempt.tenant, "packs", location.pack)
            try:
                await self.packs.store.extend(name, attempt.retain_until)
                size = (await self.packs.store.head(name)).size
            except NotFound:
                return False
            ledger.packs[location.pack] = PackRef(id=location.pack, size=size, live=0)
            ledger.adopted[location.pack] = set()
            ledger.new_contents += 1
        if location.offset + location.size > ledger.packs[location.pack].size:
            return False
        if location.id not in ledger.adopted[location.pack]:
            ledger.adopted[location.pack].add(location.id)
            ledger.add([location])
        return True

    async def find(self, partition: Partition, versions: Iterable[str]) -> list[Location]:
        """Where the backup has versions, by their ids; those that it does not have are left out."""
        places = asyncio.Semaphore(FOUND_AT_ONCE)

        async def find(name: str) -> Stored[Location] | None:
            async with places:
                return await self._locations.find(partition, name)

        found = await asyncio.gather(*(find(name) for name in versions))
        return [stored.value for stored in found if stored is not None]

    async def _forget(self, partition: Partition, ledger: Ledger, documents: Sequence[str]) -> None:
        """Destroy what key pages have of documents that were erased."""
        if documents:
            # Else a key page that is being written could be found by no location yet.
            await ledger.packing.finish()
        lost: list[Stored[Location]] = []
        for document in documents:
            where = {"document": document}
            lost += [each async for each in self._locations.scan(partition, where=where)]
            for name in [each for each in ledger.pending if each.rpartition(".")[0] == document]:
                ledger.pending_bytes -= ledger.pending.pop(name).size
        by_page: defaultdict[str, list[str]] = defaultdict(list)
        for stored in lost:
            by_page[stored.value.page].append(stored.value.id)
        # The pages come first: where this ends in between, the next run finds the locations again.
        for page, versions in by_page.items():
            await self._forget_in(partition.tenant, page, versions)
        await self._remove(partition, lost)
        ledger.add([each.value for each in lost if each.value.pack in ledger.packs], sign=-1)

    async def _remove(self, partition: Partition, lost: Sequence[Stored[Location]]) -> None:
        for start in range(0, len(lost), BATCH):
            deletes = [self._locations.delete(each) for each in lost[start : start + BATCH]]
            await remove_all(self.records, partition, deletes)

    async def _forget_in(self, tenant: str, page: str, versions: Sequence[str]) -> None:
        """Forget versions in a key page, whatever became of it."""
        try:
            await self.pages.forget(tenant, page, versions)
        except Damaged:
            await self._repair(tenant, page)
            await self.pages.forget(tenant, page, versions)

    async def _repair(self, tenant: str, page: str) -> None:
        """Repair a damaged key page."""
        # The operators' alert looks for this line.
        _log.error("backup.finding %s, key-page %s: damaged, made anew", tenant, page)
        telemetry.FINDINGS.add(1, {telemetry.FINDING: "key-page"})
        await self.page_repair.repair(tenant, page)
