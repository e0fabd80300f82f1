"""Targets: external storage that the caller's tenant owns, which gets copies of its documents."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from functions.api.bodies import Body, id_path
from functions.api.dependencies import LimitsDep, PrincipalDep, ServicesDep
from functions.api.guard import requires
from functions.api.request_headers import IfMatchDep, idempotency_key_for
from functions.api.response_headers import etag_header, response_headers
from functions.api.routing import guarded_router
from shared.access.permissions import Permission
from shared.base.errors import InvalidInput
from shared.journal.idempotency import IdempotencyKey
from shared.ports.targets import ProbeStep, TargetAddress, TargetCredentials
from shared.targets.models import State
from shared.targets.requests import (
    BytesPerSecond,
    DescribedTarget,
    NewTarget,
    NewTargetName,
    Recovery,
    TargetChange,
)

router = guarded_router("/targets", "targets")

TargetId = Annotated[str, id_path("tgt")]
KeyDep = Annotated[IdempotencyKey | None, idempotency_key_for("targets")]
Rate = Annotated[BytesPerSecond, Field(description="The most to send; 0: no limit.")]


class TargetBody(Body):
    """A target to set up. Without `recovery`, nobody can open its copies without the service."""

    name: NewTargetName
    address: TargetAddress
    credentials: TargetCredentials
    recovery: Recovery | SkipJsonSchema[None] = None
    bytes_per_second: Rate = 0


class TargetChangeBody(Body):
    """What to change about a target; what is left out stays. New credentials are probed first."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    name: NewTargetName | SkipJsonSchema[None] = None
    paused: bool | SkipJsonSchema[None] = None
    bytes_per_second: Rate | SkipJsonSchema[None] = None
    credentials: TargetCredentials | SkipJsonSchema[None] = None


class RecoveryView(BaseModel):
    """Who can open the copies without the service: `quorum` of the `holders` together.

    `recipients` are what the key files are encrypted to: the holders themselves, or with a quorum of two or
    more the one whose identity they share.
    """

    recipients: tuple[str, ...]
    quorum: int
    holders: int


class LagView(BaseModel):
    """How far a target is behind: how many copies and erasures wait, and since when the oldest does.

    `waiting` counts to 10,000 for all targets together.
    """

    waiting: int
    since: datetime | None
    seconds: int


class TargetView(BaseModel):
    """A target. Its credentials are never shown.

    `state` is `failing` once it has failed for a week, which `failing_since` dates; copying goes on being
    tried. `earlier_documents` says whether those that were there before the target have all been copied or
    wait. `last_error` is the `type` of a problem, without its prefix.
    """

    id: str
    name: str
    state: State
    address: TargetAddress
    recovery: RecoveryView | None
    bytes_per_second: int
    created_at: datetime
    lag: LagView
    earlier_documents: bool
    last_success_at: datetime | None
    last_error: str | None
    last_error_at: datetime | None
    failing_since: datetime | None

    @classmethod
    def of(cls, described: DescribedTarget, now: datetime) -> TargetView:
        """Return the view of a target at a time."""
        target, configuration = described.target, described.configuration
        status, lag = described.status, described.lag
        recovery = RecoveryView(
            recipients=configuration.recipients,
            quorum=configuration.quorum,
            holders=configuration.holders,
        )
        return cls(
            id=target.id,
            name=target.name,
            state=target.state,
            address=configuration.address,
            recovery=recovery if configuration.recipients else None,
            bytes_per_second=target.bytes_per_second,
            created_at=target.created_at,
            lag=LagView(
                waiting=lag.waiting,
                since=lag.since,
                seconds=0 if lag.since is None else int((now - lag.since).total_seconds()),
            ),
            earlier_documents=status.backfilled,
            last_success_at=status.last_success_at,
            last_error=status.last_error or None,
            last_error_at=status.last_error_at,
            failing_since=status.failed_since,
        )


class StepView(BaseModel):
    """One step of a probe; `detail` says what was wrong and what to do."""

    step: ProbeStep
    ok: bool
    detail: str


class ProbedTargetView(BaseModel):
    """A target and what a probe has found; no steps where none was needed."""

    target: TargetView
    steps: list[StepView]

    @classmethod
    def of(cls, described: DescribedTarget, now: datetime) -> ProbedTargetView:
        """Return the view of a target that was probed."""
        return cls(
            target=TargetView.of(described, now),
            steps=[
                StepView(step=each.step, ok=each.ok, detail=each.detail) for each in described.steps
            ],
        )


class TargetsView(BaseModel):
    """The targets of a tenant."""

    items: list[TargetView]
    damaged: list[str]


class DeletedTargetView(BaseModel):
    """A target that was deleted. `copies_left`: its copies stay where they are."""

    id: str
    copies_left: bool


@router.post(
    "",
    status_code=201,
    summary="Set up a target",
    responses={201: response_headers("ETag", "Location")},
)
@requires(Permission.TARGETS_MANAGE)
async def create_target(
    body: TargetBody,
    response: Response,
    services: ServicesDep,
    principal: PrincipalDep,
    limits: LimitsDep,
    key: KeyDep,
) -> ProbedTargetView:
    """Probe external storage, and copy all documents there from now on, those that are there included.

    A step that fails refuses the target: the problem's `steps` say which, and what to do.
    """
    limits.probe.take(principal.tenant)
    new = NewTarget(body.name, body.address, body.credentials, body.recovery, body.bytes_per_second)
    created = await services.targets.create(principal, new, key)
    response.headers["Location"] = (
        f"{services.settings.public_base_url}/api/v1/targets/{created.target.id}"
    )
    return _tagged(created, response, services.runtime.now())


@router.get("", summary="List targets")
@requires(Permission.TARGETS_READ)
async def list_targets(services: ServicesDep, principal: PrincipalDep) -> TargetsView:
    """List the targets of your tenant, oldest first, and how far each is behind."""
    now = services.runtime.now()
    found = await services.targets.all(principal)
    return TargetsView(
        items=[TargetView.of(each, now) for each in found.items], damaged=list(found.damaged)
    )


@router.get("/{target}", responses={200: response_headers("ETag")}, summary="Get a target")
@requires(Permission.TARGETS_READ)
async def get_target(
    target: TargetId, services: ServicesDep, principal: PrincipalDep, response: Response
) -> TargetView:
    """Get a target of your tenant, and how far it is behind."""
    described = await services.targets.read(principal, target)
    return _tagged(described, response, services.runtime.now()).target


@router.patch("/{target}", responses={200: response_headers("ETag")}, summary="Update a target")
@requires(Permission.TARGETS_MANAGE)
async def update_target(
    target: TargetId,
    body: TargetChangeBody,
    services: ServicesDep,
    principal: PrincipalDep,
    response: Response,
    limits: LimitsDep,
    if_match: IfMatchDep,
) -> ProbedTargetView:
    """Rename a target, pause or resume it, limit its bandwidth, or replace its credentials."""
    change = TargetChange(body.name, body.paused, body.bytes_per_second, body.credentials)
    if not change.changed:
        raise InvalidInput("Send `name`, `paused`, `bytes_per_second` or `credentials`.")
    if change.credentials is not None:
        limits.probe.take(principal.tenant)
    changed = await services.targets.change(principal, target, change, if_match)
    return _tagged(changed, response, services.runtime.now())


@router.post("/{target}/probe", summary="Probe a target")
@requires(Permission.TARGETS_MANAGE)
async def probe_target(
    target: TargetId, services: ServicesDep, principal: PrincipalDep, limits: LimitsDep
) -> ProbedTargetView:
    """Try each step now. If all is well, what waits is copied soon, whatever pause there was."""
    limits.probe.take(principal.tenant)
    probed = await services.targets.probe(principal, target)
    return ProbedTargetView.of(probed, services.runtime.now())


@router.delete("/{target}", summary="Delete a target")
@requires(Permission.TARGETS_MANAGE)
async def delete_target(
    target: TargetId, services: ServicesDep, principal: PrincipalDep
) -> DeletedTargetView:
    """Delete a target and its credentials. The copies that are there stay."""
    await services.targets.delete(principal, target)
    return DeletedTargetView(id=target, copies_left=True)


def _tagged(described: DescribedTarget, response: Response, now: datetime) -> ProbedTargetView:
    response.headers["ETag"] = etag_header(described.tag)
    return ProbedTargetView.of(described, now)
