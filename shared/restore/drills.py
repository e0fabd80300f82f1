"""Drills: a tenant's newest set is restored into scratch space, compared, measured, and thrown away.

Partition by partition, so that scratch space stays small: the very code of a restore runs over record and
object stores that last for one partition. What cannot change after a set, versions and logged entries, is
compared with what the service has; every content's SHA-256 with its record's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from shared.backup.snapshot import LOG_PART, Snapshot, Snapshots
from shared.base.errors import Conflict, Damaged, NotFound, StrongroomError, Unavailable
from shared.base.models import Model, UtcDatetime
from shared.base.partitions import Partition
from shared.journal.agenda import Agenda, Task
from shared.journal.collections import Collection, Stored
from shared.journal.entries import SYSTEM, Action, Details
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from shared.ports.records import RecordStore
from shared.restore.assessing import Run
from shared.restore.comparison import Comparison, Scratch
from shared.restore.outcomes import Problem
from shared.restore.tenants import Cursor, order_of_parts

DRILL_KIND: Final = "backup-job-drill"

SLICE: Final = timedelta(minutes=4)
"""How long one run works on one drill, but for the partition that it is at."""

KEPT: Final = timedelta(days=730)
"""How long a report can be looked at."""

MAX_PROBLEMS: Final = 100
RUNNING: Final = {"state": "running"}

_log = logging.getLogger("strongroom.drill")


class DrillReport(Model):
    """What a drill found.

    Attributes:
        id: Begins with ``drl``.
        tenant: Whose.
        set: From which set.
        point_in_time: Of the set.
        started_at: When the drill began.
        ended_at: When it ended; None: it is running.
        recovery_point_seconds: How old the state of the set was when the drill began.
        recovery_seconds: How long restoring took, comparing included.
        documents: That were restored.
        versions: Whose content was.
        bytes: The size of these, sealed.
        records: Other records that were restored.
        differences: What was restored otherwise than the service has it.
        problems: What was not restored; a hundred at most.
        problem_count: How many there were.
        part: The last partition that is done.
    """

    id: str
    tenant: str
    set: str
    point_in_time: UtcDatetime
    started_at: UtcDatetime
    ended_at: UtcDatetime | None = None
    recovery_point_seconds: float
    recovery_seconds: float = 0.0
    documents: int = 0
    versions: int = 0
    bytes: int = 0
    records: int = 0
    differences: int = 0
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0
    part: str = ""

    @property
    def outcome(self) -> Literal["running", "passed", "failed"]:
        """Whether everything was restored as the service has it.

        A document that was erased after the set stays erased, which is as it should be.
        """
        if self.ended_at is None:
            return "running"
        failed = self.differences or any(each.problem != "erased" for each in self.problems)
        return "failed" if failed else "passed"


@dataclass(slots=True)
class Drills:
    """Runs drills.

    Attributes:
        journal: Puts each report into the audit log.
        agenda: Knows for which tenants one is due.
        snapshots: Opens sets.
        scratch: Makes scratch space.
        comparison: Compares what was restored with what there is.
        runtime: Time.
        every: How often for each tenant.
    """

    journal: Journal
    agenda: Agenda
    snapshots: Snapshots
    scratch: Callable[[], Scratch]
    comparison: Comparison
    runtime: Runtime
    every: timedelta
    _reports: Collection[DrillReport] = field(init=False)

    def __post_init__(self) -> None:
        self._reports = drills_of(self.comparison.records)

    async def run(self) -> int:
        """Run the drills that are due; return how many ended."""
        ended = 0
        async for item in self.agenda.due(Task.DRILL):
            tenant = Partition.parse(item.value.partition).tenant
            try:
                done = await self._run(tenant)
            except (Conflict, Unavailable) as error:
                _log.warning("drill.put-off %s: %s", tenant, error.slug)
                continue
            except StrongroomError as error:
                # The operators' alert looks for this line.
                _log.error("drill.failed %s: %s", tenant, error.slug)
                done = True
            if done:
                await self.agenda.add(
                    Task.DRILL, Partition(tenant), self.runtime.now() + self.every
                )
                await self.agenda.remove(Task.DRILL, [item])
                ended += 1
        return ended

    async def _run(self, tenant: str) -> bool:
        stored = await self._begin(tenant)
        if stored is None:
            return True
        until = self.runtime.now() + SLICE
        snapshot = await self.snapshots.open(tenant, stored.value.set)
        parts = order_of_parts(snapshot.manifest)
        done = parts.index(stored.value.part) + 1 if stored.value.part in parts else 0
        for part in parts[done:]:
            stored = await self._save(stored, await self._part(stored.value, snapshot, part))
            if self.runtime.now() >= until:
                return False
        await self._end(stored)
        return True

    async def _begin(self, tenant: str) -> Stored[DrillReport] | None:
        """The drill that is running, or a new one; None: there is no set."""
        partition, now = Partition(tenant), self.runtime.now()
        async for running in self._reports.scan(partition, where=RUNNING):
            return running
        try:
            name = await self.snapshots.reader.newest(tenant)
        except NotFound:
            return None
        manifest = (await self.snapshots.open(tenant, name)).manifest
        report = DrillReport(
            id=self.runtime.new_id("drl", now),
            tenant=tenant,
            set=name,
            point_in_time=manifest.made_at,
            started_at=now,
            recovery_point_seconds=await self._age(tenant, manifest.made_at, now),
        )
        await self.comparison.records.commit(partition, [self._reports.create(partition, report)])
        return await self._reports.get(partition, report.id)

    async def _age(self, tenant: str, made_at: datetime, now: datetime) -> float:
        """How much of the past the set lacks: nothing, if nothing has waited to be backed up since."""
        async for item in self.agenda.due(Task.BACK_UP):
            if Partition.parse(item.value.partition).tenant == tenant:
                return (now - made_at).total_seconds()
        return 0.0

    async def _part(self, report: DrillReport, snapshot: Snapshot, part: str) -> DrillReport:
        """Restore one partition into scratch space and compare it."""
        began = self.runtime.now()
        scratch = self.scratch()
        run = Run(snapshot, SYSTEM)
        partition, differences = Partition(report.tenant, part), 0
        try:
            if part.startswith(LOG_PART):
                await scratch.tenants.records.restore_log(snapshot, part, run.outcome)
            else:
                await scratch.tenants.restore_part(run, part, Cursor(), _go_on)
            differences = await self.comparison.differences(scratch, partition)
        except (Damaged, NotFound) as error:
            run.outcome.add("damaged" if isinstance(error, Damaged) else "missing")
        outcome = run.outcome
        return report.model_copy(
            update={
                "part": part,
                "recovery_seconds": report.recovery_seconds
                + (self.runtime.now() - began).total_seconds(),
                "documents": report.documents + outcome.restored,
                "versions": report.versions + outcome.versions,
                "bytes": report.bytes + outcome.bytes,
                "records": report.records + outcome.records,
                "differences": report.differences + differences,
                "problems": (*report.problems, *outcome.problems)[:MAX_PROBLEMS],
                "problem_count": report.problem_count + outcome.problem_count,
            }
        )

    async def _save(self, stored: Stored[DrillReport], report: DrillReport) -> Stored[DrillReport]:
        await self.comparison.records.commit(
            stored.partition, [self._reports.replace(stored, report)]
        )
        return await self._reports.get(stored.partition, report.id)

    async def _end(self, stored: Stored[DrillReport]) -> None:
        report = stored.value.model_copy(update={"ended_at": self.runtime.now()})
        if report.outcome == "failed":
            _log.error("drill.failed %s, %s", report.tenant, report.id)
        details: Details = {
            "set": report.set,
            "versions": report.versions,
            "differences": report.differences,
            "problems": report.problem_count,
            "recovery_seconds": round(report.recovery_seconds),
            "recovery_point_seconds": round(report.recovery_point_seconds),
        }
        entry = self.journal.entry(
            Action.RESTORE_DRILL,
            report.id,
            tenant=report.tenant,
            failed="damaged" if report.outcome == "failed" else "",
            details=details,
        )
        await self.journal.commit(entry, [self._reports.replace(stored, report)])


def drills_of(records: RecordStore) -> Collection[DrillReport]:
    """The reports of a tenant's drills, in its main partition, in the order of their beginning."""
    return Collection(
        records,
        DrillReport,
        DRILL_KIND,
        lambda report: report.id,
        index_of=lambda report: RUNNING if report.ended_at is None else {},
        expires_at=lambda report: report.started_at + KEPT,
    )


async def _go_on(_: Cursor) -> bool:
    return True
