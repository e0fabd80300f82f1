"""Repair of key pages: from the records, which hold the same keys as long as a document is not erased."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.backup.models import Erasable
from shared.backup.pages import KeyPages
from shared.backup.state import Location, locations_of
from shared.base import telemetry
from shared.base.partitions import Partition
from shared.documents.models import Version
from shared.documents.store import DocumentRecords
from shared.journal.collections import Collection


@dataclass(slots=True)
class KeyPageRepair:
    """Writes key pages anew that are damaged, missing or incomplete.

    Attributes:
        store: Finds versions; its records say where the backup has them.
        pages: The key pages.
    """

    store: DocumentRecords
    pages: KeyPages
    _locations: Collection[Location] = field(init=False)

    def __post_init__(self) -> None:
        self._locations = locations_of(self.store.records)

    async def repair(self, tenant: str, page: str) -> None:
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
            found = await self.store.find_version(tenant, location.document, location.number)
            if found is not None:
                versions[location.id] = erasable(found.version)
        await self.pages.replace(tenant, page, versions)
        # What was erased since would stay in the page for good: its erasing may have been there before.
        erased = [
            each.id
            for each in named
            if await self.store.find_version(tenant, each.document, each.number) is None
        ]
        await self.pages.forget(tenant, page, erased)
        telemetry.REPAIRS.add(1, {telemetry.PLACE: "key-page", telemetry.OUTCOME: "repaired"})


def erasable(version: Version) -> Erasable:
    """What a key page keeps of a version."""
    return Erasable(wrapped_key=version.wrapped_key, names=version.names)


def partition_of_page(tenant: str, page: str) -> Partition:
    """The partition whose documents a key page is about."""
    return Partition(tenant, page.partition("/")[2].rpartition("-")[0])
