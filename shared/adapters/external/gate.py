"""Gate: the only way from targets' clients to the network.

Clients of object stores resolve names themselves, follow redirects and reconnect as they like. So they
get a proxy, in this process and on 127.0.0.1, that they must use for everything: it connects to public
addresses alone, to the very ones that it looked at, and only for TLS. Names that resolve differently the
second time, and redirects to whatever, change nothing.

It speaks ``CONNECT`` of RFC 9110, 9.3.6, and takes a secret of this process, so that nothing else on the
machine can use it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import re
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from shared.adapters.external.dialing import Dialer, NotDialedError, Reason
from shared.ports.clock import Entropy

_MAX_HEADER_BYTES: Final = 8_192
_HANG_UP_SECONDS: Final = 5
_PIECE: Final = 65_536
_REQUEST: Final = re.compile(
    rb"(?P<method>[A-Z]{1,16}) (?P<target>[\x21-\x7e]{1,300}) HTTP/1\.1\r\n"
    rb"(?P<headers>(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e]*\r\n)*)\r\n"
)
"""No header goes on in a second line, and no line ends in anything but CR LF: nobody else reads the
request, so nobody can read it differently, but then nothing that is odd has a place here either."""

_TARGET: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)\]|(?P<host>[^\[\]:/@]+)):(?P<port>\d{1,5})"
)
_STATUSES: Final = {
    Reason.NAME: HTTPStatus.FORBIDDEN,
    Reason.PORT: HTTPStatus.FORBIDDEN,
    Reason.NOT_PUBLIC: HTTPStatus.FORBIDDEN,
    Reason.RESOLVE: HTTPStatus.BAD_GATEWAY,
    Reason.REFUSED: HTTPStatus.BAD_GATEWAY,
    Reason.TIMED_OUT: HTTPStatus.GATEWAY_TIMEOUT,
    Reason.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What the gate bears.

    Attributes:
        connections: At once, those included that have not said who they are.
        connections_per_client: Of one target at once.
        request_seconds: How long a request may take to arrive.
        idle_seconds: How long a tunnel may carry nothing in either direction.
    """

    connections: int = 512
    connections_per_client: int = 64
    request_seconds: float = 10.0
    idle_seconds: float = 120.0


class Gate:
    """A proxy for clients of this process. It listens from the first ``url`` on.

    Args:
        dialer: Connects.
        entropy: Makes the secret.
        limits: What it bears.
    """

    def __init__(self, dialer: Dialer, entropy: Entropy, limits: GateLimits | None = None) -> None:
        self._dialer = dialer
        self._secret = entropy(32).hex()
        self._limits = limits or GateLimits()
        self._starting = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: Counter[str] = Counter()
        self._failures: dict[str, Reason] = {}

    async def url(self, client: str) -> str:
        """The URL of the proxy for one client, secret included; see ``GateClient``."""
        async with self._starting:
            if self._server is None:
                self._server = await asyncio.start_server(
                    self._accept, "127.0.0.1", 0, limit=_PIECE
                )
        port = self._server.sockets[0].getsockname()[1]
        return f"http://{client}:{self._secret}@127.0.0.1:{port}"

    def failure(self, client: str) -> Reason | None:
        """Why the client's last connection was not made; None: it was."""
        return self._failures.get(client)

    def forget(self, client: str) -> None:
        """Drop what is known of a client that will not come again."""
        self._failures.pop(client, None)

    async def close(self) -> None:
        """Stop listening and break every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve_or_refuse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_or_refuse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            if len(self._tasks) > self._limits.connections:
                await _respond(writer, HTTPStatus.SERVICE_UNAVAILABLE)
            else:
                await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            return  # one of the two sides went away
        finally:
            await _hang_up(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            await _respond(writer, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        except TimeoutError:
            await _respond(writer, HTTPStatus.REQUEST_TIMEOUT)
            return
        request = _REQUEST.fullmatch(head)
        if len(head) > _MAX_HEADER_BYTES:
            await _respond(writer, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        if request is None:
            await _respond(writer, HTTPStatus.BAD_REQUEST)
            return
        client = self._client(request["headers"])
        if client is None:
            await _respond(writer, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
        elif request["method"] != b"CONNECT":
            await _respond(writer, HTTPStatus.METHOD_NOT_ALLOWED)
        else:
            await self._connect(client, request["target"].decode(), reader, writer)

    def _client(self, headers: bytes) -> str | None:
        """The client that a request names, if the secret is right."""
        for line in headers.split(b"\r\n"):
            name, _, value = line.partition(b":")
            scheme, _, sent = value.strip().partition(b" ")
            if name.lower() == b"proxy-authorization" and scheme.lower() == b"basic":
                try:
                    client, _, secret = base64.b64decode(sent, validate=True).partition(b":")
                except binascii.Error:
                    return None
                if hmac.compare_digest(secret, self._secret.encode()):
                    return client.decode(errors="replace")
        return None

    async def _connect(
        self,
        client: str,
        target: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if self._open[client] >= self._limits.connections_per_client:
            await self._refuse(client, Reason.BUSY, writer)
            return
        self._open[client] += 1
        try:
            found = _TARGET.fullmatch(target)
            if found is None:
                raise NotDialedError(Reason.NAME)
            there = await self._dialer.dial(found["v6"] or found["host"], int(found["port"]))
        except NotDialedError as error:
            await self._refuse(client, error.reason, writer)
        else:
            self.forget(client)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            try:
                await self._tunnel((reader, writer), there)
            finally:
                await _hang_up(there[1])
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]

    async def _refuse(self, client: str, reason: Reason, writer: asyncio.StreamWriter) -> None:
        self._failures[client] = reason
        await _respond(writer, _STATUSES[reason])

    async def _tunnel(
        self,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Carry bytes both ways until both sides have ended, or nothing comes for too long."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.idle_seconds) as idle:

                async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    while piece := await reader.read(_PIECE):
                        if not idle.expired():
                            idle.reschedule(loop.time() + self._limits.idle_seconds)
                        writer.write(piece)
                        await writer.drain()
                    writer.write_eof()

                try:
                    async with asyncio.TaskGroup() as both:
                        both.create_task(carry(here[0], there[1]))
                        both.create_task(carry(there[0], here[1]))
                except* OSError:
                    pass  # one side broke the connection, so the other one's end comes as well


@dataclass(frozen=True, slots=True)
class GateClient:
    """What one target's client sees of the gate.

    Attributes:
        gate: The gate.
        name: Letters and digits that nobody else uses; the limits are by it.
    """

    gate: Gate
    name: str

    async def url(self) -> str:
        """The URL of the proxy, which holds a secret."""
        return await self.gate.url(self.name)

    def failure(self) -> Reason | None:
        """Why the last connection was not made; None: it was."""
        return self.gate.failure(self.name)

    def close(self) -> None:
        """Forget what is known of the client."""
        self.gate.forget(self.name)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection; what it does not take soon is dropped."""
    writer.close()
    try:
        async with asyncio.timeout(_HANG_UP_SECONDS):
            await writer.wait_closed()
    except OSError:
        writer.transport.abort()


async def _respond(writer: asyncio.StreamWriter, status: HTTPStatus) -> None:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", "Content-Length: 0", "Connection: close"]
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        lines.append('Proxy-Authenticate: Basic realm="targets"')
    writer.write("\r\n".join([*lines, "", ""]).encode())
    await writer.drain()
