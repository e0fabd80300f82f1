"""Attacks on the gate, and on what lies behind it, over real sockets.

Where a test needs a public address, 127.0.0.2 plays it; all others of this machine are private.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest

from shared.adapters.external.addresses import IPAddress
from shared.adapters.external.dialing import Dialer, Reason
from shared.adapters.external.gate import Gate, GateClient, GateLimits
from shared.ports.clock import system_entropy

pytestmark = pytest.mark.anyio

PUBLIC = ip_address("127.0.0.2")
PATIENCE = 10


def is_public_here(address: IPAddress) -> bool:
    return address == PUBLIC


class Origin:
    """Sends back in capitals what it gets; counts who came."""

    def __init__(self) -> None:
        self.visits = 0
        self.port = 0
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        with contextlib.suppress(OSError):
            while piece := await reader.read(65_536):
                writer.write(piece.upper())
                await writer.drain()
            writer.write(b"THE END")
            await writer.drain()
        self.ended.set()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def origin(host: str, port: int = 0) -> AsyncIterator[Origin]:
    made = Origin()
    server = await asyncio.start_server(made.serve, host, port)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


class Resolver:
    """Answers with one list after the other; the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answer:
            raise OSError("no such name")
        return answer


@asynccontextmanager
async def gate(dialer: Dialer, limits: GateLimits | None = None) -> AsyncIterator[GateClient]:
    made = Gate(dialer, system_entropy, limits)
    try:
        yield GateClient(made, "target1")
    finally:
        await made.close()


def asked(dialer: Dialer) -> list[str]:
    """What a dialer of this file resolved."""
    assert isinstance(dialer.resolver, Resolver)
    return dialer.resolver.asked


def local(*answers: Sequence[str], **changed: float) -> Dialer:
    """A dialer for which one address of this machine is public, on every port."""
    resolver = Resolver(*answers or [[str(PUBLIC)]])
    return Dialer(resolver=resolver, allows=is_public_here, ports=None, **changed)


class Client:
    """One connection to the gate."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def response(self) -> int:
        """The status; 0: the connection was closed without one."""
        async with asyncio.timeout(PATIENCE):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionResetError):
                return 0
        return int(head.split()[1])

    async def rest(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


@asynccontextmanager
async def connection(client: GateClient) -> AsyncIterator[Client]:
    url = urlsplit(await client.url())
    assert (url.scheme, url.hostname) == ("http", "127.0.0.1")
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def authorization(client: GateClient) -> bytes:
    url = urlsplit(await client.url())
    sent = base64.b64encode(f"{url.username}:{url.password}".encode())
    return b"Proxy-Authorization: Basic " + sent + b"\r\n"


async def connect(client: GateClient, target: str) -> int:
    """The status that a CONNECT gets."""
    async with connection(client) as opened:
        await opened.send(await request(client, target))
        return await opened.response()


async def request(client: GateClient, target: str) -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n".encode() + (
        await authorization(client) + b"\r\n"
    )


async def test_a_tunnel_carries_both_ways_and_each_way_to_its_end():
    async with origin(str(PUBLIC)) as there, gate(local()) as client:
        async with connection(client) as opened:
            await opened.send(await request(client, f"store.example.com:{there.port}"))
            assert await opened.response() == 200
            await opened.send(b"a" * 1_000_000)
            opened.writer.write_eof()
            assert await opened.rest() == b"A" * 1_000_000 + b"THE END"
        assert client.failure() is None


async def test_what_follows_the_request_at_once_is_carried():
    async with origin(str(PUBLIC)) as there, gate(local()) as client, connection(client) as opened:
        await opened.send(await request(client, f"a.example:{there.port}") + b"early")
        opened.writer.write_eof()
        assert await opened.response() == 200
        assert await opened.rest() == b"EARLYTHE END"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Proxy-Authorization: Basic\r\n",
        b"Proxy-Authorization: Basic !!!\r\n",
        b"Proxy-Authorization: Basic " + base64.b64encode(b"target1:") + b"\r\n",
        b"Proxy-Authorization: Basic " + base64.b64encode(b"target1:" + b"0" * 64) + b"\r\n",
        b"Proxy-Authorization: Bearer " + b"0" * 64 + b"\r\n",
        b"Authorization: Basic " + base64.b64encode(b"target1:x") + b"\r\n",
    ],
)
async def test_who_does_not_know_the_secret_gets_nothing(header):
    async with origin(str(PUBLIC)) as there, gate(local()) as client:
        async with connection(client) as opened:
            target = f"a.example:{there.port}".encode()
            await opened.send(b"CONNECT " + target + b" HTTP/1.1\r\n" + header + b"\r\n")
            assert await opened.response() == 407
            assert await opened.rest() == b""
        assert there.visits == 0
        assert asked(client.gate._dialer) == []


async def test_each_gate_has_a_secret_of_its_own():
    async with gate(local()) as one, gate(local()) as other:
        assert await authorization(one) != await authorization(other)
        assert len(urlsplit(await one.url()).password or "") == 64


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "HEAD", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("target", ["http://{}/", "https://{}/", "{}", "/", "*"])
async def test_plain_http_is_not_carried(method, target):
    async with origin(str(PUBLIC)) as there, gate(local()) as client:
        async with connection(client) as opened:
            asked = target.format(f"a.example:{there.port}")
            line = f"{method} {asked} HTTP/1.1\r\n".encode()
            await opened.send(line + await authorization(client) + b"\r\n")
            assert await opened.response() == 405
        assert there.visits == 0


@pytest.mark.parametrize(
    "line",
    [
        b"CONNECT a.example:443 HTTP/1.0\r\n",
        b"CONNECT a.example:443 HTTP/2\r\n",
        b"CONNECT a.example:443\r\n",
        b"CONNECT  a.example:443 HTTP/1.1\r\n",
        b"connect a.example:443 HTTP/1.1\r\n",
        b"CONNECT a.example:443 HTTP/1.1 \r\n",
        b"CONNECT a.example:443 HTTP/1.1\n",
        b"CONNECT a.example:443\x00 HTTP/1.1\r\n",
        b"CONNECT a.example:443\rX HTTP/1.1\r\n",
        b"CONNECT a.ex\xc3\xa4mple:443 HTTP/1.1\r\n",
        b" CONNECT a.example:443 HTTP/1.1\r\n",
        b"\r\nCONNECT a.example:443 HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    ],
    ids=range(13),
)
async def test_a_malformed_request_line_is_refused(line):
    async with gate(local()) as client, connection(client) as opened:
        await opened.send(line + await authorization(client) + b"\r\n")
        assert await opened.response() == 400


@pytest.mark.parametrize(
    "header",
    [
        b"X: a\nY: b\r\n",
        b"X: a\rY: b\r\n",
        b"X: a\r\n Y: b\r\n",
        b"X : a\r\n",
        b"X\r\n",
        b": a\r\n",
        b"X: a\x00\r\n",
        b"X: \xff\r\n",
    ],
)
async def test_a_malformed_header_is_refused(header):
    async with gate(local()) as client, connection(client) as opened:
        sent = (
            b"CONNECT a.example:443 HTTP/1.1\r\n" + header + await authorization(client) + b"\r\n"
        )
        await opened.send(sent)
        assert await opened.response() == 400


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""])
@pytest.mark.parametrize("size", [8_192, 70_000, 1_000_000])
async def test_headers_without_end_are_refused(size, end):
    if size < 65_536 and not end:
        return  # that one is slow, not long
    async with gate(local()) as client, connection(client) as opened:
        with contextlib.suppress(ConnectionError):
            head = b"CONNECT a.example:443 HTTP/1.1\r\n" + await authorization(client) + b"X: "
            await opened.send(head + b"x" * size + end)
        assert await opened.response() in {431, 0}  # 0: it hung up before all was sent


@pytest.mark.parametrize("sent", [b"", b"CONNECT a.exa"])
async def test_a_client_that_does_not_go_on_is_dropped(sent):
    async with (
        gate(local(), GateLimits(request_seconds=0.05)) as client,
        connection(client) as opened,
    ):
        await opened.send(sent)
        assert await opened.response() == 408
        assert await opened.rest() == b""


async def test_a_tunnel_that_carries_nothing_is_closed_on_both_sides():
    limits = GateLimits(idle_seconds=0.05)
    async with origin(str(PUBLIC)) as there, gate(local(), limits) as client:
        async with connection(client) as opened:
            await opened.send(await request(client, f"a.example:{there.port}"))
            assert await opened.response() == 200
            assert await opened.rest() in {b"", b"THE END"}
        await there.ended.wait()


async def test_connections_are_limited_and_come_back():
    limits = GateLimits(connections=3)
    async with origin(str(PUBLIC)) as there, gate(local(), limits) as client:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                opened = await stack.enter_async_context(connection(client))
                await opened.send(await request(client, f"a.example:{there.port}"))
                assert await opened.response() == 200
            assert await connect(client, f"a.example:{there.port}") in {503, 0}
        statuses = [await connect(client, f"a.example:{there.port}") for _ in range(50)]
        assert 200 in statuses


async def test_one_target_cannot_take_the_connections_of_others():
    limits = GateLimits(connections_per_client=2)
    async with origin(str(PUBLIC)) as there, gate(local(), limits) as client:
        other = GateClient(client.gate, "target2")
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(2):
                opened = await stack.enter_async_context(connection(client))
                await opened.send(await request(client, f"a.example:{there.port}"))
                assert await opened.response() == 200
            assert await connect(client, f"a.example:{there.port}") == 503
            assert client.failure() is Reason.BUSY
            assert await connect(other, f"a.example:{there.port}") == 200


PRIVATE = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "168.63.129.16", "100.64.0.1", "0.0.0.0"]
PRIVATE_V6 = ["::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "fd00::1"]


@pytest.mark.parametrize("address", [*PRIVATE, *PRIVATE_V6])
async def test_names_and_literals_of_private_addresses_are_refused(address):
    dialer = Dialer(resolver=Resolver([address]))
    literal = f"[{address}]" if ":" in address else address
    async with gate(dialer) as client:
        for host in ("innocent.example.com", literal):
            assert await connect(client, f"{host}:443") == 403
            assert client.failure() is Reason.NOT_PUBLIC


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "127.1",
        "127.0.0.1.",
        "localhost",
        "localhost.",
        "[127.0.0.1]",
        "[::1%25lo]",
        "[]",
        "user@127.0.0.1",
        "127.0.0.1%00.example.com",
        "127.0.0.1#.example.com",
        "127.0.0.1/.example.com",
        "http://127.0.0.1",
        "a.example:443:127.0.0.1",
        "::1",
        "a..example",
    ],
)
async def test_other_ways_to_write_an_address_are_refused_unresolved(host):
    dialer = Dialer(resolver=Resolver(["127.0.0.1"]), allows=lambda _: True)
    async with gate(dialer) as client:
        assert await connect(client, f"{host}:443") == 403
        assert asked(dialer) == []


@pytest.mark.parametrize("port", ["80", "22", "8443", "0", "65536", "99999", "00443x", "-1", ""])
async def test_other_ports_are_refused(port):
    dialer = Dialer(resolver=Resolver(["127.0.0.1"]), allows=lambda _: True)
    async with gate(dialer) as client:
        assert await connect(client, f"a.example:{port}") == 403
        assert asked(dialer) == []


async def test_a_name_that_resolves_differently_the_second_time_leads_nowhere():
    dialer = local([str(PUBLIC)], ["127.0.0.1"], [str(PUBLIC)])
    async with origin(str(PUBLIC)) as there, origin("127.0.0.1", there.port) as private:
        async with gate(dialer) as client:
            target = f"rebinding.example.com:{there.port}"
            assert [await connect(client, target) for _ in range(3)] == [200, 403, 200]
        assert asked(dialer) == ["rebinding.example.com"] * 3  # once a connection
        assert (there.visits, private.visits) == (2, 0)


async def test_of_several_addresses_only_the_public_ones_are_tried():
    dialer = local(["127.0.0.1", "::1", str(PUBLIC), "127.0.0.3"])
    async with origin(str(PUBLIC)) as there, origin("127.0.0.1", there.port) as private:
        async with gate(dialer) as client:
            assert await connect(client, f"mixed.example.com:{there.port}") == 200
        assert (there.visits, private.visits) == (1, 0)


async def test_a_private_address_is_not_tried_when_the_public_one_refuses():
    async with origin("127.0.0.1") as private:
        async with gate(local([str(PUBLIC), "127.0.0.1"])) as client:
            assert await connect(client, f"mixed.example.com:{private.port}") == 502
            assert client.failure() is Reason.REFUSED
        assert private.visits == 0


async def test_why_nothing_was_connected_is_known_until_something_is():
    async with origin(str(PUBLIC)) as there, gate(local([], [str(PUBLIC)])) as client:
        assert await connect(client, f"a.example:{there.port}") == 502
        assert client.failure() is Reason.RESOLVE
        assert await connect(client, f"a.example:{there.port}") == 200
        assert client.failure() is None


async def test_a_name_that_takes_too_long_is_given_up():
    async def never(_name: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with gate(Dialer(resolver=never, timeout=0.05)) as client:
        assert await connect(client, "slow.example.com:443") == 504
        assert client.failure() is Reason.TIMED_OUT


async def test_a_side_that_breaks_its_connection_ends_the_tunnel():
    async def broken(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(broken, str(PUBLIC), 0)
    port = server.sockets[0].getsockname()[1]
    async with gate(local()) as client, connection(client) as opened:
        await opened.send(await request(client, f"a.example:{port}"))
        await opened.response()
        assert await opened.rest() == b""
    server.close()


async def test_closing_breaks_tunnels_and_listens_no_more():
    async with origin(str(PUBLIC)) as there, gate(local()) as client, connection(client) as opened:
        await opened.send(await request(client, f"a.example:{there.port}"))
        assert await opened.response() == 200
        url = urlsplit(await client.url())
        await client.gate.close()
        assert await opened.rest() == b""
        with pytest.raises(OSError):
            await asyncio.open_connection(url.hostname, url.port)
