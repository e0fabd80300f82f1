"""The timer of restores: works on those that were started, a while at a time."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.backup.snapshot import Snapshots
from shared.base.errors import Conflict, Damaged, NotFound, StrongroomError
from shared.base.leases import lasts
from shared.base.partitions import Partition, partition_of
from shared.journal.agenda import Agenda, AgendaItem, Task
from shared.journal.collections import Collection, Stored
from shared.journal.entries import Action, Details
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from shared.restore.assessing import Run
from shared.restore.history import mark_restored
from shared.restore.jobs import RUNNING, RestoreJob, RestoreProgress, jobs_of
from shared.restore.tenants import Cursor, TenantRestorer

SAVED_EVERY: Final = timedelta(seconds=5)

SLICE: Final = timedelta(minutes=4)
"""How long one run works on one restore; the next run goes on."""

LEASE: Final = timedelta(minutes=2)
"""A restore of which nothing was saved for so long is taken over."""

_log = logging.getLogger("strongroom.restore")


@dataclass(slots=True)
class RestoreTimer:
    """Works on restores.

    Attributes:
        journal: Commits the end of each with its audit entry.
        agenda: Knows where restores are running.
        snapshots: Opens sets.
        tenants: Restores tenants, and documents.
        runtime: Time.
    """

    journal: Journal
    agenda: Agenda
    snapshots: Snapshots
    tenants: TenantRestorer
    runtime: Runtime
    _jobs: Collection[RestoreJob] = field(init=False)

    def __post_init__(self) -> None:
        self._jobs = jobs_of(self.tenants.records.records)

    async def run(self) -> int:
        """Work on every restore that is running; return how many ended."""
        ended = 0
        async for item in self.agenda.due(Task.RESTORE):
            ended += await self._run_all(item)
        return ended

    async def _run_all(self, item: Stored[AgendaItem]) -> int:
        partition, ended, left = Partition.parse(item.value.partition), 0, 0
        running = [one async for one in self._jobs.scan(partition, where=RUNNING)]
        for stored in running:
            try:
                done = await self._work(stored)
            except Conflict:
                left += 1  # another process works on it, or it was paused: the next run sees
                continue
            except StrongroomError as error:
                _log.error("restore.failed %s: %s", stored.value.id, error.slug)
                left += 1
                continue
            ended += done
            left += not done
        if not left:
            await self.agenda.remove(Task.RESTORE, [item])
        return ended

    async def _work(self, stored: Stored[RestoreJob]) -> bool:
        """Work on one restore for a while; return whether it ended."""
        job, now = stored.value, self.runtime.now()
        if lasts(job.working_until, now, LEASE):
            raise Conflict("Another process works on this restore.")
        working = _Working(self._jobs, self.runtime, stored)
        await working.save()
        try:
            snapshot = await self.snapshots.open(job.tenant, job.set)
        except (Damaged, NotFound) as error:
            working.outcome.add("damaged" if isinstance(error, Damaged) else "missing")
            await self._end(working)
            return True
        run = Run(snapshot, job.by, job.overwrite, into=job.into, outcome=working.outcome)
        if job.document:
            await self._restore_one(run, job)
        elif not await self.tenants.restore(run, job.cursor, working.checkpoint):
            await working.release()
            return False
        await self._end(working)
        return True

    async def _restore_one(self, run: Run, job: RestoreJob) -> None:
        try:
            state = await run.snapshot.part(partition_of(run.tenant, job.document).part)
            if job.version is None:
                await self.tenants.documents.restore(run, state, job.document)
                return
            found = await run.snapshot.document(state, job.document)
            await self.tenants.documents.restore_version(run, found, job.version)
        except Damaged:
            run.outcome.add("damaged", job.document, job.version or 0)
        except NotFound:
            run.outcome.add("missing", job.document, job.version or 0)

    async def _end(self, working: _Working) -> None:
        job = working.job
        details: Details = {
            "set": job.set,
            "documents": job.progress.documents,
            "restored": job.progress.restored,
            "versions": job.progress.versions,
            "records": job.progress.records,
            "problems": job.problem_count,
        }
        done = job.model_copy(update={"state": "done", "working_until": None})
        owner = working.stored.partition.tenant
        entry = self.journal.entry(
            Action.RESTORE_END, job.id, by=job.by, tenant=owner, details=details
        )
        await self.journal.commit(entry, [self._jobs.replace(working.stored, done)])
        if not job.document:
            restored = job.into or job.tenant
            if owner != restored:
                entry = self.journal.entry(
                    Action.RESTORE_END, job.id, by=job.by, tenant=restored, details=details
                )
                await self.journal.commit(entry)
            await mark_restored(
                self.tenants.records.records, self.snapshots, self.runtime, restored
            )


class _Working:
    """One restore while it is worked on."""

    def __init__(
        self, jobs: Collection[RestoreJob], runtime: Runtime, stored: Stored[RestoreJob]
    ) -> None:
        self._jobs = jobs
        self._runtime = runtime
        self._until = runtime.now() + SLICE
        self._saved_at = runtime.now()
        self.stored = stored
        self.cursor = stored.value.cursor
        self.outcome = stored.value.outcome

    @property
    def job(self) -> RestoreJob:
        """The job as far as it is now."""
        return self.stored.value.model_copy(
            update={
                "cursor": self.cursor,
                "progress": RestoreProgress.of(self.outcome),
                "problems": tuple(self.outcome.problems),
                "problem_count": self.outcome.problem_count,
            }
        )

    async def save(self) -> None:
        """Keep how far it is, and say that it goes on.

        Raises:
            Conflict: It was paused or cancelled, or another process has taken over.
        """
        await self._save(self._runtime.now() + LEASE)

    async def release(self) -> None:
        """Keep how far it is, for the next run.

        Raises:
            Conflict: As for ``save``.
        """
        await self._save(None)

    async def checkpoint(self, cursor: Cursor) -> bool:
        """Note how far it is, and save that now and then; False: this run has worked long enough.

        Raises:
            Conflict: As for ``save``.
        """
        now = self._runtime.now()
        self.cursor = cursor
        if now - self._saved_at >= SAVED_EVERY:
            await self.save()
        return now < self._until

    async def _save(self, until: datetime | None) -> None:
        job = self.job.model_copy(update={"working_until": until})
        partition = self.stored.partition
        await self._jobs.records.commit(partition, [self._jobs.replace(self.stored, job)])
        self._saved_at = self._runtime.now()
        self.stored = await self._jobs.get(partition, job.id)
        if self.stored.value.state != "running":
            raise Conflict("The restore was paused or cancelled.")
