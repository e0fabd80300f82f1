"""The host's own end of HTTP: routing, one log line a request, limits on sizes and on waiting."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

import httptools
import uvicorn
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from functions.api import problems
from functions.api.app import StandardHeaders
from functions.api.bodies import CONTENT
from functions.api.telemetry import RequestTelemetry
from functions.api.trace_context import trace_id
from shared.base.activity import Activity
from shared.base.errors import RateLimited, Unavailable
from standalone.bodies import ArrivingBody
from standalone.connections import Connections, Entry
from standalone.framing import framing_fault
from standalone.logs import describe_error
from standalone.refusals import Refusal, bad_request
from standalone.responses import ResponseTransport
from standalone.routes import RouteTable

MAX_HEAD_BYTES: Final = 65_536
"""Request line and headers, or trailers; what one read brings may come on top."""

STALL_SECONDS: Final = 60.0
LEAST_BYTES: Final = 16_384
"""What a client must move in that time while it is waited for: far less than any line that works."""

UNPARSED_BYTES: Final = 65_536
"""A body of which so much is still to come is taken past the parser."""

_HEAD_TOO_LARGE: Final = Refusal(
    431,
    "head-too-large",
    "The head of the request is too large",
    f"Send at most {MAX_HEAD_BYTES} bytes of request line and headers.",
)
_NOT_HTTP: Final = bad_request("The request cannot be read as HTTP/1.1.")
_COME_BACK: Final = {"Retry-After": "10"}
_FULL: Final = {
    Entry.ADDRESS_FULL: Refusal(
        429,
        RateLimited.slug,
        RateLimited.title,
        "Your IP address has too many connections open: close some, or use one for many requests.",
        _COME_BACK,
    ),
    Entry.SERVER_FULL: Refusal(
        503,
        Unavailable.slug,
        Unavailable.title,
        "The server has too many connections open; try again as late as Retry-After says.",
        _COME_BACK,
    ),
}

_logger = logging.getLogger("standalone.http")


class Frontend:
    """The ASGI app that the HTTP server runs: finds the app for a request and logs the outcome.

    Args:
        routes: Which app it is.
        activity: Counts the requests.
    """

    def __init__(self, routes: RouteTable, activity: Activity) -> None:
        self._routes = routes
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request."""
        started = time.perf_counter()
        match = self._routes.match(scope["method"], scope["path"])
        fields: dict[str, object] = {
            "method": scope["method"],
            "route": match.template if match else None,
            "trace": None,
            "request": None,
            "status": None,
        }
        bytes_in = bytes_out = 0

        async def counting_receive() -> Message:
            nonlocal bytes_in
            with self._activity.waiting:
                message = await receive()
            bytes_in += len(message.get("body", b""))
            return message

        async def counting_send(message: Message) -> None:
            nonlocal bytes_out
            if message["type"] == "http.response.start":
                fields["status"] = message["status"]
            bytes_out += len(message.get("body", b""))
            with self._activity.waiting:
                await send(message)

        app = match.app if match else _no_such_route
        scope["app"] = self._routes.api  # whose paths a refusal may name
        level = logging.INFO
        try:
            with self._activity.working:
                await app(scope, counting_receive, counting_send)
        except (Exception, asyncio.CancelledError) as error:
            level = logging.ERROR
            fields |= describe_error(error)
            raise
        finally:
            if traceparent := scope.get("strongroom.traceparent"):
                fields["trace"] = trace_id(traceparent)
            if content := scope.get(CONTENT):
                bytes_in += content.taken
            fields |= {
                "request": scope.get("strongroom.request"),
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
    - By itself it takes more from whoever comes first than it leaves to others: ``Connections`` says who
      comes in.
    - A request with a body that offers another protocol is refused: the parser would take the body
      for that protocol, and leave the content empty. Other offers are ignored (RFC 9110 section 7.8).
    - What RFC 9112 has a server refuse is refused.
    - By itself it copies every byte of a body three times. Where the head says how long the body is, what
      comes is content: the app has an ``ArrivingBody`` in its scope, and a new parser takes what follows.
    - A client that has sent its request and ends its side of the connection gets its response
      (RFC 9112 section 9.6).

    Args:
        config: uvicorn's.
        server_state: uvicorn's.
        app_state: uvicorn's.
        _loop: uvicorn's.
        connections: Counts the connections of the server.
        activity: Of the process.
    """

    _body_left = 0
    _unparsed = 0
    _idle_bytes = 0
    _progress = False
    _moved = 0
    _unsent = 0
    _refusal: Refusal | None = None

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: Connections,
        activity: Activity,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._connections = connections
        self._activity = activity

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a client, or let it go at once."""
        super().connection_made(ResponseTransport(transport))
        self._connection = transport
        self._look_later()
        entry = self._connections.enter(self._address())
        self._refusal = _FULL.get(entry)
        if entry is Entry.DROPPED:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a client that disconnected."""
        self._connections.leave(self._address())
        self._next_look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client; refuse it when they lead nowhere for too long."""
        self._moved += len(data)
        self._progress = False
        rest = self._take_unparsed(data) if self._unparsed else data
        if rest:
            super().data_received(rest)
            if self._body_left >= UNPARSED_BYTES:
                self._unparsed, self._body_left = self._body_left, 0
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn
                size = len(self.cycle.body) + self._unparsed
                body = ArrivingBody(self, self._connection, size, self._activity)
                self.cycle.scope[CONTENT] = body  # type: ignore[typeddict-unknown-key]
        self._idle_bytes = 0 if self._progress else self._idle_bytes + len(data)
        if self._idle_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(_HEAD_TOO_LARGE)

    def note_content(self, size: int) -> None:
        """Take note of content that was read past this protocol."""
        self._moved += size
        self._unparsed -= size
        if not self._unparsed:
            self.on_message_complete()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Let a client that sends no more have the response to what it has sent."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser, or ``on_headers_complete``, does not take."""
        self._refuse(self._refusal or _NOT_HTTP)

    def on_headers_complete(self) -> None:
        """Take a whole head."""
        if self._refusal is None:
            self._refusal = framing_fault(self.parser.get_http_version(), self.headers)
        if self._refusal is None and self.parser.should_upgrade() and self._has_payload():
            self._refusal = bad_request("Send the request without Upgrade; CONNECT is not taken.")
        if self._refusal is not None:
            raise httptools.HttpParserError(self._refusal.slug)  # leads to send_400_response
        self._progress = True
        self._moved += LEAST_BYTES
        super().on_headers_complete()
        lengths = (int(value) for name, value in self.headers if name == b"content-length")
        self._body_left = next(lengths, 0)  # the parser takes one at most, and none with a coding

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._progress = True
        self._body_left -= len(body)
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

    def _take_unparsed(self, data: bytes) -> bytes:
        """Take what is content of the body that is arriving; return what comes after the body."""
        self._unset_keepalive_if_required()  # a response may have been sent before its request had ended
        content = data[: self._unparsed]
        self._unparsed -= len(content)
        self.on_body(content)
        if not self._unparsed:
            self.on_message_complete()
        return data[len(content) :]

    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _refuse(self, refusal: Refusal) -> None:
        """Respond with a refusal and end the connection."""
        _logger.warning("request refused", extra={"status": refusal.status, "slug": refusal.slug})
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                # What is refused comes after a whole request, whose response it must not be taken for.
                cycle.keep_alive = False
                self.flow.pause_reading()
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.abort()
                return
        self.transport.write(refusal.to_bytes())
        self.transport.close()

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


_no_such_route: Final = RequestTelemetry(StandardHeaders(_respond_no_such_route))
