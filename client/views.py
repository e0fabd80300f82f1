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
    documents: int
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
    """What a restore would bring."""

    documents: int
    versions: int
    objects: int
    bytes: int
    expected_seconds: float
    skipped_newer: int


class RestoreProgress(BaseModel):
    """How far a restore is."""

    documents: int
    versions: int
    bytes: int


class RestoreProblem(BaseModel):
    """A version that a restore could not bring back."""

    document: str
    version: int | None
    problem: str


class Restore(BaseModel):
    """A restore."""

    id: str
    set: str
    state: Literal["planned", "running", "paused", "done", "failed"]
    plan: RestorePlan
    progress: RestoreProgress
    problems: list[RestoreProblem]
