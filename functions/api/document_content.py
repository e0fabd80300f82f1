"""The content of documents over HTTP: how it arrives, and how it is sent, whole or in part."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from functions.api.bodies import binary, body_stream
from functions.api.conditional import Conditions, evaluate
from functions.api.digests import Digests
from functions.api.document_views import DocumentView
from functions.api.response_headers import (
    digest_header,
    disposition_header,
    etag_header,
    response_headers,
)
from shared.access.principal import Principal
from shared.base.buffers import Buffer
from shared.base.errors import PreconditionFailed, RangeNotSatisfiable
from shared.documents.models import Description
from shared.documents.reading import DocumentReader, DocumentVersion
from shared.documents.sealing import checked_content
from shared.wiring.services import Services

_BINARY: Final = binary("application/octet-stream")
_HEADERS: Final = ("Accept-Ranges", "Content-Disposition", "ETag", "Repr-Digest")

CONTENT_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The content. Its `Content-Type` is kept as the document's media type.",
        **_BINARY,
    }
}
CONTENT_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: _BINARY | response_headers(*_HEADERS),
    304: {"description": "Not modified"} | response_headers(*_HEADERS),
}
RANGE_RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
    206: _BINARY | response_headers(*_HEADERS, "Content-Range")
}


def arriving_content(
    request: Request, services: Services, digests: Digests
) -> AsyncIterator[Buffer]:
    """Return the body as it arrives, within its limit; but for SHA-256, its digests are checked here."""
    content = body_stream(request, services.settings.max_direct_upload_bytes)
    others = {name: digest for name, digest in digests.items() if name != "sha256"}
    return checked_content(content, others) if others else content


async def content_response(
    method: str,
    conditions: Conditions,
    reader: DocumentReader,
    principal: Principal,
    found: DocumentVersion,
    sent: Callable[[AsyncIterator[memoryview]], AsyncIterator[memoryview]] = lambda stream: stream,
) -> Response:
    """The response with the content of a version, or one range of it, or none where it is not asked for.

    What is sent, headers alone or content, is in the audit log before.

    Args:
        method: GET or HEAD.
        conditions: Of the request.
        reader: Reads it.
        principal: For whom.
        found: The version.
        sent: What of the content's stream is sent.

    Raises:
        PreconditionFailed: The document has another version by now.
        RangeNotSatisfiable: The content has no such range.
        StrongroomError: As for ``DocumentReader.open``.
    """
    size = found.version.size
    headers = {
        "ETag": etag_header(found.etag),
        "Accept-Ranges": "bytes",
        "Repr-Digest": digest_header(found.names.sha256),
        "Content-Disposition": disposition_header(found.names.name),
        "Content-Type": found.names.media_type,
    }
    outcome = evaluate(method, conditions, found.etag, size)
    match outcome.status:
        case 412:
            raise PreconditionFailed("The document has another version now; read it first.")
        case 416:
            raise RangeNotSatisfiable(f"The content has {size} bytes.", size)
        case 304:
            await reader.record_read(principal, found)
            return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(outcome.end - outcome.start)
    if method == "HEAD":
        await reader.record_read(principal, found)
        return Response(headers=headers)
    if outcome.status == 206:
        headers["Content-Range"] = f"bytes {outcome.start}-{outcome.end - 1}/{size}"
    stream = await reader.open(principal, found, outcome.start, outcome.end)
    return StreamingResponse(sent(stream), outcome.status, headers)


async def new_version(
    request: Request,
    response: Response,
    services: Services,
    principal: Principal,
    document: str,
    preceding: str,
    description: Description,
    digests: Digests,
) -> DocumentView:
    """Take the body as a document's new version.

    Args:
        request: Its body is the content.
        response: Gets the version's entity tag.
        services: The services.
        principal: Whose document it is, and who sends it.
        document: The id.
        preceding: The entity tag of the version before it.
        description: Of the version.
        digests: That the content must have.

    Raises:
        StrongroomError: As for ``Documents.update``.
    """
    content = arriving_content(request, services, digests)
    created = await services.documents.update(
        principal, document, preceding, description, content, digests.get("sha256")
    )
    response.headers["ETag"] = etag_header(created.etag)
    return DocumentView.of(created)
