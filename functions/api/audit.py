"""The audit log of the caller's tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from functions.api.bodies import Cursor, Limit
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.guard import GuardedRoute, requires
from shared.access.permissions import Permission
from shared.audit.models import LoggedEntry

router = APIRouter(prefix="/audit", tags=["audit"], route_class=GuardedRoute)

Resource = Annotated[
    str | None, Query(max_length=64, description="Only entries about the resource with this id.")
]


class TreeHeadView(BaseModel):
    """The size of the log and the root of the Merkle tree over it (RFC 6962)."""

    size: int
    root: str


class LogView(BaseModel):
    """A page of entries, newest first, with their positions in the log, and the tree head."""

    items: Sequence[LoggedEntry]
    cursor: str | None
    damaged: Sequence[str]
    head: TreeHeadView


@router.get("", summary="List the audit log")
@requires(Permission.AUDIT_READ)
async def list_audit_log(
    services: ServicesDep,
    principal: PrincipalDep,
    limit: Limit = 50,
    cursor: Cursor = None,
    resource: Resource = None,
) -> LogView:
    """List who did what in your tenant, newest first. Reading the log adds an entry to it."""
    page = await services.audit_log.entries(
        principal, resource=resource, limit=limit, cursor=cursor
    )
    return LogView(
        items=page.items,
        cursor=page.cursor,
        damaged=page.damaged,
        head=TreeHeadView(size=page.head.size, root=page.head.root),
    )
