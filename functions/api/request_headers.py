"""Headers of requests, parsed: the dependencies by which routes take them, refused clearly if malformed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from fastapi import Request
from pydantic import JsonValue

from functions.api.conditional import Conditions, matches
from functions.api.dependencies import Dependency, principal_of
from functions.api.digests import Digests, stated_digests
from functions.api.dispositions import file_name_in
from shared.base.errors import InvalidInput, PreconditionFailed
from shared.documents.media_types import parse_media_type
from shared.documents.models import Description
from shared.documents.texts import file_name, labels
from shared.journal.idempotency import KEY_LENGTH, IdempotencyKey

T = TypeVar("T")

# These are for the OpenAPI document alone: the errors below say more clearly what to send.
DIGEST_FORM: Final[dict[str, JsonValue]] = {
    "pattern": r"(^|[,\s])(sha-256=:[A-Za-z0-9+/]{43}=:|sha-512=:[A-Za-z0-9+/]{86}==:)"
}
"""The schema of a ``Repr-Digest``."""
_TAG_FORM: Final[dict[str, JsonValue]] = {"pattern": r'^"[\x21\x23-\x7e]*"$'}
"""The schema of an ``If-Match`` with one strong entity tag."""

# The longest name percent-encoded is well below.
_MAX_DISPOSITION: Final = 8_192
_UNKNOWN_TYPE: Final = "application/octet-stream"
_STRONG_TAG: Final = re.compile(r'"([\x21\x23-\x7e]*)"')


def _header(
    name: str, description: str, *, required: bool = False, **schema: JsonValue
) -> dict[str, Any]:
    """A parameter object (https://spec.openapis.org/oas/v3.1.0#parameter-object)."""
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string", "title": name, **schema},
    }


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


def _description(request: Request) -> Description:
    return describe(
        *map(request.headers.get, ("content-disposition", "content-type", "strongroom-metadata"))
    )


def _digests(request: Request) -> Digests:
    return stated_digests(request.headers)


def _if_match(request: Request) -> str | None:
    etag = entity_tag(request.headers.get("if-match"))
    if_none_match = request.headers.get("if-none-match")
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


def _preceding_etag(request: Request) -> str:
    etag = _if_match(request)
    if etag is None:
        raise InvalidInput("Send If-Match with the etag of the version that this one follows.")
    return etag


def _conditions(request: Request) -> Conditions:
    return Conditions(*map(request.headers.get, ("if-match", "if-none-match", "if-range", "range")))


def idempotency_key_for(operation: str) -> Dependency:
    """Return the dependency that parses the ``Idempotency-Key`` of an operation of the caller's.

    Args:
        operation: Keys of different operations are different keys.
    """

    def key(request: Request) -> IdempotencyKey | None:
        value = request.headers.get("idempotency-key")
        if value is None:
            return None
        principal = principal_of(request)
        return IdempotencyKey(principal.tenant, f"{principal.user}\n{operation}", value)

    return Dependency(
        key,
        (
            _header(
                "Idempotency-Key",
                "A random UUID: the request takes effect once, however often it is sent.",
                minLength=KEY_LENGTH.start,
                maxLength=KEY_LENGTH.stop - 1,
            ),
        ),
    )


# OpenAPI ignores a parameter named Content-Type; the body's description says what it does.
DescriptionDep = Annotated[
    Description,
    Dependency(
        _description,
        (
            _header(
                "Content-Disposition",
                'The document\'s name: `attachment; filename="NAME"` (RFC 6266).',
                required=True,
                maxLength=_MAX_DISPOSITION,
            ),
            _header("Strongroom-Metadata", "Custom metadata: a JSON object of strings."),
        ),
    ),
]
DigestsDep = Annotated[
    Digests,
    Dependency(
        _digests,
        (
            _header(
                "Repr-Digest",
                "`sha-256=:BASE64:` of the content, or `sha-512` (RFC 9530); checked on arrival, as"
                " `Content-Digest` and `Content-MD5` are.",
                **DIGEST_FORM,
            ),
        ),
    ),
]
IfMatchDep = Annotated[
    str | None,
    Dependency(
        _if_match,
        (
            _header(
                "If-Match", "Make the change only if this is the current entity tag.", **_TAG_FORM
            ),
        ),
    ),
]
PrecedingEtagDep = Annotated[
    str,
    Dependency(
        _preceding_etag,
        (
            _header(
                "If-Match",
                "The entity tag of the version that the new one follows.",
                required=True,
                **_TAG_FORM,
            ),
        ),
    ),
]
ConditionsDep = Annotated[
    Conditions,
    Dependency(
        _conditions,
        (
            _header("If-Match", "412 unless one of these is the entity tag."),
            _header("If-None-Match", "304 if one of these is the entity tag."),
            _header("If-Range", "Ignore `Range` unless this is the entity tag."),
            _header("Range", "`bytes=FIRST-LAST`; for GET alone."),
        ),
    ),
]


def _name(disposition: str) -> str:
    if len(disposition) > _MAX_DISPOSITION:
        raise ValueError(f"Content-Disposition may have at most {_MAX_DISPOSITION} characters.")
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
