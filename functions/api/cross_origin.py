"""Cross-origin requests of browsers (https://fetch.spec.whatwg.org/#http-cors-protocol).

A web application at another origin may call the API if the operator allows its origin. Tokens travel in
``Authorization``, which a browser never adds by itself, so there are no credentials to allow.
"""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from functions.api import problems

METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")

REQUEST_HEADERS: Final = (
    *("Authorization", "Content-Disposition", "Content-Type", "Idempotency-Key", "If-Match"),
    *("If-None-Match", "If-Range", "Range", "Strongroom-Metadata"),
    *("Content-Digest", "Content-MD5", "Repr-Digest", "traceparent", "tracestate"),
)
"""What a web application may send."""

RESPONSE_HEADERS: Final = (
    *("Accept-Encoding", "Accept-Ranges", "Allow", "Content-Disposition", "Content-Range", "ETag"),
    *("Location", "Repr-Digest", "Request-Id", "Retry-After", "WWW-Authenticate"),
    *("Want-Repr-Digest", "traceparent"),
)
"""What a web application may read, besides what browsers show of every response."""

MAX_AGE_SECONDS: Final = 600


class CrossOrigin(CORSMiddleware):
    """Starlette's middleware, whose refusals are problems."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        headers = Headers(scope=scope)
        preflight = scope["type"] == "http" and scope["method"] == "OPTIONS"
        if preflight and "origin" in headers and "access-control-request-method" in headers:
            response = self.preflight_response(headers)
            if response.status_code != 200:
                response = problems.origin_refused(Request(scope), response.headers["vary"])
            await response(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def allow_origins(app: FastAPI, origins: tuple[str, ...]) -> None:
    """Let web applications at these origins call the app. None: browsers let none call it."""
    if origins:
        app.add_middleware(
            CrossOrigin,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=RESPONSE_HEADERS,
            max_age=MAX_AGE_SECONDS,
        )
