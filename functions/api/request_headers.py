"""Headers of requests, parsed: the dependencies by which routes take them, refused clearly if malformed."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Annotated, Final

from fastapi import Depends, Header
from pydantic import JsonValue, ValidationError

from functions.api.conditional import Conditions
from functions.api.dependencies import PrincipalDep
from shared.base.errors import InvalidInput
from shared.documents.models import Description
from shared.journal.idempotency import KEY_LENGTH, IdempotencyKey

# The next three are for the OpenAPI document alone: the errors below say more clearly what to send.
NEEDED: Final = "x-needed"
"""In its schema, marks a header that is required although FastAPI takes it for optional."""
DIGEST_FORM: Final[dict[str, JsonValue]] = {"pattern": r"(^|[,\s])sha-256=:[A-Za-z0-9+/]{43}=:"}
"""The schema of a ``Repr-Digest``."""
TAG_FORM: Final[dict[str, JsonValue]] = {"pattern": r'^"[\x21\x23-\x7e]*"$'}
"""The schema of an ``If-Match`` with one strong entity tag."""

_SHA256: Final = re.compile(r"(?:^|[,\s])sha-256=:([A-Za-z0-9+/=]*):")
_STRONG_TAG: Final = re.compile(r'"([\x21\x23-\x7e]*)"')

_Disposition = Annotated[
    str | None,
    Header(
        alias="Content-Disposition",
        # The longest name percent-encoded is well below; the parser's time grows with the square.
        max_length=8_192,
        description='The document\'s name: `attachment; filename="NAME"` (RFC 6266).',
        json_schema_extra={NEEDED: True},
    ),
]
# OpenAPI ignores a parameter of this name; the body's description says what it does.
_MediaType = Annotated[str | None, Header(alias="Content-Type", include_in_schema=False)]
_Metadata = Annotated[
    str | None,
    Header(alias="Strongroom-Metadata", description="Custom metadata: a JSON object of strings."),
]
_ReprDigest = Annotated[
    str | None,
    Header(
        alias="Repr-Digest",
        description="`sha-256=:BASE64:` of the content (RFC 9530); checked on arrival.",
        json_schema_extra=DIGEST_FORM,
    ),
]
_IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A random UUID: the request takes effect once, however often it is sent.",
        json_schema_extra={"minLength": KEY_LENGTH.start, "maxLength": KEY_LENGTH.stop - 1},
    ),
]
_IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="Make the change only if this is the current entity tag.",
        json_schema_extra=TAG_FORM,
    ),
]
_Precedes = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The entity tag of the version that the new one follows.",
        json_schema_extra=TAG_FORM | {NEEDED: True},
    ),
]


def describe(disposition: str | None, media_type: str | None, metadata: str | None) -> Description:
    """Parse what the headers of an upload say about its content.

    Names travel in headers, never in URLs, because URLs end up in logs.

    Args:
        disposition: ``Content-Disposition`` with ``filename`` or ``filename*`` (RFC 6266).
        media_type: ``Content-Type``.
        metadata: ``Strongroom-Metadata``, a JSON object of strings.

    Raises:
        InvalidInput: The name is missing, or a header is malformed.
    """
    if media_type == "application/x-www-form-urlencoded":
        media_type = None  # curl says this of every body unless it is told otherwise
    name = _file_name(disposition or "")
    if not name:
        raise InvalidInput('Name the document: Content-Disposition: attachment; filename="NAME".')
    try:
        labels = json.loads(_utf8(metadata)) if metadata else {}
    except (ValueError, RecursionError):
        raise InvalidInput(
            "Strongroom-Metadata is malformed; send a JSON object of strings."
        ) from None
    try:
        return Description(
            name=name, media_type=media_type or "application/octet-stream", metadata=labels
        )
    except ValidationError as error:
        fields = sorted({str(fault["loc"][0]) for fault in error.errors()})
        raise InvalidInput(
            f"Invalid: {', '.join(fields)}. A name has 1 to 255 characters without slashes and "
            "control characters; metadata has at most 32 short strings."
        ) from None


def repr_digest(value: str | None) -> bytes | None:
    """Parse the SHA-256 in a ``Repr-Digest`` (RFC 9530 section 3); None where there is no header.

    Raises:
        InvalidInput: It holds no well-formed ``sha-256``.
    """
    if value is None:
        return None
    match = _SHA256.search(value)
    try:
        digest = base64.b64decode(match[1], validate=True) if match else b""
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        raise InvalidInput("Repr-Digest must hold sha-256=:BASE64: of the content (RFC 9530).")
    return digest


def entity_tag(value: str | None) -> str | None:
    """Parse the entity tag in an ``If-Match``, without quotes; None where there is no header.

    Raises:
        InvalidInput: It is not one strong entity tag.
    """
    if value is None:
        return None
    match = _STRONG_TAG.fullmatch(value.strip())
    if match is None:
        raise InvalidInput(
            'Send If-Match with one entity tag in quotes, such as "doc_01jd....1.5f0c...".'
        )
    return match[1]


async def _description(
    disposition: _Disposition = None, media_type: _MediaType = None, metadata: _Metadata = None
) -> Description:
    return describe(disposition, media_type, metadata)


async def _digest(value: _ReprDigest = None) -> bytes | None:
    return repr_digest(value)


async def _if_match(value: _IfMatch = None) -> str | None:
    return entity_tag(value)


async def _preceding_etag(value: _Precedes = None) -> str:
    etag = entity_tag(value)
    if etag is None:
        raise InvalidInput("Send If-Match with the etag of the version that this one follows.")
    return etag


async def _conditions(
    if_match: Annotated[
        str | None,
        Header(alias="If-Match", description="412 unless one of these is the entity tag."),
    ] = None,
    if_none_match: Annotated[
        str | None,
        Header(alias="If-None-Match", description="304 if one of these is the entity tag."),
    ] = None,
    if_range: Annotated[
        str | None,
        Header(alias="If-Range", description="Ignore `Range` unless this is the entity tag."),
    ] = None,
    wanted: Annotated[
        str | None, Header(alias="Range", description="`bytes=FIRST-LAST`; for GET alone.")
    ] = None,
) -> Conditions:
    return Conditions(if_match, if_none_match, if_range, wanted)


def idempotency_key_for(operation: str) -> Callable[..., Awaitable[IdempotencyKey | None]]:
    """Return the dependency that parses the ``Idempotency-Key`` of an operation of the caller's.

    Args:
        operation: Keys of different operations are different keys.
    """

    async def key(principal: PrincipalDep, value: _IdempotencyKey = None) -> IdempotencyKey | None:
        if value is None:
            return None
        return IdempotencyKey(principal.tenant, f"{principal.user}\n{operation}", value)

    return key


DescriptionDep = Annotated[Description, Depends(_description)]
DigestDep = Annotated[bytes | None, Depends(_digest)]
IfMatchDep = Annotated[str | None, Depends(_if_match)]
PrecedingEtagDep = Annotated[str, Depends(_preceding_etag)]
ConditionsDep = Annotated[Conditions, Depends(_conditions)]


def _file_name(disposition: str) -> str:
    """Return the name in ``Content-Disposition``, from ``filename*`` where there is one; else empty."""
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
