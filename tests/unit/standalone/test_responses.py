"""How responses leave: a head and the beginning of its body in one call; in order, never lost."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import uvloop

from standalone.responses import LARGE, ResponseTransport

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Calls(asyncio.Transport):
    """A transport that notes its calls."""

    def __init__(self, extra: dict[str, Any] | None = None) -> None:
        super().__init__(extra)
        self.made: list[Any] = []
        self.closing = False
        self.unsent = 7

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.made.append(bytes(data))

    def writelines(self, data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.made.append([bytes(each) for each in data])

    def close(self) -> None:
        self.closing = True
        self.made.append("close")

    def abort(self) -> None:
        self.closing = True
        self.made.append("abort")

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unsent


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def transport(calls: Calls) -> ResponseTransport:
    return ResponseTransport(calls)


async def test_a_head_leaves_with_its_body(transport: ResponseTransport, calls: Calls) -> None:
    transport.write(HEAD)
    assert transport.get_write_buffer_size() == len(HEAD) + 7
    transport.write(memoryview(b"body"))
    transport.write(b"more")
    await asyncio.sleep(0)
    assert calls.made == [[HEAD, b"body"], b"more"]
    assert transport.get_write_buffer_size() == 7


async def test_a_head_waits_for_no_body(transport: ResponseTransport, calls: Calls) -> None:
    transport.write(HEAD)
    await asyncio.sleep(0)
    assert calls.made == [HEAD]
    transport.write(b"body")
    assert calls.made == [HEAD, b"body"]


async def test_a_second_head_leaves_after_the_first(
    transport: ResponseTransport, calls: Calls
) -> None:
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    transport.write(HEAD)
    await asyncio.sleep(0)
    assert calls.made == [[b"HTTP/1.1 100 Continue\r\n\r\n", HEAD]]


async def test_a_head_leaves_before_the_end(transport: ResponseTransport, calls: Calls) -> None:
    transport.write(HEAD)
    transport.close()
    assert transport.is_closing()
    await asyncio.sleep(0)
    assert calls.made == [HEAD, "close"]


async def test_nothing_leaves_after_an_abort(transport: ResponseTransport, calls: Calls) -> None:
    transport.write(HEAD)
    transport.abort()
    await asyncio.sleep(0)
    assert calls.made == ["abort"]


async def test_nothing_leaves_on_a_connection_that_was_lost(
    transport: ResponseTransport, calls: Calls
) -> None:
    transport.write(HEAD)
    calls.closing = True
    await asyncio.sleep(0)
    assert calls.made == []


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end of a connection, which waits for nobody, and the client's."""
    server, client = socket.socketpair()
    with server, client:
        server.setblocking(False)
        yield server, client


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_a_large_part_leaves_at_once_as_far_as_the_connection_takes_it(
    ends: tuple[socket.socket, socket.socket], kind: type
) -> None:
    server, client = ends
    calls = Calls({"socket": server})
    calls.unsent = 0
    content = os.urandom(8 << 20)
    ResponseTransport(calls).write(kind(content))
    [rest] = calls.made
    assert 0 < len(rest) < len(content)
    sent = len(content) - len(rest)
    assert client.recv(sent, socket.MSG_WAITALL) + rest == content


async def test_a_large_part_that_is_taken_whole_leaves_nothing(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    server, client = ends
    calls = Calls({"socket": server})
    calls.unsent = 0
    content = os.urandom(LARGE)
    ResponseTransport(calls).write(content)
    assert calls.made == []
    assert client.recv(LARGE, socket.MSG_WAITALL) == content


@pytest.mark.parametrize("size", [1, LARGE - 1, LARGE])
async def test_nothing_overtakes_what_waits_to_be_sent(
    ends: tuple[socket.socket, socket.socket], size: int
) -> None:
    server, client = ends
    calls = Calls({"socket": server})
    ResponseTransport(calls).write(bytes(size))
    assert calls.made == [bytes(size)]
    assert not select.select([client], [], [], 0)[0]


async def test_a_large_part_for_a_connection_that_was_lost_is_left_to_its_transport(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    server, client = ends
    calls = Calls({"socket": server})
    calls.unsent = 0
    client.close()
    ResponseTransport(calls).write(bytes(LARGE))
    assert calls.made == [bytes(LARGE)]


async def test_nothing_is_sent_on_a_connection_that_is_closing(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    server, client = ends
    calls = Calls({"socket": server})
    calls.unsent, calls.closing = 0, True
    ResponseTransport(calls).write(bytes(LARGE))
    assert not select.select([client], [], [], 0)[0]


async def test_a_connection_with_tls_is_refused() -> None:
    with pytest.raises(ValueError, match="TLS"):
        ResponseTransport(Calls({"sslcontext": object()}))


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_parts_of_every_size_arrive_in_their_order(factory: Any) -> None:
    """Over a real connection whose client takes its time."""
    sizes = [10, LARGE - 1, LARGE, 3 << 20, 10, 1 << 20, 1 << 20, LARGE, 1]
    parts = [os.urandom(size) for size in sizes]

    class Server(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            wrapped = ResponseTransport(transport)
            for part in (HEAD, *parts):
                wrapped.write(part)
            wrapped.close()

    async def exchange() -> bytes:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Server, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        received = b""
        while part := await reader.read(100_000):
            received += part
        writer.close()
        server.close()
        return received

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(exchange()) == HEAD + b"".join(parts)
