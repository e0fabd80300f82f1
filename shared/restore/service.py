"""Restores as users and employees see them: a plan first, then a job that can be paused and goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from shared.access.principal import Principal
from shared.backup.snapshot import Snapshots
from shared.base.errors import Conflict, Forbidden, InvalidInput
from shared.base.listing import Listing
from shared.base.partitions import OPERATOR, Partition
from shared.identity.models import Tenant
from shared.identity.tenants import DIRECTORY, TENANT_KIND
from shared.journal.agenda import Agenda, Task
from shared.journal.collections import Collection
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Action, Details
from shared.journal.journal import Journal
from shared.keys.gate import as_the_service
from shared.ports.clock import Runtime
from shared.restore.jobs import RestoreJob, RestorePlan, RestoreState, jobs_of, run_of
from shared.restore.planning import Planner
from shared.restore.tenants import TenantRestorer


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What a caller wants restored.

    Attributes:
        tenant: Whose backups; None: the caller's own.
        set: The set; None: the newest, or the newest up to ``at``.
        at: A point in time.
        document: Only this document.
        version: Only this version of it, as its newest.
        overwrite: What was changed since gets the set's content as a new version.
        into: Another tenant that gets it all.
    """

    tenant: str | None = None
    set: str | None = None
    at: datetime | None = None
    document: str | None = None
    version: int | None = None
    overwrite: bool = False
    into: str | None = None


@dataclass(slots=True)
class Restores:
    """Plans, starts, pauses and runs restores.

    Attributes:
        journal: Commits changes with their audit entries.
        agenda: Knows where restores are running.
        snapshots: Opens sets.
        planner: Plans.
        tenants: Restores tenants, and documents.
        runtime: Time and randomness.
    """

    journal: Journal
    agenda: Agenda
    snapshots: Snapshots
    planner: Planner
    tenants: TenantRestorer
    runtime: Runtime
    _jobs: Collection[RestoreJob] = field(init=False)
    _directory: Collection[Tenant] = field(init=False)

    def __post_init__(self) -> None:
        records = self.tenants.records.records
        self._jobs = jobs_of(records)
        self._directory = Collection(
            records, Tenant, TENANT_KIND, missing="There is no such tenant."
        )

    async def plan(self, principal: Principal, request: RestoreRequest) -> RestoreJob:
        """Say what a restore would do, and keep it as a job that can be started.

        Raises:
            Forbidden: Another tenant's backups are for employees.
            InvalidInput: The request contradicts itself.
            NotFound: There is no such set, document, version or other tenant.
            Damaged: The set is not what was written.
            Unavailable: A store or the key vault does not respond.
        """
        tenant = _check(principal, request)
        if request.into is not None:
            await self._directory.get(DIRECTORY, request.into)
        name = request.set or await self.snapshots.reader.newest(tenant, request.at)
        # An employee learns of another tenant how much there is, and nothing that its keys protect.
        with as_the_service():
            return await self._plan(principal, request, tenant, name)

    async def _plan(
        self, principal: Principal, request: RestoreRequest, tenant: str, name: str
    ) -> RestoreJob:
        snapshot = await self.snapshots.open(tenant, name)
        now = self.runtime.now()
        job = RestoreJob(
            id=self.runtime.new_id("rst", now),
            tenant=tenant,
            set=name,
            point_in_time=snapshot.manifest.made_at,
            document=request.document or "",
            version=request.version,
            overwrite=request.overwrite,
            into=request.into or "",
            created_by=principal.user,
            employee=principal.kind == "employee",
            created_at=now,
            plan=RestorePlan(documents=0, versions=0, bytes=0, expected_seconds=0, exact=True),
        )
        run = run_of(job, snapshot)
        plan = (
            await self.planner.one(run, job.document, job.version)
            if job.document
            else await self.planner.whole(run)
        )
        job = job.model_copy(update={"plan": plan})
        details: Details = {"set": name, "tenant": tenant, "versions": plan.versions}
        await self.journal.commit(
            self.journal.entry(Action.RESTORE_PLAN, job.id, by=principal, details=details),
            [self._jobs.create(Partition(principal.tenant), job)],
        )
        return job

    async def read(self, principal: Principal, job: str) -> RestoreJob:
        """A restore that the caller's tenant asked for.

        Raises:
            NotFound: There is no such restore.
        """
        found = (await self._jobs.get(Partition(principal.tenant), job)).value
        await self.journal.commit(self.journal.entry(Action.RESTORE_READ, job, by=principal))
        return found

    async def page(
        self, principal: Principal, *, limit: int, cursor: str | None
    ) -> Listing[RestoreJob]:
        """A page of the restores that the caller's tenant asked for, newest first.

        Raises:
            InvalidInput: The cursor does not belong to this list.
        """
        partition = Partition(principal.tenant)
        page = await self._jobs.page(
            partition, order="descending", limit=limit, cursor=cursor, tolerant=True
        )
        await self.journal.commit(self.journal.entry(Action.RESTORE_READ, by=principal))
        return Listing([stored.value for stored in page.items], page.cursor, page.damaged)

    async def start(self, principal: Principal, job: str) -> RestoreJob:
        """Start a restore that is planned, or go on with one that is paused; twice is the same as once.

        Raises:
            Conflict: It has ended.
            NotFound: There is no such restore.
        """
        await self.agenda.announce(Task.RESTORE, Partition(principal.tenant))
        return await self._move(
            principal, job, Action.RESTORE_START, "running", "planned", "paused"
        )

    async def pause(self, principal: Principal, job: str) -> RestoreJob:
        """Pause a restore; what was restored stays.

        Raises:
            Conflict: It is not running.
            NotFound: There is no such restore.
        """
        return await self._move(principal, job, Action.RESTORE_PAUSE, "paused", "running")

    async def cancel(self, principal: Principal, job: str) -> None:
        """Give a restore up; what was restored stays.

        Raises:
            Conflict: It has ended.
            NotFound: There is no such restore.
        """
        states: tuple[RestoreState, ...] = ("planned", "paused", "running")
        await self._move(principal, job, Action.RESTORE_CANCEL, "cancelled", *states)

    async def _move(
        self,
        principal: Principal,
        job: str,
        action: Action,
        state: RestoreState,
        *allowed: RestoreState,
    ) -> RestoreJob:
        async def attempt() -> RestoreJob:
            stored = await self._jobs.get(Partition(principal.tenant), job)
            if stored.value.state not in allowed:
                if stored.value.state == state:  # the request was repeated
                    read = self.journal.entry(Action.RESTORE_READ, job, by=principal)
                    await self.journal.commit(read)
                return stored.value
            moved = stored.value.model_copy(update={"state": state})
            entry = self.journal.entry(action, job, by=principal)
            await self.journal.commit(entry, [self._jobs.replace(stored, moved)])
            return moved

        found = await retry_conflicts(attempt, self.runtime)
        if found.state != state:
            raise Conflict(f"The restore is {found.state}.")
        return found


def _check(principal: Principal, request: RestoreRequest) -> str:
    """Whose backups are meant.

    Raises:
        Forbidden: They are not for the caller.
        InvalidInput: The request contradicts itself.
    """
    tenant = request.tenant or principal.tenant
    if principal.kind != "employee" and (tenant != principal.tenant or request.into):
        raise Forbidden("You can restore your own tenant alone.")
    if request.set is not None and request.at is not None:
        raise InvalidInput("Send `set` or `at`, not both.")
    if request.version is not None and request.document is None:
        raise InvalidInput("A version is one of a document: send the document as well.")
    if request.into is not None and (request.document is not None or request.into == tenant):
        raise InvalidInput("A copy is of a whole tenant, into another one.")
    if OPERATOR in {tenant, request.into}:
        raise InvalidInput("The operator's own records are restored with all of the service.")
    return tenant
