"""Bodies: JSON within a limit, content as a stream, and what views of lists have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final, Generic, TypeVar

from fastapi import Path, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.types import Message

from functions.api.digests import check_body
from shared.base.errors import InvalidInput, TooLarge, UnsupportedMediaType

MAX_JSON_BYTES: Final = 65_536

_SINGLE: Final = (
    *("Content-Disposition", "Content-MD5", "Content-Type", "Idempotency-Key"),
    "Strongroom-Metadata",
)
"""Headers that are no lists (RFC 9110 section 5.3)."""

View = TypeVar("View", bound=BaseModel)

Limit = Annotated[int, Query(ge=1, le=200, description="The most items that a page may hold.")]
Cursor = Annotated[
    str | None, Query(max_length=2048, description="The `cursor` of the page before.")
]


class Body(BaseModel):
    """A JSON body; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class PageView(BaseModel, Generic[View]):
    """A page of a list. `cursor` asks for the next page; it is null on the last."""

    items: list[View]
    cursor: str | None


def id_path(prefix: str) -> object:
    """Return the declaration of a path parameter that is an id with this prefix."""
    return Path(pattern=rf"^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$", description=f"`{prefix}_...`")


def check_body_form(request: Request) -> None:
    """Refuse a body that is not the whole of what it stands for, as it is, or is described twice.

    Args:
        request: As it came, with the lines of each header apart.

    Raises:
        InvalidInput: It is a part of it (RFC 9110 section 14.5); a header of one value has two lines.
        UnsupportedMediaType: It is coded, for one compressed (RFC 9110 section 15.5.16).
    """
    codings = ",".join(request.headers.getlist("content-encoding")).split(",")
    if any(coding.strip().lower() not in {"", "identity"} for coding in codings):
        raise UnsupportedMediaType(
            "Bodies are taken as they are; send it without Content-Encoding, uncompressed.",
            accept_encoding="identity",
        )
    repeated = [name for name in _SINGLE if len(request.headers.getlist(name)) > 1]
    if repeated:
        raise InvalidInput.in_fields(
            {f"header.{name}": f"{name} comes twice; send it once." for name in repeated}
        )
    if "content-range" in request.headers:
        raise InvalidInput.in_fields(
            {
                "header.Content-Range": "Content is taken as a whole, never in parts; send all of it"
                " without Content-Range."
            }
        )


async def with_json_body(request: Request) -> Request:
    """Return the request with its body read.

    Raises:
        DigestMismatch: The body is not what a digest in its headers says.
        InvalidInput: Such a digest cannot be checked.
        TooLarge: The body has more than ``MAX_JSON_BYTES``.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise TooLarge(f"A JSON body may have at most {MAX_JSON_BYTES} bytes.")
    check_body(bytes(body), request.headers)

    async def replay() -> Message:
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return Request(request.scope, replay)


async def body_stream(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """Return the body of a content route as it arrives.

    Raises:
        TooLarge: ``Content-Length`` announces more than ``max_bytes``.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise TooLarge(f"The content is larger than {max_bytes} bytes; use a staged upload.")
    async for chunk in request.stream():
        if chunk:
            yield chunk
