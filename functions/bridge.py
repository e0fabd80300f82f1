"""The streaming bridge: run an ASGI app inside an HTTP-triggered function.

The Functions worker serves HTTP with an ASGI server of its own. It hands a function the request and
sends off the response that the function returns. The bridge gives the app that server's channel in
both directions, so that nothing is buffered and back-pressure passes through.

``Request`` and ``StreamingResponse`` are the very classes that the worker's streaming extension
(``azurefunctions.extensions.http.fastapi``) has under these names.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLIENT_CLOSED_REQUEST: Final = 499
"""The status that servers log when the client disconnected before the response was sent."""

_DISCONNECT: Final[Message] = {"type": "http.disconnect"}
_HTTP_SCOPE: Final = {
    *("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string"),
    *("root_path", "headers", "client", "server", "extensions"),
}
"""The scope's keys in the ASGI HTTP specification; the worker's own router has added others."""


async def respond(app: ASGIApp, request: Request) -> StreamingResponse:
    """Let ``app`` respond to ``request``.

    Returns:
        The app's response, with its status and its headers exactly as the app gave them. Its body
        flows from the app to the client when the worker's server runs it.

    Raises:
        Exception: What the app raised before it started its response. What it raises later comes
            out of the response instead, and breaks the connection: no client takes a part for the whole.
    """
    exchange = _Exchange(app, request)
    start = await exchange.response_start()
    return _BridgedResponse(exchange, start)


class _Exchange:
    """One run of the app, between the request's channel and a response's that comes later.

    It alone reads the channel: a second reader would take messages from the first.
    """

    def __init__(self, app: ASGIApp, request: Request) -> None:
        scope: Scope = {key: value for key, value in request.scope.items() if key in _HTTP_SCOPE}
        self._channel: Receive = request.receive
        self._body_expected = _has_body(scope)
        self._body_wanted = asyncio.Event()
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._disconnected = False
        self._response_complete = False
        self._start: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._client: asyncio.Future[Send] = asyncio.get_running_loop().create_future()
        self._app = asyncio.ensure_future(app(scope, self._receive, self._send))
        self._reader = asyncio.create_task(self._read())

    async def response_start(self) -> Message:
        """Wait for the app's ``http.response.start``."""
        try:
            either: set[asyncio.Future[Any]] = {self._app, self._start}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._end()
            raise
        if self._start.done():
            return self._start.result()
        self._end()
        if self._app.cancelled():
            return {"type": "http.response.start", "status": CLIENT_CLOSED_REQUEST, "headers": []}
        self._app.result()
        raise RuntimeError("The app returned without a response.")

    async def relay(self, start: Message, send: Send) -> None:
        """Pass the response on to the client, and end with the app."""
        try:
            if not self._app.cancelled():
                await send(start)
                self._client.set_result(send)
                await asyncio.wait({self._app})
        finally:
            self._end()
        if not self._app.cancelled():
            self._app.result()

    def _end(self) -> None:
        self._reader.cancel()
        self._app.cancel()

    async def _receive(self) -> Message:
        if self._disconnected and self._received.empty():
            return _DISCONNECT
        self._body_wanted.set()
        return await self._received.get()

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start.set_result(message)
            return
        send = await self._client
        if not message.get("more_body", False):
            self._response_complete = True
        await send(message)

    async def _read(self) -> None:
        """Read the body as the app asks for it, then watch for the client to disconnect.

        Reading ahead would respond to ``Expect: 100-continue`` before the app has decided to.
        """
        try:
            while True:
                if self._body_expected:
                    await self._body_wanted.wait()
                    self._body_wanted.clear()
                message = await self._channel()
                if message["type"] == "http.disconnect":
                    break
                self._body_expected = message.get("more_body", False)
                self._received.put_nowait(message)
        finally:  # a channel that breaks has lost the client as well
            self._disconnected = True
            self._received.put_nowait(_DISCONNECT)
            # After a whole response this is its ordinary end: what the app does then, it may finish.
            if not self._response_complete:
                self._app.cancel()


class _BridgedResponse(StreamingResponse):
    """A response that the app writes itself.

    The base class would read the request's channel to notice a disconnect, and so swallow body that
    the app has yet to read.
    """

    def __init__(self, exchange: _Exchange, start: Message) -> None:
        super().__init__((), status_code=start["status"])
        self.raw_headers = list(start["headers"])
        self._exchange = exchange
        self._start = start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._exchange.relay(self._start, send)


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )
