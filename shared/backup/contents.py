"""The contents of a partition's versions on their way into packs, and the forgetting of erased ones."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.backup.models import (
    Counts,
    Erasable,
    MissingContent,
    PackRef,
    PartIndex,
    SegmentRef,
    object_name,
    version_id,
)
from shared.backup.packs import MAX_BYTES, MAX_CONTENTS, Content, Packs
from shared.backup.pages import KeyPages
from shared.backup.state import Attempt, Location, locations_of
from shared.base.partitions import Partition
from shared.documents.models import Document, Version
from shared.documents.store import DOCUMENT_KIND, VERSION_KIND
from shared.journal.collections import Collection, Stored, remove_all
from shared.ports.records import Record, RecordStore

BATCH: Final = 90
"""Locations in one commit."""

FOUND_AT_ONCE: Final = 16
"""Locations that are looked up at the same time."""

_log = logging.getLogger("strongroom.backup")


@dataclass(slots=True)
class Ledger:
    """What a partition has in the backup, while its contents are brought up to date.

    Attributes:
        packs: By their ids.
        missing: Contents that were good in no store, by ``version_id``.
        counts: What the partition holds.
        new_bytes: What was written.
        new_contents: How many contents were packed or found packed.
    """

    packs: dict[str, PackRef]
    missing: dict[str, MissingContent]
    counts: Counts
    new_bytes: int = 0
    new_contents: int = 0
    pending: dict[str, Content] = field(default_factory=dict)
    pending_bytes: int = 0
    adopted: dict[str, set[str]] = field(default_factory=dict)
    pages: int = 0

    @classmethod
    def of(cls, index: PartIndex) -> Ledger:
        """What an index says."""
        return cls(
            {pack.id: pack for pack in index.packs},
            {version_id(each.document, each.number): each for each in index.missing},
            index.counts,
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
        for each in locations:
            pack = self.packs[each.pack]
            self.packs[each.pack] = pack.model_copy(update={"live": pack.live + sign})
            self.counts += Counts(versions=sign, content_bytes=sign * each.size)


@dataclass(slots=True)
class ContentBackup:
    """Packs the contents of new versions and forgets those of erased documents.

    Attributes:
        records: Documents, versions, and where the backup has them.
        packs: Take the contents.
        pages: Take what must be possible to forget.
    """

    records: RecordStore
    packs: Packs
    pages: KeyPages
    _documents: Collection[Document] = field(init=False)
    _versions: Collection[Version] = field(init=False)
    _locations: Collection[Location] = field(init=False)

    def __post_init__(self) -> None:
        self._documents = Collection(self.records, Document, DOCUMENT_KIND)
        self._versions = Collection(self.records, Version, VERSION_KIND)
        self._locations = locations_of(self.records)

    async def take(
        self, attempt: Attempt, partition: Partition, ledger: Ledger, records: Sequence[Record]
    ) -> None:
        """Pack the new versions among changed records, and forget documents that were erased.

        Raises:
            Conflict: Another process backs up the same tenant.
            Unavailable: A store does not respond.
        """
        contents: list[Content] = []
        erased: list[str] = []
        for record in records:
            if record.kind == DOCUMENT_KIND:
                document = self._documents.stored(record).value
                if document.current is None:
                    erased.append(document.id)
                else:
                    contents.append(Content(document.id, document.current))
            elif record.kind == VERSION_KIND:
                version = self._versions.stored(record).value
                contents.append(Content(record.id.rpartition(".")[0], version))
        await self._forget(partition, ledger, erased)
        await self._plan(attempt, partition, ledger, contents)

    async def retry_missing(self, attempt: Attempt, partition: Partition, ledger: Ledger) -> None:
        """Try again the contents that were good in no store."""
        again: list[Content] = []
        for each in list(ledger.missing.values()):
            version = await self._version(partition, each.document, each.number)
            del ledger.missing[version_id(each.document, each.number)]
            if version is not None:
                again.append(Content(each.document, version))
        await self._plan(attempt, partition, ledger, again)

    async def flush(self, attempt: Attempt, partition: Partition, ledger: Ledger) -> None:
        """Write what waits to be packed."""
        if not ledger.pending:
            return
        contents, ledger.pending, ledger.pending_bytes = list(ledger.pending.values()), {}, 0
        await attempt.renew()
        ledger.pages += 1
        page = f"{attempt.id}/{partition.part}-{ledger.pages:06d}"
        packed = await self.packs.write(attempt.tenant, contents, page, attempt.retain_until)
        for each in packed.damaged:
            name = version_id(each.document, each.version.number)
            # The operators' alert looks for this line.
            _log.error("backup.failed %s, no good copy of %s", attempt.tenant, name)
            ledger.missing[name] = MissingContent(
                document=each.document, number=each.version.number
            )
        if packed.pack is None:
            return
        erasable = {
            version_id(each.document, each.version.number): Erasable(
                wrapped_key=each.version.wrapped_key, names=each.version.names
            )
            for each in contents
        }
        held = {each.id: erasable[each.id] for each in packed.locations}
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
        partition = Partition(tenant, page.partition("/")[2].rpartition("-")[0])
        held = list(await self.pages.read(tenant, page))
        named = {each.id for each in await self._find(partition, held) if each.page == page}
        await self.pages.forget(tenant, page, [name for name in held if name not in named])

    async def _plan(
        self, attempt: Attempt, partition: Partition, ledger: Ledger, contents: Sequence[Content]
    ) -> None:
        """Let the contents wait for a pack that the backup does not have."""
        new = {version_id(each.document, each.version.number): each for each in contents}
        new = {name: each for name, each in new.items() if name not in ledger.pending}
        if attempt.search or ledger.new_contents:
            for location in await self._find(partition, new):
                del new[location.id]
                await self._adopt(attempt, ledger, location)
        for name, content in new.items():
            ledger.pending[name] = content
            ledger.pending_bytes += content.size
            if ledger.pending_bytes >= MAX_BYTES or len(ledger.pending) == MAX_CONTENTS:
                await self.flush(attempt, partition, ledger)

    async def _adopt(self, attempt: Attempt, ledger: Ledger, location: Location) -> None:
        """Count a version that an attempt packed which ended without a set."""
        if location.pack in ledger.packs and location.pack not in ledger.adopted:
            return
        if location.pack not in ledger.packs:
            name = object_name(attempt.tenant, "packs", location.pack)
            await self.packs.store.extend(name, attempt.retain_until)
            size = (await self.packs.store.head(name)).size
            ledger.packs[location.pack] = PackRef(id=location.pack, size=size, live=0)
            ledger.adopted[location.pack] = set()
            ledger.new_contents += 1
        if location.id not in ledger.adopted[location.pack]:
            ledger.adopted[location.pack].add(location.id)
            ledger.add([location])

    async def _find(self, partition: Partition, versions: Iterable[str]) -> list[Location]:
        places = asyncio.Semaphore(FOUND_AT_ONCE)

        async def find(name: str) -> Stored[Location] | None:
            async with places:
                return await self._locations.find(partition, name)

        found = await asyncio.gather(*(find(name) for name in versions))
        return [stored.value for stored in found if stored is not None]

    async def _forget(self, partition: Partition, ledger: Ledger, documents: Sequence[str]) -> None:
        """Destroy what key pages have of documents that were erased."""
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
            await self.pages.forget(partition.tenant, page, versions)
        for start in range(0, len(lost), BATCH):
            deletes = [self._locations.delete(each) for each in lost[start : start + BATCH]]
            await remove_all(self.records, partition, deletes)
        ledger.add([each.value for each in lost if each.value.pack in ledger.packs], sign=-1)

    async def _version(self, partition: Partition, document: str, number: int) -> Version | None:
        found = await self._documents.find(partition, document)
        if found is None or found.value.current is None:
            return None
        if found.value.current.number == number:
            return found.value.current
        version = await self._versions.find(partition, version_id(document, number))
        return None if version is None else version.value
