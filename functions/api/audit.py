"""The audit log of the caller's tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from functions.api.bodies import Cursor, Limit
from functions.api.guard import GuardedRoute, PrincipalDep, ServicesDep, requires
from shared.access.permissions import Permission
from shared.audit.models import LoggedEntry

router = APIRouter(prefix="/audit", tags=["audit"], route_class=GuardedRoute)

Resource = Annotated[str | None, Query(max_length=64, description="Only what was done to this id.")]


class TreeHeadView(BaseModel):
    """The log's size and the root of the tree over it (RFC 6962)."""

    size: int
    root: str


class LogView(BaseModel):
    """Entries, newest first, with their positions in the log."""

    items: Sequence[LoggedEntry]
    cursor: str | None
    head: TreeHeadView


@router.get("", **requires(Permission.AUDIT_READ))
async def read_log(
    services: ServicesDep,
    principal: PrincipalDep,
    limit: Limit = 50,
    cursor: Cursor = None,
    resource: Resource = None,
) -> LogView:
    """Who did what. Reading the log is an entry as well."""
    page = await services.audit_log.entries(
        principal, resource=resource, limit=limit, cursor=cursor
    )
    return LogView(
        items=page.items,
        cursor=page.cursor,
        head=TreeHeadView(size=page.head.size, root=page.head.root),
    )
