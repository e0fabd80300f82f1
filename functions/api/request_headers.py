"""Headers of requests, parsed: the dependencies by which routes take them, refused clearly if malformed."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Header, Request
from pydantic import JsonValue

from functions.api.conditional import Conditions, matches
from functions.api.dependencies import PrincipalDep
from functions.api.digests import Digests, stated_digests
from functions.api.dispositions import file_name_in
from shared.base.errors import InvalidInput, PreconditionFailed
from shared.documents.media_types import parse_media_type
from shared.documents.models import Description
from shared.documents.texts import file_name, labels
from shared.journal.idempotency import KEY_LENGTH, IdempotencyKey

T = TypeVar("T")

# The next three are for the OpenAPI document alone: the errors below say more clearly what to send.
NEEDED: Final = "x-needed"
"""In its schema, marks a header that is required although FastAPI takes it for optional."""
DIGEST_FORM: Final[dict[str, JsonValue]] = {
    "pattern": r"(^|[,\s])(sha-256=:[A-Za-z0-9+/]{43}=:|sha-512=:[A-Za-z0-9+/]{86}==:)"
}
"""The schema of a ``Repr-Digest``."""
TAG_FORM: Final[dict[str, JsonValue]] = {"pattern": r'^"[\x21\x23-\x7e]*"$'}
"""The schema of an ``If-Match`` with one strong entity tag."""

_UNKNOWN_TYPE: Final = "application/octet-stream"
_STRONG_TAG: Final = re.compile(r'"([\x21\x23-\x7e]*)"')

_Disposition = Annotated[
    str | None,
    Header(
        alias="Content-Disposition",
        # The longest name percent-encoded is well below.
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
        description="`sha-256=:BASE64:` of the content, or `sha-512` (RFC 9530); checked on arrival, as"
        " `Content-Digest` and `Content-MD5` are.",
        json_schema_extra=DIGEST_FORM,
    ),
]
_IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", include_in_schema=False)]
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
    faults: dict[str, str] = {}

    def parsed(header: str, parse: Callable[[str], T], value: str | None, default: T) -> T:
        try:
            return parse(_utf8(value or ""))
        except ValueError as error:
            faults[f"header.{header}"] = str(error)
            return default

    name = parsed("Content-Disposition", _name, disposition, "")
    kept_type = parsed("Content-Type", _media_type, media_type, "")
    no_labels: dict[str, str] = {}
    kept_labels = parsed("Strongroom-Metadata", _labels, metadata, no_labels)
    if faults:
        raise InvalidInput.in_fields(faults)
    return Description(name=name, media_type=kept_type, metadata=kept_labels)


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


async def _digests(request: Request, _documented: _ReprDigest = None) -> Digests:
    return stated_digests(request.headers)


async def _if_match(value: _IfMatch = None, if_none_match: _IfNoneMatch = None) -> str | None:
    etag = entity_tag(value)
    if if_none_match is not None:
        if etag is None:
            raise InvalidInput.in_fields(
                {
                    "header.If-None-Match": "If-None-Match is for reading; send If-Match with the"
                    " entity tag of what is to be changed."
                }
            )
        # The change is made only if this is the current entity tag (RFC 9110 section 13.2.2).
        if matches(if_none_match, etag, weak=True):
            raise PreconditionFailed("If-Match and If-None-Match cannot both hold; send one.")
    return etag


async def _preceding_etag(value: _Precedes = None, if_none_match: _IfNoneMatch = None) -> str:
    etag = await _if_match(value, if_none_match)
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
DigestsDep = Annotated[Digests, Depends(_digests)]
IfMatchDep = Annotated[str | None, Depends(_if_match)]
PrecedingEtagDep = Annotated[str, Depends(_preceding_etag)]
ConditionsDep = Annotated[Conditions, Depends(_conditions)]


def _name(disposition: str) -> str:
    return file_name(file_name_in(disposition))


def _media_type(value: str) -> str:
    media_type = parse_media_type(value) if value.strip() else _UNKNOWN_TYPE
    essence = media_type.partition(";")[0].lower()
    if essence == "multipart/form-data":
        raise ValueError("The body is a form; send the content alone, as the whole body.")
    # curl says this of every body unless it is told otherwise.
    return _UNKNOWN_TYPE if essence == "application/x-www-form-urlencoded" else media_type


def _labels(metadata: str) -> dict[str, str]:
    if not metadata:
        return {}
    try:
        found = json.loads(metadata, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ValueError(
            "Strongroom-Metadata is malformed; send a JSON object of strings, with each key once."
        )
    return labels(found)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _utf8(value: str) -> str:
    # Servers hand headers over as Latin-1; clients such as curl send UTF-8.
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
