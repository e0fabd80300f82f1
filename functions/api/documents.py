"""Documents: direct upload, list, description, content, versions, deletion, recovery, hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from functions.api.bodies import (
    DECIMAL,
    TRUE_OR_FALSE,
    Cursor,
    Limit,
    PageView,
    binary,
    body_stream,
    id_path,
)
from functions.api.conditional import evaluate
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.digests import Digests
from functions.api.document_views import DeletionView, DocumentView
from functions.api.guard import GuardedRoute, requires
from functions.api.request_headers import (
    ConditionsDep,
    DescriptionDep,
    DigestsDep,
    IfMatchDep,
    PrecedingEtagDep,
    idempotency_key_for,
)
from functions.api.response_headers import (
    digest_header,
    disposition_header,
    etag_header,
    response_headers,
)
from shared.access.permissions import Permission
from shared.base.buffers import Buffer
from shared.base.errors import PreconditionFailed, RangeNotSatisfiable
from shared.documents.sealing import checked_content
from shared.journal.idempotency import IdempotencyKey
from shared.wiring.services import Services

router = APIRouter(prefix="/documents", tags=["documents"], route_class=GuardedRoute)

DocumentId = Annotated[str, id_path("doc")]
Number = Annotated[
    int | None,
    DECIMAL,
    Query(
        ge=1, alias="version", description="The number of a version; by default the current one."
    ),
]
State = Annotated[
    Literal["live", "trash"],
    Query(description="`trash`: those that were deleted; it needs the permission to delete."),
]
Erase = Annotated[
    bool,
    TRUE_OR_FALSE,
    Query(
        description="Erase it now, also from the trash; it needs the permission `documents.erase`."
    ),
]
KeyDep = Annotated[IdempotencyKey | None, Depends(idempotency_key_for("documents"))]

_BINARY: Final = binary("application/octet-stream")
_CONTENT_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The content. Its `Content-Type` is kept as the document's media type.",
        **_BINARY,
    }
}
_CONTENT_HEADERS: Final = ("Accept-Ranges", "Content-Disposition", "ETag", "Repr-Digest")
_CONTENT_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: _BINARY | response_headers(*_CONTENT_HEADERS),
    304: {"description": "Not modified"} | response_headers(*_CONTENT_HEADERS),
}
_RANGE_RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
    206: _BINARY | response_headers(*_CONTENT_HEADERS, "Content-Range")
}


@router.post(
    "",
    status_code=201,
    summary="Upload a document",
    responses={201: response_headers("ETag", "Location")},
    openapi_extra=_CONTENT_BODY,
)
@requires(Permission.DOCUMENTS_WRITE)
async def upload_document(
    request: Request,
    response: Response,
    services: ServicesDep,
    principal: PrincipalDep,
    description: DescriptionDep,
    digests: DigestsDep,
    key: KeyDep,
) -> DocumentView:
    """Send the content as the body. 201 means that it is encrypted and durably stored."""
    created = await services.documents.create(
        principal,
        description,
        _content(request, services, digests),
        digests.get("sha256"),
        key,
    )
    response.headers["Location"] = (
        f"{services.settings.public_base_url}/api/v1/documents/{created.document.id}"
    )
    response.headers["ETag"] = etag_header(created.etag)
    return DocumentView.of(created)


@router.get("", summary="List documents")
@requires(Permission.DOCUMENTS_READ)
async def list_documents(
    services: ServicesDep,
    principal: PrincipalDep,
    state: State = "live",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[DocumentView]:
    """List the documents of your tenant, newest first, each in its current version."""
    page = await services.reader.page(
        principal, limit=limit, cursor=cursor, trashed=state == "trash"
    )
    return PageView.of(page, DocumentView.of)


@router.get("/{document}", summary="Get a document's description")
@requires(Permission.DOCUMENTS_READ)
async def get_document(
    document: DocumentId, services: ServicesDep, principal: PrincipalDep, number: Number = None
) -> DocumentView:
    """Get the name, media type, size, digest and metadata of a version, without its content."""
    found = await services.reader.find(principal, document, number)
    await services.reader.record_read(principal, found)
    return DocumentView.of(found)


@router.get("/{document}/versions", summary="List a document's versions")
@requires(Permission.DOCUMENTS_READ)
async def list_document_versions(
    document: DocumentId, services: ServicesDep, principal: PrincipalDep
) -> PageView[DocumentView]:
    """List every version of a document, the latest first."""
    return PageView.of(await services.reader.versions(principal, document), DocumentView.of)


@router.put(
    "/{document}/content",
    summary="Upload a new version of a document",
    responses={200: response_headers("ETag")},
    openapi_extra=_CONTENT_BODY,
)
@requires(Permission.DOCUMENTS_WRITE)
async def upload_document_version(
    document: DocumentId,
    request: Request,
    response: Response,
    services: ServicesDep,
    principal: PrincipalDep,
    preceding: PrecedingEtagDep,
    description: DescriptionDep,
    digests: DigestsDep,
) -> DocumentView:
    """Send the content as the body. Earlier versions stay and can be read by their numbers."""
    created = await services.documents.update(
        principal,
        document,
        preceding,
        description,
        _content(request, services, digests),
        digests.get("sha256"),
    )
    response.headers["ETag"] = etag_header(created.etag)
    return DocumentView.of(created)


# Two routes, because each operation of the OpenAPI document needs an id of its own.
@router.get(
    "/{document}/content",
    summary="Download a document's content",
    response_class=StreamingResponse,
    responses=_CONTENT_RESPONSES | _RANGE_RESPONSE,
)
@router.head(
    "/{document}/content",
    name="get_document_content_headers",
    summary="Get the headers of a document's content",
    response_class=StreamingResponse,
    responses=_CONTENT_RESPONSES,
)
@requires(Permission.DOCUMENTS_READ)
async def download_document_content(
    document: DocumentId,
    request: Request,
    services: ServicesDep,
    principal: PrincipalDep,
    conditions: ConditionsDep,
    number: Number = None,
) -> Response:
    """Download the content of a version, or one range of it.

    Each read is in the audit log before the first byte is sent.
    """
    found = await services.reader.find(principal, document, number)
    size = found.version.size
    headers = {
        "ETag": etag_header(found.etag),
        "Accept-Ranges": "bytes",
        "Repr-Digest": digest_header(found.names.sha256),
        "Content-Disposition": disposition_header(found.names.name),
        "Content-Type": found.names.media_type,
    }
    outcome = evaluate(request.method, conditions, found.etag, size)
    match outcome.status:
        case 412:
            raise PreconditionFailed("The document has another version now; read it first.")
        case 416:
            raise RangeNotSatisfiable(f"The content has {size} bytes.", size)
        case 304:
            await services.reader.record_read(principal, found)
            return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(outcome.end - outcome.start)
    if request.method == "HEAD":
        await services.reader.record_read(principal, found)
        return Response(headers=headers)
    if outcome.status == 206:
        headers["Content-Range"] = f"bytes {outcome.start}-{outcome.end - 1}/{size}"
    stream = await services.reader.open(principal, found, outcome.start, outcome.end)
    return StreamingResponse(stream, outcome.status, headers)


@router.delete("/{document}", summary="Delete a document")
@requires(Permission.DOCUMENTS_DELETE)
async def delete_document(
    document: DocumentId,
    services: ServicesDep,
    principal: PrincipalDep,
    if_match: IfMatchDep,
    erase: Erase = False,
) -> DeletionView:
    """Move a document with all of its versions to the trash, for as long as your policy says.

    With `erase`, or where the policy has no trash, the keys of its content are destroyed at once instead,
    in every copy. `outcome` says which of the two happened.
    """
    deletion = await services.trash.delete(principal, document, if_match, erase=erase)
    return DeletionView.of(deletion)


@router.post(
    "/{document}/recover",
    summary="Recover a document from the trash",
    responses={200: response_headers("ETag")},
)
@requires(Permission.DOCUMENTS_DELETE)
async def recover_document(
    document: DocumentId, services: ServicesDep, principal: PrincipalDep, response: Response
) -> DocumentView:
    """Take a document with all of its versions out of the trash. Recovering it twice is no error."""
    await services.trash.recover(principal, document)
    found = await services.reader.find(principal, document)
    response.headers["ETag"] = etag_header(found.etag)
    return DocumentView.of(found)


@router.put("/{document}/hold", status_code=204, summary="Hold a document")
@requires(Permission.HOLDS_MANAGE)
async def hold_document(
    document: DocumentId, services: ServicesDep, principal: PrincipalDep
) -> None:
    """Put a legal hold on a document, in the trash or not: it can be neither deleted nor erased."""
    await services.trash.hold(principal, document)


@router.delete("/{document}/hold", status_code=204, summary="Release a document")
@requires(Permission.HOLDS_MANAGE)
async def release_document(
    document: DocumentId, services: ServicesDep, principal: PrincipalDep
) -> None:
    """End the legal hold on a document. A hold on your whole tenant stays: see the policy."""
    await services.trash.release(principal, document)


def _content(request: Request, services: Services, digests: Digests) -> AsyncIterator[Buffer]:
    """Return the body as it arrives, within its limit; but for SHA-256, its digests are checked here."""
    content = body_stream(request, services.settings.max_direct_upload_bytes)
    others = {name: digest for name, digest in digests.items() if name != "sha256"}
    return checked_content(content, others) if others else content
