"""The span and the metrics of each request, and the trace that it belongs to.

Of a request they say the method, the route's template and the status; never the path, the query, a header
or an address, which are the client's (https://opentelemetry.io/docs/specs/semconv/http/http-spans/).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import Request
from fastapi.telemetry import TelemetryConfig
from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.api.trace_context import new_traceparent
from shared.base import telemetry

API: Final = "/api/v1"
"""What every path of the API begins with."""

NO_TELEMETRY: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
"""For FastAPI, which would measure hosts, paths, addresses and user agents by itself."""

_METHODS: Final = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)
_OTHER_METHOD: Final = "_OTHER"
_OBSERVED: Final = "strongroom.observed"


@dataclass(slots=True)
class _Observed:
    """What becomes known of a request: the template of its route, its status, its problem's slug."""

    route: str | None = None
    status: int | None = None
    problem: str | None = None


def record_route(request: Request, template: str) -> None:
    """Say which route takes a request."""
    request.scope[_OBSERVED].route = template


def record_problem(request: Request, slug: str) -> None:
    """Say with which problem a request ends."""
    request.scope[_OBSERVED].problem = slug


class RequestTelemetry:
    """ASGI middleware: gives each request its trace, and measures it.

    The trace is the client's, where it sent a ``traceparent``. Whether spans are kept is not for the client
    to decide; what else it sent, such as ``tracestate`` and ``baggage``, is ignored.

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
        observed = scope[_OBSERVED] = _Observed()
        given = Headers(scope=scope).get("traceparent")
        method = scope["method"] if scope["method"] in _METHODS else _OTHER_METHOD
        about: dict[str, str | int] = {
            telemetry.METHOD: method,
            telemetry.SCHEME: "https" if scope["scheme"] == "https" else "http",
        }

        async def send_and_observe(message: Message) -> None:
            if message["type"] == "http.response.start":
                observed.status = message["status"]
            await send(message)

        with (
            telemetry.measured(telemetry.REQUEST_DURATION, about),
            telemetry.span(method, SpanKind.SERVER, about, telemetry.context_of(given)) as span,
        ):
            traceparent = telemetry.traceparent_of(span) or new_traceparent(given)
            scope["strongroom.traceparent"] = traceparent
            try:
                await self._app(scope, receive, send_and_observe)
            finally:
                outcome = _outcome(observed)
                about |= outcome
                span.set_attributes(outcome)
                span.update_name(_name(method, observed.route))
                if telemetry.ERROR_TYPE in outcome:
                    span.set_status(Status(StatusCode.ERROR))


def _name(method: str, route: str | None) -> str:
    shown = "HTTP" if method == _OTHER_METHOD else method
    return shown if route is None else f"{shown} {route}"


def _outcome(observed: _Observed) -> dict[str, str | int]:
    """What the span and the metrics say of a request that has ended; a refusal is counted."""
    known: dict[str, str | int] = {}
    if observed.route is not None:
        known[telemetry.ROUTE] = observed.route
    status, problem = observed.status, observed.problem
    if status is None:
        return known
    if status < 500 and problem is not None:
        telemetry.REFUSALS.add(1, {**known, telemetry.ERROR_TYPE: problem})
    known[telemetry.STATUS] = status
    if status >= 500:
        known[telemetry.ERROR_TYPE] = problem or str(status)
    return known
