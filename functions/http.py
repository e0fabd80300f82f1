"""The HTTP-triggered functions: one a capability, each hands its requests to the API.

They ask for no function key: the API's own guard authenticates. The API is imported when the first
request comes, because a process that only indexes functions, or handles messages, has no use for it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, StreamingResponse
from fastapi import FastAPI

from functions.bridge import respond

CAPABILITIES: Final = (
    *("auth", "tenants", "users", "policy", "documents", "uploads", "targets"),
    *("backups", "restores", "audit", "webhooks", "dead-letters", "grants", "staff-grants"),
    "reviews",
)
"""Each is a path below ``v1`` and all that lies below it: the prefix of one of the API's routers."""

PAGES: Final = ("health", "openapi.json", "docs")

METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""Of every function: which of them a route takes, the API knows."""

blueprint = func.Blueprint()


@lru_cache(maxsize=1)
def get_api() -> FastAPI:
    """The API of this process, put together when the first request comes."""
    from functions.api.app import create_api
    from shared.wiring.services import get_services

    return create_api(get_services())


async def handle(req: Request) -> StreamingResponse:
    """Let the API respond."""
    return await respond(get_api(), req)


def declare(path: str) -> None:
    """Declare the function that takes what is at and below ``v1/path``."""

    async def entry_point(req: Request) -> StreamingResponse:
        return await handle(req)

    name = "api_" + path.partition(".")[0].replace("-", "_")
    entry_point.__name__ = name
    route = f"v1/{path}/{{*path}}"
    blueprint.function_name(name)(blueprint.route(route=route, methods=METHODS)(entry_point))


for path in (*CAPABILITIES, *PAGES):
    declare(path)
