"""The FastAPI app: every router, every error as a problem, the headers that every response has."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any, Final

from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.api import pages, problems
from functions.api.limits import Limits
from functions.api.memory import HeldMemory
from functions.api.methods import ImpliedMethods
from functions.api.telemetry import API, NO_TELEMETRY, RequestTelemetry
from functions.api.trace_context import new_request_id
from shared.wiring.services import Services

PREFIX: Final = API

CAPABILITIES: Final = (
    *("auth", "tenants", "users", "policy", "documents", "uploads", "targets"),
    *("backups", "restores", "audit", "webhooks", "dead-letters", "grants", "staff-grants"),
    "reviews",
)
"""Each is a path below ``/api/v1``, the router of one module here, and one HTTP-triggered function in
``functions.http``."""

STANDARD_HEADERS: Final = {
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_STANDARD_AS_SENT: Final = [
    (name.lower().encode(), value.encode()) for name, value in STANDARD_HEADERS.items()
]


def module_of(capability: str) -> ModuleType:
    """The module with a capability's router, imported when this is first asked for."""
    return import_module(f"functions.api.{capability.replace('-', '_')}")


class Api(FastAPI):
    """FastAPI that imports a capability when the first request for it comes: cold starts are felt.

    Its OpenAPI document says how to sign in and what its parameters really take.
    """

    def __init__(self, **options: Any) -> None:
        self._included: set[str] = set()
        super().__init__(**options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http":
            below = scope["path"].removeprefix(f"{PREFIX}/")
            self._include(below.partition("/")[0])
        await super().__call__(scope, receive, send)

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes of all capabilities, in their order."""
        for capability in CAPABILITIES:
            self._include(capability)
        modules = [*map(module_of, CAPABILITIES), pages]
        return [route for module in modules for route in module.router.routes]

    def _include(self, capability: str) -> None:
        if capability in CAPABILITIES and capability not in self._included:
            self._included.add(capability)
            # First what came last: a request is matched with one route after another.
            self.router.routes[:0] = module_of(capability).router.routes

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document."""
        document = super().openapi()
        components = document.setdefault("components", {})
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        operations = (found for path in document["paths"].values() for found in path.values())
        parameters = (
            found for operation in operations for found in operation.get("parameters", ())
        )
        for parameter in parameters:
            schema = parameter["schema"]
            # What may be left out is null to FastAPI, but a request cannot send a null.
            schema.update(*(form for form in schema.pop("anyOf", ()) if form != {"type": "null"}))
        return document


class StandardHeaders:
    """ASGI middleware: gives each request its id, and each response its headers.

    Args:
        app: What it wraps.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["strongroom.request"] = request_id = new_request_id()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(header for header in _STANDARD_AS_SENT if header[0] not in present),
                    (b"traceparent", scope["strongroom.traceparent"].encode()),
                    (b"request-id", request_id.encode()),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def create_api(services: Services) -> FastAPI:
    """The API over these services."""
    app = Api(
        title="Strongroom",
        version="1",
        description="Keeps documents confidential, intact and recoverable, and proves it.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # A redirect would take its URL from what the client calls this host.
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    app.state.services = services
    app.state.limits = limits = Limits(services.settings, services.runtime.clock)
    problems.install(app)
    app.router.routes += pages.router.routes
    add_middlewares(app, services, limits)
    return app


def add_middlewares(app: FastAPI, services: Services, limits: Limits) -> None:
    """Add what every request passes before it comes to its route: the last added is the first passed."""
    app.add_middleware(ImpliedMethods)
    app.add_middleware(HeldMemory, budget=limits.memory)
    if services.settings.allowed_origins:
        from functions.api.cross_origin import allow_origins  # which few installations need

        allow_origins(app, services.settings.allowed_origins)
    app.add_middleware(StandardHeaders)
    app.add_middleware(RequestTelemetry)
