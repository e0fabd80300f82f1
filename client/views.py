"""What the API's responses hold, as far as the commands use it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel


class SignedIn(BaseModel):
    """A token."""

    token: str
    expires_at: datetime


class Backup(BaseModel):
    """A backup set."""

    id: str
    tenant: str
    made_at: datetime
    kind: str
    retain_until: datetime
    versions: int
    content_bytes: int
    new_bytes: int
    sequence: int
    sha256: str


class BackupDetails(Backup):
    """A backup set, with its place in the chain."""

    parts: int
    previous: str | None


class Report(BaseModel):
    """The state of a tenant's backups; the members that are objects are printed as they are."""

    last_set: dict[str, Any] | None
    recovery_point_seconds: float | None
    last_verification: dict[str, Any] | None
    findings: list[dict[str, Any]]
    last_drill: dict[str, Any] | None
    restored_at: datetime | None


class Finding(BaseModel):
    """Something that a verification found wrong."""

    kind: str
    object: str
    detail: str


class Verification(BaseModel):
    """A verification of backup sets."""

    id: str
    set: str | None
    state: Literal["running", "done"]
    checked_objects: int
    checked_bytes: int
    total_objects: int
    findings: list[Finding]


class RestorePlan(BaseModel):
    """What a restore would do; without `exact` its numbers are those of the whole set."""

    documents: int
    versions: int
    bytes: int
    skipped_newer: int
    erased: int
    expected_seconds: float
    exact: bool


class RestoreProgress(BaseModel):
    """What a restore did so far."""

    documents: int
    restored: int
    versions: int
    bytes: int
    records: int


class RestoreProblem(BaseModel):
    """Something that was not restored: a version, all of a document (0), or something else (empty)."""

    document: str
    version: int
    problem: str


class Restore(BaseModel):
    """A restore; `problem_count` counts problems that are not listed as well."""

    id: str
    set: str
    point_in_time: datetime
    state: Literal["planned", "running", "paused", "done", "cancelled"]
    plan: RestorePlan
    progress: RestoreProgress
    problems: list[RestoreProblem]
    problem_count: int
