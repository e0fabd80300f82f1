"""Mending: key pages are made anew from the records, which hold the same keys for as long as they live."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.backup.models import Erasable, version_id
from shared.backup.pages import KeyPages
from shared.backup.state import Location, locations_of
from shared.base.partitions import Partition
from shared.documents.models import Document, Version
from shared.documents.store import DOCUMENT_KIND, VERSION_KIND
from shared.journal.collections import Collection
from shared.ports.records import RecordStore


@dataclass(slots=True)
class KeyPageMender:
    """Makes key pages anew that are damaged, missing or incomplete.

    Attributes:
        records: Versions, and where the backup has them.
        pages: The key pages.
    """

    records: RecordStore
    pages: KeyPages
    _documents: Collection[Document] = field(init=False)
    _versions: Collection[Version] = field(init=False)
    _locations: Collection[Location] = field(init=False)

    def __post_init__(self) -> None:
        self._documents = Collection(self.records, Document, DOCUMENT_KIND)
        self._versions = Collection(self.records, Version, VERSION_KIND)
        self._locations = locations_of(self.records)

    async def mend(self, tenant: str, page: str) -> None:
        """Let a key page hold the versions that are located there and not erased, and nothing else.

        It reads every location of the partition: nothing else says which ones name the page.

        Raises:
            Damaged: A record is not what was written.
            Unavailable: A store does not respond, or the page was changed all the time.
        """
        partition = partition_of_page(tenant, page)
        named = [
            each.value async for each in self._locations.scan(partition) if each.value.page == page
        ]
        versions: dict[str, Erasable] = {}
        for location in named:
            version = await self.version(partition, location.document, location.number)
            if version is not None:
                versions[location.id] = erasable(version)
        await self.pages.replace(tenant, page, versions)
        # What was erased since would stay in the page for good: its erasing may have been there before.
        erased = await self._erased(partition, {each.document for each in named})
        await self.pages.forget(tenant, page, [e.id for e in named if e.document in erased])

    async def version(self, partition: Partition, document: str, number: int) -> Version | None:
        """A version as its record has it; None: there is none, or it is erased."""
        found = await self._documents.find(partition, document)
        if found is None or found.value.current is None:
            return None
        if found.value.current.number == number:
            return found.value.current
        version = await self._versions.find(partition, version_id(document, number))
        return None if version is None else version.value

    async def _erased(self, partition: Partition, documents: Iterable[str]) -> set[str]:
        erased: set[str] = set()
        for document in documents:
            found = await self._documents.find(partition, document)
            if found is None or found.value.current is None:
                erased.add(document)
        return erased


def erasable(version: Version) -> Erasable:
    """What a key page keeps of a version."""
    return Erasable(wrapped_key=version.wrapped_key, names=version.names)


def partition_of_page(tenant: str, page: str) -> Partition:
    """The partition whose documents a key page is about."""
    return Partition(tenant, page.partition("/")[2].rpartition("-")[0])
