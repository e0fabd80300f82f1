"""Restores: from the backups of the caller's tenant, or for employees of any tenant; a plan comes first."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from functions.api.bodies import Body, Cursor, Limit, PageView, Timestamp, id_path
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.guard import requires
from functions.api.routing import guarded_router
from shared.access.permissions import Permission
from shared.restore.jobs import RestoreJob, RestorePlan, RestoreProgress, RestoreState
from shared.restore.outcomes import Problem
from shared.restore.service import RestoreRequest

router = guarded_router("/restores", "restores")

RestoreId = Annotated[str, id_path("rst")]


def _id(prefix: str) -> object:
    return Field(pattern=rf"^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$")


SetId = Annotated[str, _id("set")]
DocumentId = Annotated[str, _id("doc")]
TenantId = Annotated[str, _id("ten")]
Number = Annotated[int, Field(ge=1, le=1_000)]


class RestoreBody(Body):
    """What to restore: by default all of your tenant, from its newest backup set.

    `set`: from this one; or `at`: from the newest one up to this time. `document`: only this one; with
    `version`, that version becomes its newest again. `overwrite`: documents that were changed since get
    the content as a new version. For employees: `tenant`, whose backups; `into`, another tenant that gets
    it all, sealed with its own keys.
    """

    set: SetId | SkipJsonSchema[None] = None
    at: Timestamp = None
    document: DocumentId | SkipJsonSchema[None] = None
    version: Number | SkipJsonSchema[None] = None
    overwrite: bool = False
    tenant: TenantId | SkipJsonSchema[None] = None
    into: TenantId | SkipJsonSchema[None] = None


class RestoreView(BaseModel):
    """A restore. `problems` lists what was not restored, and why; `problem_count` counts all of it."""

    id: str
    tenant: str
    set: str
    point_in_time: datetime
    document: str | None
    version: int | None
    overwrite: bool
    into: str | None
    created_at: datetime
    state: RestoreState
    plan: RestorePlan
    progress: RestoreProgress
    problems: list[Problem]
    problem_count: int

    @classmethod
    def of(cls, job: RestoreJob) -> RestoreView:
        """The view of a restore."""
        return cls(
            id=job.id,
            tenant=job.tenant,
            set=job.set,
            point_in_time=job.point_in_time,
            document=job.document or None,
            version=job.version,
            overwrite=job.overwrite,
            into=job.into or None,
            created_at=job.created_at,
            state=job.state,
            plan=job.plan,
            progress=job.progress,
            problems=list(job.problems),
            problem_count=job.problem_count,
        )


@router.post("", status_code=201, summary="Plan a restore")
@requires(Permission.BACKUPS_RESTORE)
async def plan_restore(
    body: RestoreBody, services: ServicesDep, principal: PrincipalDep
) -> RestoreView:
    """Find out what a restore would do; nothing is changed until you start it."""
    request = RestoreRequest(**body.model_dump())
    return RestoreView.of(await services.backups.restores.plan(principal, request))


@router.get("", summary="List restores")
@requires(Permission.BACKUPS_RESTORE)
async def list_restores(
    services: ServicesDep, principal: PrincipalDep, limit: Limit = 50, cursor: Cursor = None
) -> PageView[RestoreView]:
    """List the restores that were planned in your tenant, newest first."""
    page = await services.backups.restores.page(principal, limit=limit, cursor=cursor)
    return PageView.of(page, RestoreView.of)


@router.get("/{restore}", summary="Get a restore")
@requires(Permission.BACKUPS_RESTORE)
async def get_restore(
    restore: RestoreId, services: ServicesDep, principal: PrincipalDep
) -> RestoreView:
    """Get the plan, the progress and the problems of a restore."""
    return RestoreView.of(await services.backups.restores.read(principal, restore))


@router.post("/{restore}/start", summary="Start a restore")
@requires(Permission.BACKUPS_RESTORE)
async def start_restore(
    restore: RestoreId, services: ServicesDep, principal: PrincipalDep
) -> RestoreView:
    """Start a restore that is planned, or go on with one that is paused.

    It adds what is missing and takes nothing away; it can be interrupted and repeated at any time.
    """
    return RestoreView.of(await services.backups.restores.start(principal, restore))


@router.post("/{restore}/pause", summary="Pause a restore")
@requires(Permission.BACKUPS_RESTORE)
async def pause_restore(
    restore: RestoreId, services: ServicesDep, principal: PrincipalDep
) -> RestoreView:
    """Pause a restore within seconds. What was restored stays."""
    return RestoreView.of(await services.backups.restores.pause(principal, restore))


@router.delete("/{restore}", status_code=204, summary="Cancel a restore")
@requires(Permission.BACKUPS_RESTORE)
async def cancel_restore(
    restore: RestoreId, services: ServicesDep, principal: PrincipalDep
) -> None:
    """Give a restore up. What was restored stays."""
    await services.backups.restores.cancel(principal, restore)
