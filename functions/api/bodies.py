"""Bodies: JSON within a limit, content as a stream, and what views of lists have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final, Generic, TypeVar

from fastapi import Path, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.types import Message

from shared.base.errors import TooLarge

MAX_JSON_BYTES: Final = 262_144
"""The largest body is an upload's, with all the metadata that there may be, each character escaped."""

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


async def with_json_body(request: Request) -> Request:
    """Return the request with its body read.

    Raises:
        TooLarge: The body has more than ``MAX_JSON_BYTES``.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise TooLarge(f"A JSON body may have at most {MAX_JSON_BYTES} bytes.")

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
