"""Headers of responses: how they are written, and how the OpenAPI document describes them."""

from __future__ import annotations

import base64
import re
from typing import Any, Final
from urllib.parse import quote

_DESCRIPTIONS: Final = {
    "Accept-Encoding": "`identity`: the content codings that bodies may have; with 415.",
    "Accept-Ranges": "`bytes`.",
    "Content-Disposition": "`attachment` with the document's name (RFC 6266).",
    "Content-Range": "The range and the size of the whole content; with 206 and 416.",
    "ETag": "For `If-Match`, `If-None-Match` and `If-Range`.",
    "Location": "The URL of the new resource.",
    "Repr-Digest": "`sha-256=:BASE64:` of the whole content (RFC 9530).",
    "Retry-After": "Seconds; with 429 and 503.",
    "WWW-Authenticate": "`Bearer`; with 401.",
    "Want-Repr-Digest": "The digests that are checked (RFC 9530); with 400 for any other.",
}

_NOT_PLAIN: Final = re.compile(r'[^\x20-\x7e]|["%\\]')


def response_headers(*names: str, always: bool = True) -> dict[str, Any]:
    """Return what the OpenAPI document says of a response that has these headers, always or at times."""
    return {
        "headers": {
            name: {
                "description": _DESCRIPTIONS[name],
                "required": always,
                "schema": {"type": "string"},
            }
            for name in names
        }
    }


def etag_header(etag: str) -> str:
    """Return an entity tag as ``ETag``: strong, in quotes."""
    return f'"{etag}"'


def digest_header(sha256: bytes) -> str:
    """Return a SHA-256 as ``Repr-Digest`` (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(sha256).decode('ascii')}:"


def disposition_header(name: str) -> str:
    """Return the ``Content-Disposition`` that saves under a name (RFC 6266, RFC 8187).

    The plain ``filename`` is for programs that do not know ``filename*``, such as curl.
    """
    plain = _NOT_PLAIN.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
