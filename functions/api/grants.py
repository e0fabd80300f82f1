"""Staff grants, for the tenant whose data they are about: see them, consent to them, end them."""

from __future__ import annotations

from typing import Annotated

from fastapi.responses import StreamingResponse

from functions.api.audit import NDJSON, Moment
from functions.api.bodies import Cursor, Limit, PageView, binary, id_path
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.grant_views import GrantView
from functions.api.guard import requires
from functions.api.routing import guarded_router
from shared.access.permissions import Permission
from shared.audit.periods import Period

router = guarded_router("/grants", "grants")

GrantId = Annotated[str, id_path("grt")]


@router.get("", summary="List staff grants for your data")
@requires(Permission.GRANTS_CONSENT)
async def list_grants(
    services: ServicesDep, principal: PrincipalDep, limit: Limit = 50, cursor: Cursor = None
) -> PageView[GrantView]:
    """List every grant and request for data of your tenant, newest first: who, why, what, until when."""
    page = await services.grants.grants.page(principal, limit=limit, cursor=cursor)
    return PageView.of(page, GrantView.of)


@router.get(
    "/report",
    summary="Get the report about staff grants for your data",
    response_class=StreamingResponse,
    responses={200: binary(NDJSON)},
)
@requires(Permission.GRANTS_CONSENT)
async def report_grants(
    services: ServicesDep, principal: PrincipalDep, since: Moment = None, before: Moment = None
) -> StreamingResponse:
    """Get the grants that were asked for in a period, each with the entries that name it.

    A line of JSON each; every entry comes with its proof, under the checkpoint of the first line.
    """
    lines = await services.grants.reports.report(principal, Period(since, before))
    return StreamingResponse(lines, media_type=NDJSON)


@router.get("/{grant}", summary="Get a staff grant for your data")
@requires(Permission.GRANTS_CONSENT)
async def get_grant(grant: GrantId, services: ServicesDep, principal: PrincipalDep) -> GrantView:
    """Get a grant. `GET /audit?grant=` has everything that was done under it."""
    return GrantView.of(await services.grants.grants.read(principal, grant))


@router.post("/{grant}/consent", summary="Consent to a staff grant")
@requires(Permission.GRANTS_CONSENT)
async def consent_to_grant(
    grant: GrantId, services: ServicesDep, principal: PrincipalDep
) -> GrantView:
    """Consent to a request. It takes a sign-in within the last 10 minutes."""
    return GrantView.of(await services.grants.decisions.consent(principal, grant))


@router.post("/{grant}/decline", summary="Refuse a staff grant")
@requires(Permission.GRANTS_CONSENT)
async def refuse_grant(grant: GrantId, services: ServicesDep, principal: PrincipalDep) -> GrantView:
    """Turn a request for your data down."""
    return GrantView.of(await services.grants.decisions.decline(principal, grant))


@router.delete("/{grant}", summary="Revoke a staff grant")
@requires(Permission.GRANTS_CONSENT)
async def revoke_grant(grant: GrantId, services: ServicesDep, principal: PrincipalDep) -> GrantView:
    """End a grant at once: the next request under it is refused, and what is being sent stops."""
    return GrantView.of(await services.grants.decisions.end(principal, grant))
