"""Where grants lie: in the operator's records, by month, so that no restore of a tenant brings one back."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.base.errors import Damaged, NotFound
from shared.base.ids import ids_of_period
from shared.base.models import JsonObject
from shared.base.partitions import OPERATOR, Partition, month_of, partition_of
from shared.grants.models import GRANT_KIND, Grant, Private
from shared.journal.collections import Collection, Stored, StoredPage, page_across
from shared.journal.months import GRANT_MONTHS, Months
from shared.keys.sealing import ConfigurationSealer, SealedConfiguration
from shared.ports.records import RecordStore

PREFIX: Final = "grt"
MISSING: Final = "There is no such grant."


@dataclass(slots=True)
class GrantRecords:
    """Reads grants, and makes the changes to them.

    Attributes:
        records: Where they are kept.
    """

    records: RecordStore
    months: Months = field(init=False)
    grants: Collection[Grant] = field(init=False)

    def __post_init__(self) -> None:
        self.months = Months(self.records, GRANT_MONTHS)
        self.grants = Collection(
            self.records,
            Grant,
            GRANT_KIND,
            lambda grant: grant.id,
            index_of=_index,
            missing=MISSING,
        )

    async def get(self, grant: str) -> Stored[Grant]:
        """A grant.

        Raises:
            NotFound: There is none with this id.
        """
        try:
            partition = partition_of(OPERATOR, grant)
        except ValueError:
            raise NotFound(MISSING) from None
        return await self.grants.get(partition, grant)

    async def page(
        self, where: Mapping[str, str], *, limit: int, cursor: str | None
    ) -> StoredPage[Grant]:
        """Grants, the newest first.

        Args:
            where: ``tenant``, ``requester``, ``case`` (see ``case_index``), ``open``.
            limit: How many at most.
            cursor: From the page before.

        Raises:
            InvalidInput: The cursor does not belong to this list.
        """
        months = await self.months.of(OPERATOR, order="descending")
        return await page_across(
            self.grants,
            [Partition(OPERATOR, month) for month in months],
            where=where,
            order="descending",
            limit=limit,
            cursor=cursor,
        )

    async def scan(
        self,
        where: Mapping[str, str],
        since: datetime | None = None,
        before: datetime | None = None,
    ) -> AsyncIterator[Stored[Grant]]:
        """Every grant that was asked for in a period, the newest first; other months are not looked into.

        Args:
            where: As for ``page``.
            since: Only those asked for then or later.
            before: Only those asked for before then.
        """
        first, end = ids_of_period(PREFIX, since, before)
        for month in await self.months.of(OPERATOR, order="descending"):
            if first is not None and month < month_of(first):
                return
            if end is None or month <= month_of(end):
                found = self.grants.scan(
                    Partition(OPERATOR, month),
                    where=where,
                    order="descending",
                    first=first,
                    before=end,
                )
                async for stored in found:
                    yield stored


@dataclass(frozen=True, slots=True)
class GrantTexts:
    """Seals what people wrote about grants, under the operator's keys.

    Attributes:
        sealer: For things of the kind ``grant``.
    """

    sealer: ConfigurationSealer

    async def seal(self, grant: str, private: Private) -> SealedConfiguration:
        """Seal the texts of a grant.

        Raises:
            Unavailable: The key vault or the record store does not respond.
        """
        return await self.sealer.seal(OPERATOR, grant, private.model_dump(mode="json"))

    async def open(self, grant: Grant) -> Private:
        """The texts of a grant.

        Raises:
            Damaged: They are not what was sealed.
            Unavailable: The key vault or the record store does not respond.
        """
        sealed = SealedConfiguration(grant.epoch, grant.sealed)
        try:
            return Private.model_validate(await self.sealer.open(OPERATOR, grant.id, sealed))
        except ValueError:
            # Not chained: its message quotes the texts.
            raise Damaged("The texts of a grant are damaged.") from None


def as_restored(body: JsonObject, at: datetime) -> JsonObject:
    """The record of a grant as it is made again from a backup: over.

    Whether it was ended after the backup was made is not known any more, so that none comes back to life.

    Args:
        body: The record in the backup.
        at: When the backup was made.
    """
    grant = Grant.model_validate(body)
    if not grant.is_open:
        return body
    ended = grant.model_copy(update={"ends_at": min(at, grant.over_at)})
    return {**body, "ends_at": ended.model_dump(mode="json")["ends_at"]}


def case_index(system: str, case: str) -> str:
    """Stands for a support case in the index: the same for the same case."""
    return hashlib.sha256(f"{system}\n{case}".encode()).hexdigest()[:32]


def _index(grant: Grant) -> dict[str, str]:
    fields = {"tenant": grant.tenant, "requester": grant.requester, "case": grant.case}
    if grant.is_open:
        fields["open"] = "yes"
    if grant.break_glass and grant.review is None:
        fields["unreviewed"] = "yes"
    return fields
