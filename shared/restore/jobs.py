"""Restores as jobs: planned, started, paused, done; kept as records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Literal

from shared.backup.snapshot import Snapshot
from shared.base.models import Model, UtcDatetime
from shared.journal.collections import Collection
from shared.journal.entries import Actor
from shared.ports.records import RecordStore
from shared.restore.assessing import Run
from shared.restore.outcomes import Outcome, Problem
from shared.restore.tenants import Cursor

RESTORE_KIND: Final = "backup-job-restore"

KEPT: Final = timedelta(days=365)
"""How long a job can be looked at."""

RUNNING: Final = {"state": "running"}

RestoreState = Literal["planned", "running", "paused", "done", "cancelled"]


class RestorePlan(Model):
    """What a restore would do.

    Attributes:
        documents: How many it would look at.
        versions: Whose content it would put back.
        bytes: The size of these, sealed.
        skipped_newer: Documents that were changed since and would be left.
        erased: Documents that were erased since and stay so.
        expected_seconds: How long it would take.
        exact: Whether each document was compared; if not, the numbers are those of the set.
    """

    documents: int
    versions: int
    bytes: int
    skipped_newer: int = 0
    erased: int = 0
    expected_seconds: int
    exact: bool


class RestoreProgress(Model):
    """What a restore did so far; see ``Outcome``."""

    documents: int = 0
    restored: int = 0
    versions: int = 0
    bytes: int = 0
    records: int = 0

    @classmethod
    def of(cls, outcome: Outcome) -> RestoreProgress:
        """The numbers of an outcome."""
        return cls(**{name: getattr(outcome, name) for name in cls.model_fields})


class RestoreJob(Model):
    """One restore.

    Attributes:
        id: Begins with ``rst``.
        tenant: Whose set it restores.
        set: The set.
        point_in_time: Of the set.
        document: The only document that is restored; empty: all of them.
        version: The version of it that becomes the newest; None: the document as it was.
        overwrite: Whether what was changed since gets the set's content as a new version.
        into: The id of another tenant that gets it all, sealed anew; empty: the set's own.
        created_by: The user who planned it.
        employee: Whether that is an employee.
        created_at: When.
        state: Where it is.
        plan: What it would do.
        progress: What it did so far.
        cursor: Where it goes on.
        problems: What was not restored; some thousand at most.
        problem_count: How many there were.
        working_until: A process is working on it until then, unless it says that it goes on.
    """

    id: str
    tenant: str
    set: str
    point_in_time: UtcDatetime
    document: str = ""
    version: int | None = None
    overwrite: bool = False
    into: str = ""
    created_by: str
    employee: bool
    created_at: UtcDatetime
    state: RestoreState = "planned"
    plan: RestorePlan
    progress: RestoreProgress = RestoreProgress()
    cursor: Cursor = Cursor()
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0
    working_until: UtcDatetime | None = None

    @property
    def outcome(self) -> Outcome:
        """To go on counting from."""
        return Outcome(
            **self.progress.model_dump(),
            problems=list(self.problems),
            problem_count=self.problem_count,
        )

    @property
    def by(self) -> Actor:
        """Whom its effects are attributed to."""
        return Actor(kind="employee" if self.employee else "user", id=self.created_by)


def jobs_of(records: RecordStore) -> Collection[RestoreJob]:
    """The restores that a tenant's users, or employees, asked for: in their own main partition."""
    return Collection(
        records,
        RestoreJob,
        RESTORE_KIND,
        lambda job: job.id,
        index_of=_index_of,
        expires_at=lambda job: job.created_at + KEPT,
        missing="There is no such restore.",
    )


def run_of(job: RestoreJob, snapshot: Snapshot) -> Run:
    """A job as one run, which goes on counting where the last one ended."""
    return Run(snapshot, job.by, job.overwrite, into=job.into, outcome=job.outcome)


def _index_of(job: RestoreJob) -> Mapping[str, str]:
    return RUNNING if job.state == "running" else {}
