"""The months that may hold records of a kind of a tenant, so that lists and walks look into no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from shared.base.errors import Conflict
from shared.base.models import Model
from shared.base.partitions import Partition
from shared.journal.collections import Collection, Order
from shared.ports.records import RecordStore

DOCUMENT_MONTHS: Final = "document-month"
GRANT_MONTHS: Final = "grant-month"


class Month(Model):
    """That a month's partition may hold such records; ``id`` is the month, such as ``2026-11``."""

    id: str


@dataclass(slots=True)
class Months:
    """Knows in which months a tenant may have records of a kind.

    Attributes:
        records: Where they are kept, in the tenant's main partition.
        kind: Of the records that name the months.
    """

    records: RecordStore
    kind: str
    _months: Collection[Month] = field(init=False)
    _known: set[Partition] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._months = Collection(self.records, Month, self.kind, lambda month: month.id)

    async def of(self, tenant: str, order: Order = "ascending") -> Sequence[str]:
        """The months of a tenant, such as ``2026-11``."""
        return [month.value.id async for month in self._months.scan(Partition(tenant), order=order)]

    async def prepare(self, partition: Partition) -> None:
        """Before a month's first record is committed: make sure that lists look into the month."""
        if partition in self._known:
            return
        main = Partition(partition.tenant)
        if await self._months.find(main, partition.part) is None:
            create = self._months.create(main, Month(id=partition.part))
            with suppress(Conflict):  # another one of the month was first
                await asyncio.shield(self.records.commit(main, [create]))
        self._known.add(partition)
