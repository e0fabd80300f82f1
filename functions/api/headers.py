"""Headers that carry more than a word: parsed here, refused clearly, built and documented for answers."""

from __future__ import annotations

import base64
import binascii
import json
import re
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import Header
from pydantic import JsonValue, ValidationError

from shared.access.principal import Principal
from shared.base.errors import InvalidInput, RangeNotSatisfiable
from shared.documents.models import Description
from shared.journal.idempotency import KEY_LENGTH, IdempotencyKey

# What follows is for the OpenAPI document alone: the code that refuses says more clearly what to send.
NEEDED: Final = "x-needed"
"""In its schema, marks a header that is required although FastAPI takes it for optional."""
DIGEST_FORM: Final[dict[str, JsonValue]] = {"pattern": r"(^|[,\s])sha-256=:[A-Za-z0-9+/]{43}=:"}
"""The schema of a ``Repr-Digest``."""
TAG_FORM: Final[dict[str, JsonValue]] = {"pattern": r'^"[\x21\x23-\x7e]*"$'}
"""The schema of an ``If-Match`` with one strong entity tag."""

_OF_ANSWERS: Final = {
    "Accept-Ranges": "`bytes`.",
    "Content-Disposition": "`attachment` with the document's name (RFC 6266).",
    "Content-Range": "The range, and the size of the whole content; with 206 and 416.",
    "ETag": "For `If-Match`, `If-None-Match` and `If-Range`.",
    "Location": "The address of what was created.",
    "Repr-Digest": "`sha-256=:BASE64:` of the whole content (RFC 9530).",
    "Retry-After": "Seconds; with 429 and 503.",
    "WWW-Authenticate": "`Bearer`; with 401.",
}

_SHA256: Final = re.compile(r"(?:^|[,\s])sha-256=:([A-Za-z0-9+/=]*):")
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_NOT_PLAIN: Final = re.compile(r'[^\x20-\x7e]|["%\\]')
_ENTITY_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')

ReprDigest = Annotated[
    str | None,
    Header(
        alias="Repr-Digest",
        description="RFC 9530: `sha-256=:BASE64:` of the content; checked on arrival.",
        json_schema_extra=DIGEST_FORM,
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The change holds only for this entity tag.",
        json_schema_extra=TAG_FORM,
    ),
]
IdempotencyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A random UUID: the request takes effect once, however often it is sent.",
        json_schema_extra={"minLength": KEY_LENGTH.start, "maxLength": KEY_LENGTH.stop - 1},
    ),
]


def response_headers(*names: str, always: bool = True) -> dict[str, Any]:
    """What the OpenAPI document says of an answer that has these headers, always or at times."""
    return {
        "headers": {
            name: {
                "description": _OF_ANSWERS[name],
                "required": always,
                "schema": {"type": "string"},
            }
            for name in names
        }
    }


def repr_digest(value: str | None) -> bytes | None:
    """The SHA-256 in a ``Repr-Digest`` (RFC 9530 section 3); None where there is no header.

    Raises:
        InvalidInput: There is no usable ``sha-256`` in it.
    """
    if value is None:
        return None
    match = _SHA256.search(value)
    try:
        digest = base64.b64decode(match.group(1), validate=True) if match else b""
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        raise InvalidInput("Repr-Digest must hold sha-256=:BASE64: of the content (RFC 9530).")
    return digest


def digest_header(sha256: bytes) -> str:
    """A SHA-256 as ``Repr-Digest``."""
    return f"sha-256=:{base64.b64encode(sha256).decode('ascii')}:"


def describe(disposition: str | None, media_type: str | None, metadata: str | None) -> Description:
    """What the headers of a direct upload say about its content.

    Names travel in headers, never in addresses, because addresses end up in logs.

    Args:
        disposition: ``Content-Disposition`` with ``filename`` or ``filename*`` (RFC 6266).
        media_type: ``Content-Type``.
        metadata: ``Strongroom-Metadata``, a JSON object of strings.

    Raises:
        InvalidInput: Something is missing or not of its form.
    """
    if media_type == "application/x-www-form-urlencoded":
        media_type = None  # curl says this of every body unless it is told otherwise
    name = _file_name(disposition or "")
    if not name:
        raise InvalidInput('Name the document: Content-Disposition: attachment; filename="NAME".')
    try:
        labels = json.loads(_utf8(metadata)) if metadata else {}
    except (ValueError, RecursionError):
        raise InvalidInput("Strongroom-Metadata must be a JSON object of strings.") from None
    try:
        return Description(
            name=name, media_type=media_type or "application/octet-stream", metadata=labels
        )
    except ValidationError as error:
        fields = sorted({str(fault["loc"][0]) for fault in error.errors()})
        raise InvalidInput(
            f"Not acceptable: {', '.join(fields)}. A name has 1 to 255 characters without slashes and "
            "control characters; metadata has at most 32 short strings."
        ) from None


def disposition_header(name: str) -> str:
    """``Content-Disposition`` that saves under the name (RFC 6266, RFC 8187).

    The plain ``filename`` is for programs that do not know ``filename*``, such as curl.
    """
    plain = _NOT_PLAIN.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def byte_range(value: str | None, size: int) -> tuple[int, int] | None:
    """The one range of a ``Range`` header as start and end (excluded); None: the whole content.

    As RFC 9110 section 14.2 has it, what is not understood is ignored, several ranges included.

    Raises:
        RangeNotSatisfiable: The range lies outside the content.
    """
    match = _RANGE.fullmatch(value.strip()) if value else None
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start = int(first)
        end = min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise RangeNotSatisfiable(f"The content has {size} bytes.", size)
    return start, end


def entity_tag(value: str | None) -> str | None:
    """The entity tag in ``If-Match``, without quotes; None where there is no header.

    Raises:
        InvalidInput: It is not one strong entity tag.
    """
    if value is None:
        return None
    match = _ENTITY_TAG.fullmatch(value.strip())
    if match is None or match.group(1):
        raise InvalidInput('If-Match takes one entity tag in quotes, such as "doc_01jd....1".')
    return match.group(2)


def matches(value: str | None, tag: str, *, weak: bool) -> bool:
    """Whether a condition names this tag or any (RFC 9110 section 13.1).

    Args:
        value: The header's; None: there is none, and nothing matches.
        tag: Of what there is.
        weak: Whether ``W/"tag"`` names it as well: for ``If-None-Match``, not for ``If-Match``.
    """
    if value is None:
        return False
    return value.strip() == "*" or any(
        match.group(2) == tag and (weak or not match.group(1))
        for match in _ENTITY_TAG.finditer(value)
    )


def idempotency_key(
    value: str | None, principal: Principal, operation: str
) -> IdempotencyKey | None:
    """The ``Idempotency-Key`` of one operation of one user.

    Raises:
        InvalidInput: It is too short or too long.
    """
    if value is None:
        return None
    return IdempotencyKey(principal.tenant, f"{principal.user}\n{operation}", value)


def _file_name(disposition: str) -> str:
    """The name in ``Content-Disposition``, from ``filename*`` where there is one; else empty."""
    message = Message()
    message["Content-Disposition"] = _utf8(disposition)
    parameters = message.get_params([], "Content-Disposition")
    names = [value for parameter, value in parameters if parameter.lower() == "filename"]
    # The parser gives filename* as a tuple of charset, language and value.
    names.sort(key=lambda value: not isinstance(value, tuple))
    try:
        return collapse_rfc2231_value(names[0]) if names else ""
    except UnicodeError:  # in a charset that cannot be read
        return ""


def _utf8(value: str) -> str:
    # Servers hand headers over as Latin-1; clients such as curl send UTF-8.
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
