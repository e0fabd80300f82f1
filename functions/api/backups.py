"""Backups: the sets, what verifications find, and a report of how good they are."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, Field

from functions.api.bodies import Body, Cursor, Limit, PageView, id_path
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.guard import requires
from functions.api.request_headers import idempotency_key_for
from functions.api.routing import guarded_router
from shared.access.permissions import Permission
from shared.backup.models import SetKind
from shared.journal.idempotency import IdempotencyKey
from shared.restore.drills import DrillReport
from shared.restore.outcomes import Problem
from shared.verification.findings import Finding, FindingKind, Verification
from shared.verification.reports import BackupReport, BackupSet

router = guarded_router("/backups", "backups")

_SET: str = r"^set_[0-7][0-9a-hjkmnp-tv-z]{25}$"

SetId = Annotated[str, Path(alias="set", pattern=_SET, description="`set_...`")]
VerificationId = Annotated[str, id_path("ver")]
OtherTenant = Annotated[
    str | None,
    Query(
        pattern=r"^ten_[0-7][0-9a-hjkmnp-tv-z]{25}$",
        description="For employees: whose sets. The tenant sees in its audit log who read them.",
    ),
]
KeyDep = Annotated[IdempotencyKey | None, idempotency_key_for("backups")]


class BackupView(BaseModel):
    """A backup set: a point in time of a tenant. `sha256` is of its signed manifest, hexadecimal.

    `kind` says what it counts as for its retention, and `new_bytes` what was written for it alone.
    """

    id: str
    tenant: str
    made_at: datetime
    kind: SetKind
    retain_until: datetime
    versions: int
    content_bytes: int
    new_bytes: int
    sequence: int
    sha256: str

    @classmethod
    def of(cls, found: BackupSet) -> BackupView:
        """The view of a set."""
        return cls(**_members(found))


class BackupDetailsView(BackupView):
    """A backup set. `previous` is the SHA-256 of the manifest before, which it names: the chain."""

    parts: int
    previous: str | None

    @classmethod
    def of(cls, found: BackupSet) -> BackupDetailsView:
        """The view of a set."""
        previous = found.manifest.previous
        return cls(
            **_members(found),
            parts=len(found.manifest.parts),
            previous=None if previous is None else previous.sha256.hex(),
        )


class FindingView(BaseModel):
    """Something that is not as it should be: an object of the backup, or a version of a document."""

    kind: FindingKind
    object: str
    detail: str

    @classmethod
    def of(cls, finding: Finding) -> FindingView:
        """The view of a finding."""
        return cls(kind=finding.kind, object=finding.object, detail=finding.detail)


class NewVerification(Body):
    """What to verify: one set, or everything where `set` is null or missing."""

    set: Annotated[str | None, Field(pattern=_SET)] = None


class VerificationView(BaseModel):
    """A verification. `findings` has the first 100; the audit log has all of them."""

    id: str
    set: str | None
    state: Literal["running", "done"]
    started_at: datetime
    ended_at: datetime | None
    checked_objects: int
    checked_bytes: int
    total_objects: int
    findings: list[FindingView]

    @classmethod
    def of(cls, found: Verification) -> VerificationView:
        """The view of a verification."""
        return cls(
            id=found.id,
            set=found.set,
            state=found.state,
            started_at=found.started_at,
            ended_at=found.ended_at,
            checked_objects=found.checked_objects,
            checked_bytes=found.checked_bytes,
            total_objects=found.total_objects,
            findings=[FindingView.of(each) for each in found.findings],
        )


class DrillView(BaseModel):
    """A drill: your newest backup set, restored into scratch space, compared and thrown away.

    `recovery_point_seconds` is how old the set's state was when the drill began, `recovery_seconds` how
    long restoring and comparing took. `differences` counts what was restored otherwise than it is.
    """

    id: str
    set: str
    outcome: Literal["running", "passed", "failed"]
    started_at: datetime
    ended_at: datetime | None
    recovery_point_seconds: float
    recovery_seconds: float
    documents: int
    versions: int
    bytes: int
    records: int
    differences: int
    problems: list[Problem]
    problem_count: int

    @classmethod
    def of(cls, report: DrillReport) -> DrillView:
        """The view of a drill."""
        fields = report.model_dump(include=set(cls.model_fields) - {"outcome"})
        return cls(**fields, outcome=report.outcome)


class ReportView(BaseModel):
    """How good your backups are.

    `recovery_point_seconds` is how old what a restore brings back would be: 0 if nothing changed since the
    newest set, null without a set. `findings` are those of the last finished verification. `restored_at`
    is when all of your tenant was last restored: what your programs know of documents may be newer.
    """

    last_set: BackupView | None
    recovery_point_seconds: float | None
    last_verification: VerificationView | None
    findings: list[FindingView]
    last_drill: DrillView | None
    restored_at: datetime | None

    @classmethod
    def of(cls, report: BackupReport) -> ReportView:
        """The view of a report."""
        verification = report.last_verification
        return cls(
            last_set=None if report.last_set is None else BackupView.of(report.last_set),
            recovery_point_seconds=report.recovery_point_seconds,
            last_verification=None if verification is None else VerificationView.of(verification),
            findings=[FindingView.of(each) for each in report.findings],
            last_drill=None if report.last_drill is None else DrillView.of(report.last_drill),
            restored_at=report.restored_at,
        )


@router.get("", summary="List backup sets")
@requires(Permission.BACKUPS_READ)
async def list_backups(
    services: ServicesDep,
    principal: PrincipalDep,
    tenant: OtherTenant = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[BackupView]:
    """List the backup sets of your tenant, newest first."""
    reports = services.backups.reports
    page = await reports.page(principal, tenant, limit=limit, cursor=cursor)
    return PageView.of(page, BackupView.of)


@router.get("/report", summary="Get the report of your backups")
@requires(Permission.BACKUPS_READ)
async def get_backup_report(services: ServicesDep, principal: PrincipalDep) -> ReportView:
    """Get the recovery point of your tenant, and what the last verification and drill found."""
    return ReportView.of(await services.backups.reports.report(principal))


@router.post("/verifications", status_code=202, summary="Verify backup sets")
@requires(Permission.BACKUPS_VERIFY)
async def start_verification(
    body: NewVerification, services: ServicesDep, principal: PrincipalDep, key: KeyDep
) -> VerificationView:
    """Have one set verified, or all of them and every copy of your documents. It begins soon.

    What is found is repaired where a good copy is left. One verification at a time can be asked for.
    """
    started = await services.backups.verifications.start(principal, body.set, key)
    return VerificationView.of(started)


@router.get("/verifications/{verification}", summary="Get a verification")
@requires(Permission.BACKUPS_VERIFY)
async def get_verification(
    verification: VerificationId, services: ServicesDep, principal: PrincipalDep
) -> VerificationView:
    """Get how far a verification is, and what it found."""
    return VerificationView.of(await services.backups.verifications.read(principal, verification))


@router.get("/{set}", summary="Get a backup set")
@requires(Permission.BACKUPS_READ)
async def get_backup(
    set_id: SetId, services: ServicesDep, principal: PrincipalDep, tenant: OtherTenant = None
) -> BackupDetailsView:
    """Get a backup set and its place in the chain of sets."""
    return BackupDetailsView.of(await services.backups.reports.read(principal, tenant, set_id))


def _members(found: BackupSet) -> dict[str, Any]:
    manifest = found.manifest
    return {
        "id": manifest.id,
        "tenant": manifest.tenant,
        "made_at": manifest.made_at,
        "kind": manifest.kind,
        "retain_until": manifest.retain_until,
        "versions": manifest.counts.versions,
        "content_bytes": manifest.counts.content_bytes,
        "new_bytes": manifest.new_bytes,
        "sequence": manifest.sequence,
        "sha256": found.sha256.hex(),
    }
