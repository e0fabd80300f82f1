"""Locations in the order of their ids, many with one request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.backup.state import LOCATION_KIND, Location, locations_of
from shared.base.errors import Damaged, InvalidInput
from shared.base.partitions import Partition
from shared.journal.collections import Collection
from shared.ports.records import MAX_PAGE, Page, RecordStore

PAGE: Final = MAX_PAGE
"""Locations that are read at once."""


@dataclass(slots=True)
class LocationScan:
    """Goes through the locations of a partition, beside a walk over its versions.

    What it gives was right a while ago: what matters has to be looked up again.

    Attributes:
        records: Where the locations are.
        partition: Of the documents.
        cursor: Of the page that is held: where a scan that goes on later begins.
    """

    records: RecordStore
    partition: Partition
    cursor: str | None = None
    _locations: Collection[Location] = field(init=False)
    _held: dict[str, Location] = field(init=False, default_factory=dict)
    _last: str = field(init=False, default="")
    _next: str | None = field(init=False)
    _ended: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._locations = locations_of(self.records)
        self._next = self.cursor

    async def find(self, versions: Sequence[str]) -> dict[str, Location]:
        """Where the backup has versions; those that it does not have are left out.

        Args:
            versions: Their ids in ascending order, and behind those of the call before.

        Raises:
            Unavailable: The record store does not respond.
        """
        found = self._among(versions)
        while versions and not self._ended and self._last < versions[-1]:
            await self._read()
            found |= self._among(versions)
        return found

    def _among(self, versions: Sequence[str]) -> dict[str, Location]:
        return {name: self._held[name] for name in versions if name in self._held}

    async def _read(self) -> None:
        page = await self._page()
        self.cursor, self._next, self._ended = self._next, page.cursor, page.cursor is None
        self._held.clear()
        for record in page.records:
            self._last = record.id
            try:
                self._held[record.id] = self._locations.stored(record).value
            except Damaged:
                continue  # it is as good as none

    async def _page(self) -> Page:
        try:
            return await self.records.query(
                self.partition, LOCATION_KIND, limit=PAGE, cursor=self._next
            )
        except InvalidInput:  # of another record store
            self._next = None
            return await self.records.query(self.partition, LOCATION_KIND, limit=PAGE)
