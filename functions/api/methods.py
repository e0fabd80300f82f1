"""The methods that follow from those of the routes: ``HEAD`` and ``OPTIONS`` (RFC 9110 section 9.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from fastapi.routing import iter_route_contexts
from starlette.responses import Response
from starlette.routing import BaseRoute, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@lru_cache(maxsize=1_024)
def path_pattern(template: str) -> re.Pattern[str]:
    """The regular expression of a route's path."""
    return compile_path(template)[0]


def allowed_methods(routes: Sequence[BaseRoute], path: str) -> list[str]:
    """Every method that a path takes, sorted; none: there is no such path."""
    # The router names the methods of the first route alone, where several share a path.
    matching = [
        route for route in iter_route_contexts(routes) if path_pattern(str(route.path)).match(path)
    ]
    # What is a path of its own is not meant as an id in another one.
    own = [route for route in matching if route.path == path] or matching
    methods = {method for route in own for method in route.methods or ()}
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods | {"OPTIONS"}) if methods else []


class ImpliedMethods:
    """ASGI middleware: ``HEAD`` responds as ``GET`` without its body, and ``OPTIONS`` with ``Allow``.

    Args:
        app: What it wraps: all of it that lies between this and the routes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http" and scope["method"] in {"HEAD", "OPTIONS"}:
            routes = scope["app"].router.routes  # those of other capabilities are not needed
            allowed = allowed_methods(routes, scope["path"])
            if scope["method"] == "OPTIONS":
                if allowed:
                    response = Response(status_code=204, headers={"Allow": ", ".join(allowed)})
                    await response(scope, receive, send)
                    return
            elif "HEAD" in allowed and not _has_head(routes, scope["path"]):
                scope = {**scope, "method": "GET"}
                send = _without_body(send)
        await self._app(scope, receive, send)


def _has_head(routes: Sequence[BaseRoute], path: str) -> bool:
    """Whether a path has a route for ``HEAD``, which saves what only a body needs."""
    return any(
        "HEAD" in (route.methods or ()) and path_pattern(str(route.path)).match(path)
        for route in iter_route_contexts(routes)
    )


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
