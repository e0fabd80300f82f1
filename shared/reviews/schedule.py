"""When reviews of tenants open: a tenant is put on the agenda when it is created, and by each review."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.base.errors import Conflict
from shared.base.models import Model, UtcDatetime
from shared.base.partitions import OPERATOR, Partition
from shared.identity.models import Tenant
from shared.identity.tenants import DIRECTORY, TENANT_KIND
from shared.journal.agenda import Agenda, Task
from shared.journal.collections import Collection
from shared.journal.months import GRANT_MONTHS, Months
from shared.ports.clock import Runtime
from shared.ports.records import RecordStore
from shared.reviews.rules import spread

BEGUN_KIND: Final = "review-timer"
"""In no backup set: after a restore of the whole service the agenda is made anew."""

BEGUN_ID: Final = "once"


class Begun(Model):
    """That every tenant is on the agenda.

    Attributes:
        at: Since when.
    """

    at: UtcDatetime


@dataclass(slots=True)
class ReviewSchedule:
    """Puts tenants on the agenda.

    Attributes:
        records: The record store.
        agenda: Where they are put.
        runtime: Time.
        every: How often each tenant has a review.
    """

    records: RecordStore
    agenda: Agenda
    runtime: Runtime
    every: timedelta
    _begun: Collection[Begun] = field(init=False)
    _tenants: Collection[Tenant] = field(init=False)

    def __post_init__(self) -> None:
        self._begun = Collection(self.records, Begun, BEGUN_KIND, lambda _: BEGUN_ID)
        self._tenants = Collection(self.records, Tenant, TENANT_KIND, lambda tenant: tenant.id)

    async def prepare(self, tenant: str, created_at: datetime) -> None:
        """Before a tenant is created: put its first review on the agenda."""
        await self.agenda.add(Task.REVIEW, Partition(tenant), created_at + self.every)

    async def begin(self) -> datetime:
        """Once: put on the agenda what was there before, and return when that was.

        What is left of a tenant's reviews after a restore is looked for at once; no review opens before
        ``first`` for that.
        """
        partition = Partition(OPERATOR)
        begun = await self._begun.find(partition, BEGUN_ID)
        if begun is not None:
            return begun.value.at
        now = self.runtime.now()
        await self.agenda.add(Task.REVIEW, partition, now)
        async for stored in self._tenants.scan(DIRECTORY):
            await self.agenda.add(Task.REVIEW, Partition(stored.value.id), now)
        for month in await Months(self.records, GRANT_MONTHS).of(OPERATOR):
            await self.agenda.add(Task.REVIEW_GRANTS, Partition(OPERATOR, month), now)
        try:
            await self.records.commit(partition, [self._begun.create(partition, Begun(at=now))])
        except Conflict:
            return (await self._begun.get(partition, BEGUN_ID)).value.at
        return now

    async def first(self, tenant: str) -> datetime | None:
        """When a tenant that had no review gets one; None: there is no such tenant.

        A tenant that is older than the reviews has its first one within the period that follows.
        """
        begun = await self.begin()
        if tenant == OPERATOR:
            return begun + self.every
        stored = await self._tenants.find(DIRECTORY, tenant)
        if stored is None:
            return None
        due = stored.value.created_at + self.every
        return due if due >= begun else begun + spread(tenant, self.every)
