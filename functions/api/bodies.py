"""Bodies: JSON within a limit, content as a stream, and what views of lists have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Final, Generic, TypeVar

from fastapi import Path, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.types import Message

from functions.api.digests import check_body
from shared.base.errors import InvalidInput, TooLarge, UnsupportedMediaType
from shared.base.listing import Listing

MAX_JSON_BYTES: Final = 65_536

T = TypeVar("T")
View = TypeVar("View", bound=BaseModel)

Limit = Annotated[int, Query(ge=1, le=200, description="The most items that a page may hold.")]
Cursor = Annotated[
    str | None, Query(max_length=2048, description="The `cursor` of the page before.")
]


class Body(BaseModel):
    """A JSON body; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


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
    return Path(pattern=rf"^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$", description=f"`{prefix}_...`")


def check_body_form(request: Request) -> None:
    """Refuse a body that is not the whole of what it stands for, as it is.

    Raises:
        InvalidInput: It is a part of it (RFC 9110 section 14.5).
        UnsupportedMediaType: It is coded, for one compressed (RFC 9110 section 15.5.16).
    """
    codings = request.headers.get("content-encoding", "").split(",")
    if any(coding.strip().lower() not in {"", "identity"} for coding in codings):
        raise UnsupportedMediaType(
            "Bodies are taken as they are; send it without Content-Encoding, uncompressed.",
            accept_encoding="identity",
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
