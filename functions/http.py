"""The HTTP-triggered functions: one a capability, each hands its requests to the API.

They ask for no function key: the API's own guard authenticates.
"""

from __future__ import annotations

from functools import lru_cache

import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, StreamingResponse
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from functions.api.app import CAPABILITIES, create_api
from functions.api.pages import router as pages
from functions.bridge import respond
from shared.wiring import get_services

blueprint = func.Blueprint()


@lru_cache(maxsize=1)
def get_api() -> FastAPI:
    """The API of this process, put together when the first request comes."""
    return create_api(get_services())


async def handle(req: Request) -> StreamingResponse:
    """Let the API answer."""
    return await respond(get_api(), req)


def declare(name: str, route: str, router: APIRouter) -> None:
    """Declare the function that takes what is below one route."""
    routes = [each for each in router.routes if isinstance(each, APIRoute)]
    methods = sorted({method for each in routes for method in each.methods or ()})

    async def door(req: Request) -> StreamingResponse:
        return await handle(req)

    door.__name__ = name
    blueprint.function_name(name)(blueprint.route(route=route, methods=methods)(door))


for capability in CAPABILITIES:
    path = capability.router.prefix.strip("/")
    declare(f"api_{path.replace('-', '_')}", f"v1/{path}/{{*path}}", capability.router)
for page in ("health", "openapi.json", "docs"):
    declare(f"api_{page.partition('.')[0]}", f"v1/{page}/{{*path}}", pages)
