"""The host's own end of HTTP: routing, one log line a request, limits on its head."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from functions.api import problems
from functions.api.app import Envelope
from standalone.logs import describe_error
from standalone.routes import RouteTable

MAX_HEAD_BYTES: Final = 65_536
"""Request line and headers, or trailers; what one read brings may come on top."""

_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)

_logger = logging.getLogger("standalone.http")


class Frontend:
    """The ASGI app that the HTTP server runs: finds the app for a request and logs the outcome."""

    def __init__(self, routes: RouteTable) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        match = self._routes.match(scope["method"], scope["path"])
        fields: dict[str, object] = {
            "method": scope["method"],
            "route": match.template if match else None,
            "trace": None,
            "status": None,
        }
        bytes_in = bytes_out = 0

        async def counting_receive() -> Message:
            nonlocal bytes_in
            message = await receive()
            bytes_in += len(message.get("body", b""))
            return message

        async def counting_send(message: Message) -> None:
            nonlocal bytes_out
            if message["type"] == "http.response.start":
                fields["status"] = message["status"]
                traceparent = Headers(raw=message["headers"]).get("traceparent", "--")
                fields["trace"] = traceparent.split("-")[1] or None
            bytes_out += len(message.get("body", b""))
            await send(message)

        app = match.app if match else _no_such_route
        level = logging.INFO
        try:
            await app(scope, counting_receive, counting_send)
        except (Exception, asyncio.CancelledError) as error:
            level = logging.ERROR
            fields |= describe_error(error)
            raise
        finally:
            fields |= {
                "bytes_in": bytes_in,
                "bytes_out": bytes_out,
                "duration_ms": round((time.perf_counter() - started) * 1000, 1),
            }
            _logger.log(level, "request", extra=fields)


class LimitedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, which by itself takes heads and trailers of any size.

    The parser buffers them out of sight, so what is counted is bytes that lead nowhere: those that
    neither complete a head nor bring any body.
    """

    _idle_bytes = 0
    _progress = False

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client; refuse it when they lead nowhere for too long."""
        self._progress = False
        super().data_received(data)
        self._idle_bytes = 0 if self._progress else self._idle_bytes + len(data)
        if self._idle_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            _logger.warning("request head too large")
            self.transport.write(_HEAD_TOO_LARGE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """Take a whole head."""
        self._progress = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._progress = True
        super().on_body(body)


async def _answer_no_such_route(scope: Scope, receive: Receive, send: Send) -> None:
    await problems.no_such_route(Request(scope))(scope, receive, send)


_no_such_route: Final = Envelope(_answer_no_such_route)
