"""What others state about the audit log of the caller's tenant: cosigned checkpoints, time stamps."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response

from functions.api.bodies import binary
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.guard import GuardedRoute, requires
from functions.api.log_reading import ALWAYS_ASK, Log, begin_reading, text_response
from shared.access.permissions import Permission
from shared.crypto.timestamps import REPLY_TYPE

router = APIRouter(prefix="/log/{tenant}", route_class=GuardedRoute)


@router.get(
    "/witnessed",
    summary="Get the newest cosigned checkpoint",
    response_class=PlainTextResponse,
)
@requires(Permission.AUDIT_READ)
async def get_witnessed_checkpoint(
    services: ServicesDep, principal: PrincipalDep, tenant: Log
) -> Response:
    """Get the newest checkpoint that a quorum of the operator's witnesses has cosigned, with cosignatures.

    The log has usually grown since: `checkpoint` is the newest of all.
    """
    await begin_reading(services, principal, tenant, "witnessed")
    return text_response(await services.attestations.witnessed(tenant), ALWAYS_ASK)


@router.get(
    "/timestamp",
    summary="Get the newest time stamp",
    response_class=Response,
    responses={200: binary(REPLY_TYPE)},
)
@requires(Permission.AUDIT_READ)
async def get_timestamp(services: ServicesDep, principal: PrincipalDep, tenant: Log) -> Response:
    """Get the time stamp (RFC 3161, TimeStampResp) of the checkpoint at `timestamp/checkpoint`."""
    await begin_reading(services, principal, tenant, "timestamp")
    stamped = await services.attestations.stamped(tenant)
    return Response(stamped.reply, media_type=REPLY_TYPE, headers={"Cache-Control": ALWAYS_ASK})


@router.get(
    "/timestamp/checkpoint",
    summary="Get the checkpoint that the newest time stamp is of",
    response_class=PlainTextResponse,
)
@requires(Permission.AUDIT_READ)
async def get_stamped_checkpoint(
    services: ServicesDep, principal: PrincipalDep, tenant: Log
) -> Response:
    """Get the checkpoint whose bytes the time stamp at `timestamp` is of."""
    await begin_reading(services, principal, tenant, "timestamp")
    stamped = await services.attestations.stamped(tenant)
    return text_response(stamped.note.encode(), ALWAYS_ASK)
