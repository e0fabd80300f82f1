"""Bodies: JSON within a limit, content as a stream, and what views of lists have in common."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Final, Generic, NoReturn, TypeVar

from fastapi import Path, Query, Request
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError
from starlette.requests import ClientDisconnect
from starlette.types import Message

from functions.api.digests import check_body
from shared.base.buffers import Buffer
from shared.base.errors import Interrupted, InvalidInput, TooLarge, UnsupportedMediaType
from shared.base.listing import Listing
from shared.base.streams import SizedStream

MAX_JSON_BYTES: Final = 262_144
"""The largest body is an upload's, with all the metadata that there may be, each character escaped."""

CONTENT: Final = "strongroom.content"
"""Where the scope of a request has its body as a ``SizedStream``, if the server gives it in that form."""

_SINGLE: Final = {
    b"content-disposition": "Content-Disposition",
    b"content-md5": "Content-MD5",
    b"content-type": "Content-Type",
    b"idempotency-key": "Idempotency-Key",
    b"strongroom-metadata": "Strongroom-Metadata",
}
"""Headers that are no lists (RFC 9110 section 5.3), as they come and as they are written."""

T = TypeVar("T")
View = TypeVar("View", bound=BaseModel)

_DECIMAL: Final = re.compile(r"[0-9]{1,18}")
_TIMESTAMP: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)


def _decimal(value: object) -> object:
    if isinstance(value, str) and _DECIMAL.fullmatch(value) is None:
        raise PydanticCustomError("decimal", "Send a whole number in decimal digits.")
    return value


def _flag(value: object) -> object:
    if isinstance(value, str) and value not in {"true", "false"}:
        raise PydanticCustomError("flag", "Send true or false.")
    return value


def _timestamp(value: object) -> object:
    if value is not None and not (isinstance(value, str) and _TIMESTAMP.fullmatch(value)):
        raise PydanticCustomError(
            "timestamp", "Send a time as RFC 3339 says, such as 2026-11-26T22:00:00Z."
        )
    return value


DECIMAL: Final = BeforeValidator(_decimal)
"""For a number in a query: digits alone, where pydantic takes blanks, signs and underscores."""
TRUE_OR_FALSE: Final = BeforeValidator(_flag)
"""For a truth value in a query, where pydantic takes ``on``, ``y`` and ``1``."""

Timestamp = Annotated[
    Annotated[AwareDatetime, Field(strict=False)] | SkipJsonSchema[None],
    BeforeValidator(_timestamp),
]
"""A time in a body, or null: text with an offset (RFC 3339), where pydantic takes seconds since 1970."""

Limit = Annotated[
    int, DECIMAL, Query(ge=1, le=200, description="The most items that a page may hold.")
]
Cursor = Annotated[
    str | None, Query(max_length=2048, description="The `cursor` of the page before.")
]


class Body(BaseModel):
    """A JSON body; unknown fields are refused, and so are values of another type than the field's."""

    model_config = ConfigDict(extra="forbid", strict=True)


class PageView(BaseModel, Generic[View]):
    """A page of a list. `cursor` asks for the next page; it is null on the last.

    `damaged` has the ids of what is stored and cannot be read: tell your operator, who can restore it.
    """

    items: list[View]
    cursor: str | None
    damaged: list[str] = []

    @classmethod
    def of(cls, page: Listing[T], view: Callable[[T], View]) -> PageView[View]:
        """A page as a service returned it, each item as its view."""
        return PageView[View](
            items=[view(each) for each in page.items],
            cursor=page.cursor,
            damaged=list(page.damaged),
        )


def id_path(prefix: str) -> object:
    """Return the declaration of a path parameter that is an id with this prefix."""
    return Path(pattern=_id_pattern(prefix), description=f"`{prefix}_...`")


def id_pattern(prefix: str) -> object:
    """Return the declaration of a field that is an id with this prefix."""
    return StringConstraints(pattern=_id_pattern(prefix))


def _id_pattern(prefix: str) -> str:
    return rf"^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$"


def binary(media_type: str) -> dict[str, Any]:
    """Return what the OpenAPI document says of a body that is a stream of bytes."""
    return {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}


def check_body_form(request: Request) -> None:
    """Refuse a body that is not the whole of what it stands for, as it is, or is described twice.

    Args:
        request: As it came, with the lines of each header apart.

    Raises:
        InvalidInput: It is a part of it (RFC 9110 section 14.5); a header of one value has two lines.
        UnsupportedMediaType: It is coded, for one compressed (RFC 9110 section 15.5.16).
    """
    lines = request.headers.raw
    codings = b",".join(value for name, value in lines if name == b"content-encoding").split(b",")
    if any(coding.strip().lower() not in {b"", b"identity"} for coding in codings):
        raise UnsupportedMediaType(
            "Bodies are taken as they are; send it without Content-Encoding, uncompressed.",
            accept_encoding="identity",
        )
    names = [name for name, _ in lines]
    repeated = [written for name, written in _SINGLE.items() if names.count(name) > 1]
    if repeated:
        raise InvalidInput.in_fields(
            {f"header.{name}": f"{name} comes twice; send it once." for name in repeated}
        )
    if b"content-range" in names:
        raise InvalidInput.in_fields(
            {
                "header.Content-Range": "Content is taken as a whole, never in parts; send all of it"
                " without Content-Range."
            }
        )


class JsonRequest(Request):
    """A request whose JSON means the same to every reader (RFC 7493 section 2)."""

    async def json(self) -> Any:
        """Return its body.

        Raises:
            json.JSONDecodeError: It is no JSON, names a member twice, or has a number such as NaN.
        """
        return json.loads(
            await self.body(), object_pairs_hook=_unambiguous, parse_constant=_no_number
        )


def _unambiguous(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise json.JSONDecodeError("A member is named twice", "", 0)
    return found


def _no_number(_: str) -> NoReturn:
    raise json.JSONDecodeError("JSON has no such number", "", 0)


async def with_json_body(request: Request) -> Request:
    """Return the request with its body read.

    Raises:
        DigestMismatch: The body is not what a digest in its headers says.
        Interrupted: The client disconnected.
        InvalidInput: Such a digest cannot be checked.
        TooLarge: The body has more than ``MAX_JSON_BYTES``.
    """
    body = bytearray()
    async for chunk in _stream(request):
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise TooLarge(f"A JSON body may have at most {MAX_JSON_BYTES} bytes.")
    check_body(bytes(body), request.headers)

    async def replay() -> Message:
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return JsonRequest(request.scope, replay)


def body_stream(request: Request, max_bytes: int) -> AsyncIterator[Buffer]:
    """Return the body of a content route as it arrives.

    Its iteration raises ``Interrupted`` where the client disconnects before all of it has arrived.

    Raises:
        TooLarge: ``Content-Length`` announces more than ``max_bytes``.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise TooLarge(f"The content is larger than {max_bytes} bytes; use a staged upload.")
    return _stream(request)


def _stream(request: Request) -> AsyncIterator[Buffer]:
    content: SizedStream | None = request.scope.get(CONTENT)
    return _received(request) if content is None else content


async def _received(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            if chunk:
                yield chunk
    except ClientDisconnect:
        raise interrupted() from None


def interrupted() -> Interrupted:
    """What is raised where a client disconnects in the middle of a body."""
    return Interrupted("The connection ended before the whole body had arrived.")
