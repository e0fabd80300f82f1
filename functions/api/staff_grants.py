"""Staff grants, for the operator's employees: ask, decide, give back, and see what a grant covers."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from functions.api.bodies import Cursor, Limit, PageView, id_pattern
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.document_content import (
    CONTENT_BODY,
    CONTENT_RESPONSES,
    RANGE_RESPONSE,
    content_response,
    new_version,
)
from functions.api.document_views import DeletionView, DocumentView
from functions.api.documents import DocumentId, Number
from functions.api.grant_views import CaseBody, GrantRequest, GrantView, Narrowing
from functions.api.grants import GrantId
from functions.api.guard import requires
from functions.api.request_headers import (
    ConditionsDep,
    DescriptionDep,
    DigestsDep,
    IfMatchDep,
    PrecedingEtagDep,
    idempotency_key_for,
)
from functions.api.response_headers import response_headers
from functions.api.routing import guarded_router
from shared.access.permissions import Permission
from shared.grants.models import Depth, Operation
from shared.journal.idempotency import IdempotencyKey

router = guarded_router("/staff-grants", "staff grants")

KeyDep = Annotated[IdempotencyKey | None, idempotency_key_for("staff-grants")]
OfTenant = Annotated[
    Annotated[str, id_pattern("ten")] | None,
    Query(description="Those for one tenant's data alone."),
]


class ClosedCaseView(BaseModel):
    """How many grants and requests ended with a case."""

    ended: int


@router.post("", status_code=201, summary="Ask for a grant")
@requires(Permission.GRANTS_REQUEST)
async def request_grant(
    body: GrantRequest, services: ServicesDep, principal: PrincipalDep, key: KeyDep
) -> GrantView:
    """Ask for a grant for one tenant's data and one support case, or break the glass."""
    return GrantView.of(await services.grants.grants.request(principal, body.new(), key))


@router.get("", summary="List grants")
@requires(Permission.GRANTS_READ)
async def list_all_grants(
    services: ServicesDep,
    principal: PrincipalDep,
    tenant: OfTenant = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[GrantView]:
    """List the grants and requests of all employees, newest first."""
    page = await services.grants.grants.page(
        principal, limit=limit, cursor=cursor, tenant=tenant or ""
    )
    return PageView.of(page, GrantView.of)


@router.post("/closed-cases", summary="Close a support case")
@requires(Permission.GRANTS_REQUEST)
async def close_case(
    body: CaseBody, services: ServicesDep, principal: PrincipalDep
) -> ClosedCaseView:
    """End every grant and request of a case. Those of others need the permission `grants.revoke`."""
    return ClosedCaseView(
        ended=await services.grants.decisions.close_case(principal, body.system, body.id)
    )


@router.get("/{grant}", summary="Get a grant")
@requires(Permission.GRANTS_READ)
async def get_any_grant(
    grant: GrantId, services: ServicesDep, principal: PrincipalDep
) -> GrantView:
    """Get a grant or request."""
    return GrantView.of(await services.grants.grants.read(principal, grant))


@router.post("/{grant}/approve", summary="Approve a grant")
@requires(Permission.GRANTS_APPROVE)
async def approve_grant(
    grant: GrantId, services: ServicesDep, principal: PrincipalDep
) -> GrantView:
    """Approve a request of another employee. It takes a sign-in within the last 10 minutes."""
    return GrantView.of(await services.grants.decisions.approve(principal, grant))


@router.post("/{grant}/decline", summary="Decline a grant")
@requires(Permission.GRANTS_APPROVE)
async def decline_grant(
    grant: GrantId, services: ServicesDep, principal: PrincipalDep
) -> GrantView:
    """Turn a request of another employee down."""
    return GrantView.of(await services.grants.decisions.decline(principal, grant))


@router.patch("/{grant}", summary="Narrow a grant")
@requires(Permission.GRANTS_READ)
async def narrow_grant(
    grant: GrantId, body: Narrowing, services: ServicesDep, principal: PrincipalDep
) -> GrantView:
    """Let a grant of yours allow less from now on; those of others need `grants.revoke`."""
    narrowed = await services.grants.decisions.narrow(
        principal,
        grant,
        depth=body.depth,
        documents=body.documents,
        operations=body.operations,
        seconds=body.seconds,
    )
    return GrantView.of(narrowed)


@router.delete("/{grant}", summary="Give a grant back, or revoke it")
@requires(Permission.GRANTS_READ)
async def end_grant(grant: GrantId, services: ServicesDep, principal: PrincipalDep) -> GrantView:
    """End a grant of yours at once; those of others need `grants.revoke`."""
    return GrantView.of(await services.grants.decisions.end(principal, grant))


@router.get("/{grant}/documents", summary="List the documents that a grant covers")
@requires(Permission.GRANTS_REQUEST)
async def list_granted_documents(
    grant: GrantId,
    services: ServicesDep,
    principal: PrincipalDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[DocumentView]:
    """List what your grant covers, newest first. A page may be shorter, or empty, where there are more."""
    page = await services.grants.reader.page(principal, grant, limit=limit, cursor=cursor)
    return PageView.of(page, DocumentView.of)


@router.get("/{grant}/documents/{document}", summary="Get a granted document's description")
@requires(Permission.GRANTS_REQUEST)
async def get_granted_document(
    grant: GrantId,
    document: DocumentId,
    services: ServicesDep,
    principal: PrincipalDep,
    number: Number = None,
) -> DocumentView:
    """Get the name, media type, size, digest and metadata of a version, without its content."""
    entered, found = await services.grants.reader.find(principal, grant, document, number)
    await services.reader.record_read(entered.principal, found)
    return DocumentView.of(found)


@router.get("/{grant}/documents/{document}/versions", summary="List a granted document's versions")
@requires(Permission.GRANTS_REQUEST)
async def list_granted_document_versions(
    grant: GrantId, document: DocumentId, services: ServicesDep, principal: PrincipalDep
) -> PageView[DocumentView]:
    """List every version of a document that your grant covers, the latest first."""
    page = await services.grants.reader.versions(principal, grant, document)
    return PageView.of(page, DocumentView.of)


# Two routes, because each operation of the OpenAPI document needs an id of its own.
@router.get(
    "/{grant}/documents/{document}/content",
    summary="Download a granted document's content",
    response_class=StreamingResponse,
    responses=CONTENT_RESPONSES | RANGE_RESPONSE,
)
@router.head(
    "/{grant}/documents/{document}/content",
    name="get_granted_document_content_headers",
    summary="Get the headers of a granted document's content",
    response_class=StreamingResponse,
    responses=CONTENT_RESPONSES,
)
@requires(Permission.GRANTS_REQUEST)
async def download_granted_document_content(
    grant: GrantId,
    document: DocumentId,
    request: Request,
    services: ServicesDep,
    principal: PrincipalDep,
    conditions: ConditionsDep,
    number: Number = None,
) -> Response:
    """Download the content of a version, or one range of it. It stops soon after the grant has ended."""
    entered, found = await services.grants.reader.find(
        principal, grant, document, number, depth=Depth.CONTENT
    )
    watched = services.grants.access.watched
    return await content_response(
        request.method,
        conditions,
        services.reader,
        entered.principal,
        found,
        lambda stream: watched(stream, entered.principal),
    )


@router.put(
    "/{grant}/documents/{document}/content",
    summary="Upload a new version of a granted document",
    responses={200: response_headers("ETag")},
    openapi_extra=CONTENT_BODY,
)
@requires(Permission.GRANTS_REQUEST)
async def upload_granted_document_version(
    grant: GrantId,
    document: DocumentId,
    request: Request,
    response: Response,
    services: ServicesDep,
    principal: PrincipalDep,
    preceding: PrecedingEtagDep,
    description: DescriptionDep,
    digests: DigestsDep,
) -> DocumentView:
    """Replace the content of a document, under a grant that allows to write."""
    entered, _ = await services.grants.reader.find(
        principal, grant, document, operation=Operation.WRITE, depth=Depth.CONTENT
    )
    return await new_version(
        request, response, services, entered.principal, document, preceding, description, digests
    )


@router.delete("/{grant}/documents/{document}", summary="Delete a granted document")
@requires(Permission.GRANTS_REQUEST)
async def delete_granted_document(
    grant: GrantId,
    document: DocumentId,
    services: ServicesDep,
    principal: PrincipalDep,
    if_match: IfMatchDep,
) -> DeletionView:
    """Delete a document as its tenant's policy says, under a grant that allows to delete."""
    entered, _ = await services.grants.reader.find(
        principal, grant, document, operation=Operation.DELETE
    )
    deletion = await services.trash.delete(entered.principal, document, if_match, erase=False)
    return DeletionView.of(deletion)
