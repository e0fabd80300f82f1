"""The audit log of the caller's tenant: search it, read it as tiles, prove what is in it."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path, Query
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pydantic import AwareDatetime

from functions.api.audit_views import (
    ConsistencyView,
    FeedView,
    LogKeysView,
    LogView,
    TreeHeadView,
    VerifierKeyView,
)
from functions.api.bodies import Cursor, Limit, binary
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.guard import requires
from functions.api.log_reading import ALWAYS_ASK, Log, begin_reading, text_response
from functions.api.routing import guarded_router
from shared.access.permissions import Permission
from shared.audit.export import ExportForm
from shared.audit.periods import Period
from shared.crypto.notation import MAX_INTEGER
from shared.crypto.notes import SignatureType
from shared.crypto.timestamps import REPLY_TYPE
from shared.journal.entries import Action, Outcome

router = guarded_router("/audit", "audit")

FOREVER: Final = "private, max-age=31536000, immutable"
"""How long a client may keep a tile: it never changes."""

KINDS: Final = {
    SignatureType.ED25519: "ed25519",
    SignatureType.ML_DSA_44: "ml-dsa-44",
    SignatureType.ECDSA: "ecdsa-p256",
}

NDJSON: Final = "application/x-ndjson"

Form = Annotated[
    ExportForm,
    Query(
        alias="format",
        description="`ndjson`: entries as they are in the log; `ocsf`: as events of OCSF 1.3.",
    ),
]
Id = Annotated[str | None, Query(max_length=64)]
Moment = Annotated[AwareDatetime | None, Query()]
Kept = Annotated[
    int | None,
    Query(
        ge=0,
        le=MAX_INTEGER,
        description="The size of a checkpoint that you kept: also prove that the log only grew since.",
    ),
]
Position = Annotated[int, Query(ge=0, le=MAX_INTEGER)]


@router.get("", summary="List the audit log")
@requires(Permission.AUDIT_READ)
async def list_audit_log(
    services: ServicesDep,
    principal: PrincipalDep,
    limit: Limit = 50,
    cursor: Cursor = None,
    resource: Id = None,
    actor: Id = None,
    grant: Id = None,
    action: Action | None = None,
    outcome: Outcome | None = None,
    since: Moment = None,
    before: Moment = None,
) -> LogView:
    """List who did what in your tenant, newest first. Reading the log adds an entry to it.

    Give any of resource, actor, grant, action and outcome to see only entries that have exactly these, and
    a period from ``since`` on, before ``before``.
    """
    filters = {
        "resource": resource,
        "actor": actor,
        "grant": grant,
        "action": action,
        "outcome": outcome,
    }
    page = await services.audit.reader.entries(
        principal,
        where={name: str(value) for name, value in filters.items() if value},
        since=since,
        before=before,
        limit=limit,
        cursor=cursor,
    )
    return LogView(
        items=page.items,
        cursor=page.cursor,
        damaged=page.damaged,
        head=TreeHeadView(size=page.head.size, root=page.head.root),
    )


@router.get(
    "/export",
    summary="Export the audit log",
    response_class=StreamingResponse,
    responses={200: binary(NDJSON)},
)
@requires(Permission.AUDIT_READ)
async def export_audit_log(
    services: ServicesDep,
    principal: PrincipalDep,
    since: Moment = None,
    before: Moment = None,
    form: Form = "ndjson",
    kept: Kept = None,
) -> Response:
    """Export the entries of a period, or of all time, with the proof that they are in the log.

    `strongroom audit verify` checks the file without the service. The last line is the proof: without it,
    the file is not complete. Entries of the last minute, which no checkpoint covers yet, are not in it.
    """
    pieces = await services.audit.exports.export(principal, Period(since, before), form, kept)
    return StreamingResponse(pieces, media_type=NDJSON)


@router.get(
    "/evidence",
    summary="Collect evidence for an auditor",
    response_class=StreamingResponse,
    responses={200: binary(NDJSON)},
)
@requires(Permission.EVIDENCE_READ)
async def collect_evidence(
    services: ServicesDep, principal: PrincipalDep, since: Moment = None, before: Moment = None
) -> Response:
    """Collect the entries of a period that auditors ask for, each with its proof.

    They are about grants, reviews, drills, keys, configuration, alerts and refused sign-ins. The last line
    counts them: without it, the file is not complete.
    """
    lines = await services.audit.evidence.collect(principal, Period(since, before))
    return StreamingResponse(lines, media_type=NDJSON)


@router.get("/feed", summary="Follow the audit log")
@requires(Permission.AUDIT_READ)
async def follow_audit_log(
    services: ServicesDep, principal: PrincipalDep, limit: Limit = 50, cursor: Cursor = None
) -> FeedView:
    """List the entries after a cursor, or from the first one on, in the order of their positions.

    No entry is ever passed over. Where there is nothing new the page is empty: ask again in half a minute.
    Reading the feed adds one entry in ten minutes.
    """
    page = await services.audit.feed.page(principal, cursor, limit)
    return FeedView(items=page.items, cursor=page.cursor)


@router.get("/keys", summary="List the keys that sign checkpoints")
@requires(Permission.AUDIT_READ)
async def list_log_keys(services: ServicesDep, principal: PrincipalDep) -> LogKeysView:
    """List the keys that check the checkpoints of your log. Keep them where we cannot reach them."""
    keys = services.audit.keys
    await services.audit.reader.note_read(principal, "keys")
    origin = await keys.origin(principal.tenant)
    return LogKeysView(
        origin=origin,
        items=[
            VerifierKeyView(
                vkey=str(verifier),
                type=KINDS[verifier.type],
                since=key.created_at,
                until=key.until,
            )
            for key, verifiers in await keys.verifiers(origin)
            for verifier in verifiers
        ],
    )


@router.get(
    "/log/{tenant}/checkpoint",
    summary="Get the newest checkpoint",
    response_class=PlainTextResponse,
)
@requires(Permission.AUDIT_READ)
async def get_checkpoint(services: ServicesDep, principal: PrincipalDep, tenant: Log) -> Response:
    """Get the newest signed statement of the log's size and root (C2SP tlog-checkpoint)."""
    await begin_reading(services, principal, tenant, "checkpoint")
    newest = await services.audit.reader.checkpoint(tenant)
    return text_response(newest.note.encode(), ALWAYS_ASK)


@router.get(
    "/log/{tenant}/inclusion",
    summary="Prove that an entry is in the log",
    response_class=PlainTextResponse,
)
@requires(Permission.AUDIT_READ)
async def prove_inclusion(
    services: ServicesDep, principal: PrincipalDep, tenant: Log, position: Position
) -> Response:
    """Get the proof that the entry at a position is in the log, as a .tlog-proof file (C2SP tlog-proof)."""
    await begin_reading(services, principal, tenant, "inclusion")
    proof = await services.audit.reader.inclusion(tenant, position)
    return text_response(proof.encode(), ALWAYS_ASK)


@router.get("/log/{tenant}/consistency", summary="Prove that the log has only grown")
@requires(Permission.AUDIT_READ)
async def prove_consistency(
    services: ServicesDep, principal: PrincipalDep, tenant: Log, size: Position
) -> ConsistencyView:
    """Get the newest checkpoint and the proof that the log begins with what it held at an earlier size."""
    await begin_reading(services, principal, tenant, "consistency")
    newest, hashes = await services.audit.reader.consistency(tenant, size)
    return ConsistencyView(checkpoint=newest.note, hashes=[each.hex() for each in hashes])


@router.get(
    "/log/{tenant}/tile/{path:path}",
    summary="Get a tile or a bundle of entries",
    response_class=Response,
    responses={200: binary("application/octet-stream")},
)
@requires(Permission.AUDIT_READ)
async def get_tile(
    services: ServicesDep,
    principal: PrincipalDep,
    tenant: Log,
    path: Annotated[str, Path(max_length=64)],
) -> Response:
    """Get a tile of hashes or a bundle of entries (C2SP tlog-tiles). It never changes."""
    await begin_reading(services, principal, tenant, "tiles")
    content = await services.audit.reader.tile(tenant, f"tile/{path}")
    return Response(
        content, media_type="application/octet-stream", headers={"Cache-Control": FOREVER}
    )


@router.get(
    "/log/{tenant}/witnessed",
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
    "/log/{tenant}/timestamp",
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
    "/log/{tenant}/timestamp/checkpoint",
    summary="Get the checkpoint that the newest time stamp is of",
    response_class=PlainTextResponse,
)
@requires(Permission.AUDIT_READ)
async def get_stamped_checkpoint(
    services: ServicesDep, principal: PrincipalDep, tenant: Log
) -> Response:
    """Get the checkpoint whose bytes the time stamp at `timestamp` is of."""
    await begin_reading(services, principal, tenant, "timestamp-checkpoint")
    stamped = await services.attestations.stamped(tenant)
    return text_response(stamped.note.encode(), ALWAYS_ASK)
