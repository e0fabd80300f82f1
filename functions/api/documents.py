"""Documents: direct upload, list, description, content, versions, deletion, recovery, hold."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse

from functions.api.bodies import (
    DECIMAL,
    TRUE_OR_FALSE,
    Cursor,
    Limit,
    PageView,
    id_path,
)
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.document_content import (
    CONTENT_BODY,
    CONTENT_RESPONSES,
    RANGE_RESPONSE,
    arriving_content,
    content_response,
    new_version,
)
from functions.api.document_views import DeletionView, DocumentView
from functions.api.guard import requires
from functions.api.request_headers import (
    ConditionsDep,
    DescriptionDep,
    DigestsDep,
    IfMatchDep,
    PrecedingEtagDep,
    idempotency_key_for,
)
from functions.api.response_headers import (
    etag_header,
    response_headers,
)
from functions.api.routing import guarded_router
from shared.access.permissions import Permission
from shared.journal.idempotency import IdempotencyKey

router = guarded_router("/documents", "documents")

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
KeyDep = Annotated[IdempotencyKey | None, idempotency_key_for("documents")]


@router.post(
    "",
    status_code=201,
    summary="Upload a document",
    responses={201: response_headers("ETag", "Location")},
    openapi_extra=CONTENT_BODY,
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
        arriving_content(request, services, digests),
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
    openapi_extra=CONTENT_BODY,
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
    return await new_version(
        request, response, services, principal, document, preceding, description, digests
    )


# Two routes, because each operation of the OpenAPI document needs an id of its own.
@router.get(
    "/{document}/content",
    summary="Download a document's content",
    response_class=StreamingResponse,
    responses=CONTENT_RESPONSES | RANGE_RESPONSE,
)
@router.head(
    "/{document}/content",
    name="get_document_content_headers",
    summary="Get the headers of a document's content",
    response_class=StreamingResponse,
    responses=CONTENT_RESPONSES,
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
    return await content_response(request.method, conditions, services.reader, principal, found)


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
