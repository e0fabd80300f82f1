"""Documents: direct upload, list, metadata, content, versions, delete."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from functions.api.bodies import Cursor, Limit, PageView, id_path
from functions.api.guard import GuardedRoute, PrincipalDep, ServicesDep, body_stream, requires
from functions.api.headers import (
    NEEDED,
    TAG_FORM,
    IdempotencyHeader,
    IfMatch,
    ReprDigest,
    byte_range,
    describe,
    digest_header,
    disposition_header,
    entity_tag,
    idempotency_key,
    matches,
    repr_digest,
    response_headers,
)
from shared.access.permissions import Permission
from shared.base.errors import InvalidInput, PreconditionFailed
from shared.documents.reading import DocumentVersion

router = APIRouter(prefix="/documents", tags=["documents"], route_class=GuardedRoute)

DocumentId = Annotated[str, id_path("doc")]
Disposition = Annotated[
    str | None,
    Header(
        alias="Content-Disposition",
        # The longest name percent-encoded is well below; the parser's time grows with the square.
        max_length=8_192,
        description='`attachment; filename="NAME"` (RFC 6266).',
        json_schema_extra={NEEDED: True},
    ),
]
Follows = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The etag of the version that this one follows.",
        json_schema_extra=TAG_FORM | {NEEDED: True},
    ),
]
# OpenAPI ignores a parameter of this name; the body's description says what it does.
MediaType = Annotated[str | None, Header(alias="Content-Type", include_in_schema=False)]
Metadata = Annotated[
    str | None,
    Header(alias="Strongroom-Metadata", description="A JSON object of strings."),
]
Number = Annotated[int | None, Query(ge=1, alias="version", description="Default: the current.")]

CONTENT_BODY = {
    "requestBody": {
        "required": True,
        "description": "The content. Its `Content-Type` is kept as the document's media type.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
CONTENT_HEADERS = ("Accept-Ranges", "Content-Disposition", "ETag", "Repr-Digest")
CONTENT_ANSWER = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
}
CONTENT_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: CONTENT_ANSWER | response_headers(*CONTENT_HEADERS),
    304: {"description": "Not modified"} | response_headers(*CONTENT_HEADERS),
}
RANGE_ANSWER: dict[int | str, dict[str, Any]] = {
    206: CONTENT_ANSWER | response_headers(*CONTENT_HEADERS, "Content-Range")
}
READ_CONTENT: dict[str, Any] = {
    "response_class": StreamingResponse,
    **requires(Permission.DOCUMENTS_READ),
}


class DocumentView(BaseModel):
    """A version of a document.

    ``etag`` is for ``If-Match``; ``replicated`` says whether a verified copy lies in the second region.
    """

    id: str
    version: int
    name: str
    media_type: str
    metadata: dict[str, str]
    size: int
    repr_digest: str
    etag: str
    created_at: datetime
    created_by: str
    replicated: bool

    @classmethod
    def of(cls, opened: DocumentVersion) -> DocumentView:
        """The view of a document."""
        return cls(
            id=opened.document.id,
            version=opened.version.number,
            name=opened.names.name,
            media_type=opened.names.media_type,
            metadata=opened.names.metadata,
            size=opened.version.size,
            repr_digest=digest_header(opened.names.sha256),
            etag=f'"{opened.etag}"',
            created_at=opened.version.created_at,
            created_by=opened.version.created_by,
            replicated=opened.version.replica is not None,
        )


def _content_route(permission: Permission) -> dict[str, Any]:
    route = requires(permission)
    return {"openapi_extra": route["openapi_extra"] | CONTENT_BODY}


@router.post(
    "",
    status_code=201,
    responses={201: response_headers("ETag", "Location")},
    **_content_route(Permission.DOCUMENTS_WRITE),
)
async def create_document(
    request: Request,
    response: Response,
    services: ServicesDep,
    principal: PrincipalDep,
    disposition: Disposition = None,
    media_type: MediaType = None,
    metadata: Metadata = None,
    digest: ReprDigest = None,
    idempotency: IdempotencyHeader = None,
) -> DocumentView:
    """Upload a content as a new document. 201 means that it is sealed and durable."""
    opened = await services.documents.create(
        principal,
        describe(disposition, media_type, metadata),
        body_stream(request, services.settings.max_direct_upload_bytes),
        repr_digest(digest),
        idempotency_key(idempotency, principal, "documents"),
    )
    response.headers["Location"] = (
        f"{services.settings.public_base_url}/api/v1/documents/{opened.document.id}"
    )
    response.headers["ETag"] = f'"{opened.etag}"'
    return DocumentView.of(opened)


@router.get("", **requires(Permission.DOCUMENTS_READ))
async def list_documents(
    services: ServicesDep, principal: PrincipalDep, limit: Limit = 50, cursor: Cursor = None
) -> PageView[DocumentView]:
    """The tenant's documents, newest first."""
    page = await services.reader.page(principal, limit=limit, cursor=cursor)
    return PageView(items=[DocumentView.of(found) for found in page.items], cursor=page.cursor)


@router.get("/{document}", **requires(Permission.DOCUMENTS_READ))
async def read_document(
    document: DocumentId,
    services: ServicesDep,
    principal: PrincipalDep,
    number: Number = None,
) -> DocumentView:
    """What is known about a document."""
    opened = await services.reader.find(principal, document, number)
    await services.reader.record_read(principal, opened)
    return DocumentView.of(opened)


@router.get("/{document}/versions", **requires(Permission.DOCUMENTS_READ))
async def list_versions(
    document: DocumentId, services: ServicesDep, principal: PrincipalDep
) -> PageView[DocumentView]:
    """Every version of a document, the latest first."""
    versions = await services.reader.versions(principal, document)
    return PageView(items=[DocumentView.of(opened) for opened in versions], cursor=None)


@router.put(
    "/{document}/content",
    responses={200: response_headers("ETag")},
    **_content_route(Permission.DOCUMENTS_WRITE),
)
async def update_document(
    document: DocumentId,
    request: Request,
    response: Response,
    services: ServicesDep,
    principal: PrincipalDep,
    if_match: Follows = None,
    disposition: Disposition = None,
    media_type: MediaType = None,
    metadata: Metadata = None,
    digest: ReprDigest = None,
) -> DocumentView:
    """Upload a content as a new version of a document."""
    tag = entity_tag(if_match)
    if tag is None:
        raise InvalidInput("Send If-Match with the etag of the version that this one follows.")
    opened = await services.documents.update(
        principal,
        document,
        tag,
        describe(disposition, media_type, metadata),
        body_stream(request, services.settings.max_direct_upload_bytes),
        repr_digest(digest),
    )
    response.headers["ETag"] = f'"{opened.etag}"'
    return DocumentView.of(opened)


# Two routes, because each operation of the OpenAPI document needs an id of its own.
@router.get("/{document}/content", responses=CONTENT_ANSWERS | RANGE_ANSWER, **READ_CONTENT)
@router.head("/{document}/content", responses=CONTENT_ANSWERS, **READ_CONTENT)
async def read_content(
    document: DocumentId,
    request: Request,
    services: ServicesDep,
    principal: PrincipalDep,
    number: Number = None,
    wanted: Annotated[
        str | None, Header(alias="Range", description="`bytes=FIRST-LAST`; for GET alone.")
    ] = None,
    if_range: Annotated[str | None, Header(alias="If-Range")] = None,
    if_match: Annotated[str | None, Header(alias="If-Match")] = None,
    if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> Response:
    """The content, or one range of it. It is in the audit log before its first byte leaves."""
    opened = await services.reader.find(principal, document, number)
    size = opened.version.size
    headers = {
        "ETag": f'"{opened.etag}"',
        "Accept-Ranges": "bytes",
        "Repr-Digest": digest_header(opened.names.sha256),
        "Content-Disposition": disposition_header(opened.names.name),
        "Content-Type": opened.names.media_type,
    }
    if if_match is not None and not matches(if_match, opened.etag, weak=False):
        raise PreconditionFailed("The document has another version now; read it first.")
    if if_match is None and matches(if_none_match, opened.etag, weak=True):
        await services.reader.record_read(principal, opened)
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":  # RFC 9110 section 14.2: ranges are for GET
        await services.reader.record_read(principal, opened)
        return Response(headers=headers | {"Content-Length": str(size)})
    if if_range is not None and if_range.strip() != headers["ETag"]:
        wanted = None  # RFC 9110 section 13.1.5: a strong comparison
    found = byte_range(wanted, size)
    start, end = found or (0, size)
    headers["Content-Length"] = str(end - start)
    if found is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    status = 200 if found is None else 206
    stream = await services.reader.open(principal, opened, start, end)
    return StreamingResponse(stream, status, headers)


@router.delete("/{document}", status_code=204, **requires(Permission.DOCUMENTS_DELETE))
async def delete_document(
    document: DocumentId,
    services: ServicesDep,
    principal: PrincipalDep,
    if_match: IfMatch = None,
) -> None:
    """Delete a document with all of its versions. Their keys are destroyed at once, in every copy."""
    await services.documents.delete(principal, document, entity_tag(if_match))
