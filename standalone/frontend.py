"""The host's own end of HTTP: routing, one log line a request, limits on sizes and on waiting."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

import httptools
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from functions.api import problems
from functions.api.app import StandardHeaders
from standalone.logs import describe_error
from standalone.routes import RouteTable

MAX_HEAD_BYTES: Final = 65_536
"""Request line and headers, or trailers; what one read brings may come on top."""

STALL_SECONDS: Final = 60.0
LEAST_BYTES: Final = 16_384
"""What a client must move in that time while it is waited for: far less than any line that works."""

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
        """Respond to one request."""
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
    """uvicorn's HTTP/1.1 protocol, with limits on what it takes and how long it waits.

    - By itself it takes heads and trailers of any size. The parser buffers them out of sight, so what
      is counted is bytes that lead nowhere: those that neither complete a head nor bring any body.
    - By itself it waits for ever, for a request to come or a response to be taken. A client that is
      waited for must move ``LEAST_BYTES`` in ``STALL_SECONDS``.
    - A request with a body that offers another protocol is refused: the parser would take the body
      for that protocol, and leave the content empty. Other offers are ignored (RFC 9110 section 7.8).
    """

    _idle_bytes = 0
    _progress = False
    _moved = 0
    _unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a client."""
        super().connection_made(transport)
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a client that disconnected."""
        self._next_look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client; refuse it when they lead nowhere for too long."""
        self._moved += len(data)
        self._progress = False
        super().data_received(data)
        self._idle_bytes = 0 if self._progress else self._idle_bytes + len(data)
        if self._idle_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            _logger.warning("request head too large")
            self.transport.write(_HEAD_TOO_LARGE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """Take a whole head."""
        if self.parser.should_upgrade() and self._has_payload():
            raise httptools.HttpParserError("the request asks for another protocol")  # responds 400
        self._progress = True
        self._moved += LEAST_BYTES
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._progress = True
        super().on_body(body)

    def pause_writing(self) -> None:
        """Note that the client has more to take than it has taken."""
        self._moved += LEAST_BYTES
        self._unsent = self.transport.get_write_buffer_size()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client has taken nearly all."""
        self._moved += LEAST_BYTES
        super().resume_writing()

    def _has_payload(self) -> bool:
        """Whether more than a head follows: a body, or whatever ``CONNECT`` is meant to carry."""
        return self.parser.get_method() == b"CONNECT" or any(
            name == b"transfer-encoding" or (name == b"content-length" and int(value) > 0)
            for name, value in self.headers
        )

    def _look_later(self) -> None:
        self._next_look = self.loop.call_later(STALL_SECONDS, self._drop_if_stalled)

    def _drop_if_stalled(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        moved = self._moved + max(0, self._unsent - unsent)
        self._moved, self._unsent = 0, unsent
        if moved < LEAST_BYTES and self._is_waited_for():
            _logger.warning("client stalled")
            self.transport.abort()
        else:
            self._look_later()

    def _is_waited_for(self) -> bool:
        """Whether it is the client's turn: to take what is sent, or to send a head or a body."""
        if self.flow.write_paused:
            return True
        if self.flow.read_paused:
            return False
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return True
        return cycle.more_body and not cycle.waiting_for_100_continue


async def _respond_no_such_route(scope: Scope, receive: Receive, send: Send) -> None:
    await problems.no_such_route(Request(scope))(scope, receive, send)


_no_such_route: Final = StandardHeaders(_respond_no_such_route)
