"""Restoring the whole service into an empty environment: the operator first, then every tenant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.backup.snapshot import Snapshots
from shared.backup.timer import FIRST_DRILL
from shared.base.errors import Conflict, Damaged, NotFound
from shared.base.ids import created_at
from shared.base.models import Model
from shared.base.partitions import OPERATOR, Partition
from shared.identity.models import Tenant
from shared.identity.tenants import DIRECTORY, TENANT_KIND
from shared.journal.agenda import Agenda, Task
from shared.journal.collections import Collection
from shared.journal.entries import SYSTEM, Action
from shared.journal.journal import Journal
from shared.journal.months import GRANT_MONTHS, Months
from shared.keys.rotation import KeyRotation
from shared.ports.clock import Runtime
from shared.restore.assessing import Run
from shared.restore.history import mark_restored
from shared.restore.outcomes import Outcome
from shared.restore.tenants import Cursor, TenantRestorer

MARK_KIND: Final = "backup-job-whole"
MARK_ID: Final = "whole"


class Mark(Model):
    """That the whole service is being restored here.

    Attributes:
        id: Always the same.
        point_in_time: The latest moment that is restored; None: the newest sets.
        tenants: Those that are done.
    """

    id: str = MARK_ID
    point_in_time: datetime | None = None
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TenantPlan:
    """What would be restored of one tenant.

    Attributes:
        tenant: The tenant, or ``OPERATOR``.
        set: From which set; empty: there is none of that time that can be read.
        point_in_time: Of the set.
        versions: Whose content it holds.
        bytes: The size of these, sealed.
    """

    tenant: str
    set: str = ""
    point_in_time: datetime | None = None
    versions: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class TenantOutcome:
    """What was restored of one tenant.

    Attributes:
        tenant: The tenant, or ``OPERATOR``.
        set: From which set; empty: there is none of that time.
        outcome: What was done.
    """

    tenant: str
    set: str
    outcome: Outcome


@dataclass(slots=True)
class WholeRestorer:
    """Restores the whole service.

    Attributes:
        snapshots: Opens sets.
        tenants: Restores tenants.
        journal: Puts the end into the operator's audit log.
        agenda: Learns what timers have to look at from now on.
        rotation: Schedules the rotation of tenant keys.
        runtime: Time.
    """

    snapshots: Snapshots
    tenants: TenantRestorer
    journal: Journal
    agenda: Agenda
    rotation: KeyRotation
    runtime: Runtime
    _marks: Collection[Mark] = field(init=False)
    _directory: Collection[Tenant] = field(init=False)

    def __post_init__(self) -> None:
        records = self.tenants.records.records
        self._marks = Collection(records, Mark, MARK_KIND, lambda mark: mark.id)
        self._directory = Collection(records, Tenant, TENANT_KIND)

    async def plan(self, at: datetime | None) -> list[TenantPlan]:
        """What would be restored: of the operator first, then of each tenant; nothing is changed.

        Args:
            at: The latest moment to restore; None: the newest sets.

        Raises:
            NotFound: There is no set of the operator's records of that time, or a part of it is missing.
            Damaged: That set cannot be read.
            Unavailable: A store or the key vault does not respond.
        """
        snapshot = await self.snapshots.open(
            OPERATOR, await self.snapshots.reader.newest(OPERATOR, at)
        )
        state = await snapshot.part(DIRECTORY.part)
        tenants = sorted(name for kind, name in state.lines if kind == TENANT_KIND)
        return [await self._plan(tenant, at) for tenant in (OPERATOR, *tenants)]

    async def restore(
        self, at: datetime | None, report: Callable[[TenantOutcome], None]
    ) -> list[TenantOutcome]:
        """Restore everything, or go on with it where an earlier call ended.

        The service must not run meanwhile.

        Args:
            at: The latest moment to restore; None: the newest sets.
            report: Called for each tenant that is done.

        Returns:
            What was done, for the operator's own records and for each tenant of this call.

        Raises:
            Conflict: The environment is not empty, or another moment is being restored here.
            NotFound: There is no set of the operator's records of that time.
            Damaged: That set cannot be read.
            Unavailable: A store or the key vault does not respond; call it again.
        """
        mark = await self._begin(at)
        outcomes: list[TenantOutcome] = []
        if OPERATOR not in mark.tenants:
            name = await self.snapshots.reader.newest(OPERATOR, at)
            await self.snapshots.open(OPERATOR, name)  # before anything is written
            outcomes.append(await self._restore(OPERATOR, at))
            report(outcomes[-1])
        async for stored in self._directory.scan(DIRECTORY):
            tenant = stored.value.id
            if tenant in mark.tenants:
                continue
            outcomes.append(await self._restore(tenant, at))
            report(outcomes[-1])
        await self._end(outcomes)
        return outcomes

    async def _plan(self, tenant: str, at: datetime | None) -> TenantPlan:
        try:
            name = await self.snapshots.reader.newest(tenant, at)
            manifest = (await self.snapshots.open(tenant, name)).manifest
        except (Damaged, NotFound):
            return TenantPlan(tenant)
        counts = manifest.counts
        return TenantPlan(tenant, name, manifest.made_at, counts.versions, counts.content_bytes)

    async def _begin(self, at: datetime | None) -> Mark:
        found = await self._marks.find(DIRECTORY, MARK_ID)
        if found is not None:
            if found.value.point_in_time != at:
                raise Conflict(
                    f"A restore up to {found.value.point_in_time or 'the newest sets'} was begun here;"
                    " go on with that one."
                )
            return found.value
        records = self.tenants.records.records
        if (await records.changes(DIRECTORY, limit=1)).records:
            raise Conflict("The environment is not empty; restore into a new one.")
        mark = Mark(point_in_time=at)
        await records.commit(DIRECTORY, [self._marks.create(DIRECTORY, mark)])
        return mark

    async def _restore(self, tenant: str, at: datetime | None) -> TenantOutcome:
        outcome = Outcome()
        try:
            name = await self.snapshots.reader.newest(tenant, at)
            snapshot = await self.snapshots.open(tenant, name)
        except (Damaged, NotFound) as error:
            outcome.add("damaged" if isinstance(error, Damaged) else "missing")
            return TenantOutcome(tenant, "", outcome)
        run = Run(snapshot, SYSTEM, whole=True, outcome=outcome)
        await self.tenants.restore(run, Cursor(), _go_on)
        await mark_restored(self.tenants.records.records, self.snapshots, self.runtime, tenant)
        if tenant == OPERATOR:
            await self._end_grants()
        else:
            await self.rotation.schedule(tenant, created_at(tenant))
        now = self.runtime.now()
        await self.agenda.add(Task.BACK_UP, Partition(tenant), now)
        await self.agenda.add(Task.DRILL, Partition(tenant), now + FIRST_DRILL)
        await self._note(tenant)
        return TenantOutcome(tenant, name, outcome)

    async def _end_grants(self) -> None:
        """Let a timer say in the audit logs which grants are over: those that were open in the backup."""
        months = Months(self.tenants.records.records, GRANT_MONTHS)
        for month in await months.of(OPERATOR):
            partition = Partition(OPERATOR, month)
            await self.agenda.add(Task.END_GRANTS, partition, self.runtime.now())

    async def _note(self, tenant: str) -> None:
        stored = await self._marks.get(DIRECTORY, MARK_ID)
        noted = stored.value.model_copy(update={"tenants": (*stored.value.tenants, tenant)})
        records = self.tenants.records.records
        await records.commit(DIRECTORY, [self._marks.replace(stored, noted)])

    async def _end(self, outcomes: list[TenantOutcome]) -> None:
        stored = await self._marks.get(DIRECTORY, MARK_ID)
        entry = self.journal.entry(
            Action.RESTORE_END,
            tenant=OPERATOR,
            details={
                "tenants": len(stored.value.tenants),
                "problems": sum(each.outcome.problem_count for each in outcomes),
            },
        )
        await self.journal.commit(entry, [self._marks.delete(stored)])


async def _go_on(_: Cursor) -> bool:
    return True
