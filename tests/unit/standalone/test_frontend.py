"""The host's own end of HTTP: heads without end, clients that stall, requests for other protocols."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import ServerState

from functions.api.app import STANDARD_HEADERS
from shared.base.activity import Activity
from standalone.connections import Connections
from standalone.frontend import (
    LEAST_BYTES,
    MAX_HEAD_BYTES,
    STALL_SECONDS,
    UNPARSED_BYTES,
    Frontend,
    LimitedHttpProtocol,
)
from standalone.routes import RouteTable
from standalone.triggers import HttpFunction
from tests.support.serving import serving

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"


class Transport(asyncio.Transport):
    """A client that a test plays: what it was sent, what it has not taken, how it was let go."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.unsent = 0
        self.aborted = self.closed = False

    def write(self, data: Any) -> None:
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Loop:
    """The test's event loop, on which time passes when the test says so."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: Callable[[], None] | None = None
        self.watch: asyncio.TimerHandle | None = None

    def call_later(self, seconds: float, due: Callable[[], None]) -> asyncio.TimerHandle:
        handle = self._loop.call_later(3_600, due)
        if seconds == STALL_SECONDS:
            self._due, self.watch = due, handle
        return handle

    def pass_time(self) -> None:
        """Let one period of watching pass."""
        due, self._due = self._due, None
        if due is not None:
            due()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class Connection:
    """A protocol and the client at its other end."""

    def __init__(self, connections: Connections | None = None) -> None:
        self.requests: list[Scope] = []
        self.answer = asyncio.Event()
        self.reading = asyncio.Event()
        self.loop = Loop()
        self.client = Transport()
        config = uvicorn.Config(
            self._app, interface="asgi3", ws="none", lifespan="off", log_config=None
        )
        self.protocol = LimitedHttpProtocol(
            config,
            ServerState(),
            {},
            self.loop,  # type: ignore[arg-type]
            connections=connections or Connections(),
            activity=Activity(),
        )
        self.protocol.connection_made(self.client)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests.append(scope)
        await self.reading.wait()
        await receive()
        await self.answer.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    connection = Connection()
    yield connection
    connection.protocol.connection_lost(None)
    connection.reading.set()
    connection.answer.set()
    await connection.settle()


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"CONNECT / HTTP/1.1\r\n\r\n",
    ],
)
async def test_another_protocol_is_refused_before_its_body_is_lost(
    connection: Connection, head: bytes
) -> None:
    connection.protocol.data_received(head.replace(b"1.1\r\n", b"1.1\r\nHost: x\r\n"))
    await connection.settle()
    assert refused(connection.client.sent) == (400, "invalid-input")
    assert connection.client.closed
    assert connection.requests == []


async def test_an_offer_of_another_protocol_is_ignored(connection: Connection) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"
    connection.reading.set()
    connection.answer.set()
    for _ in range(2):
        connection.protocol.data_received(GET.replace(b"\r\n\r\n", b"\r\n" + offer + b"\r\n"))
        await connection.settle()
    assert connection.client.sent.count(b"HTTP/1.1 204 ") == 2
    assert not connection.client.closed


async def test_a_head_has_an_end(connection: Connection) -> None:
    connection.protocol.data_received(b"GET / HTTP/1.1\r\nX: ")
    connection.protocol.data_received(b"a" * (MAX_HEAD_BYTES - 100))
    assert not connection.client.closed
    connection.protocol.data_received(b"a" * 100)
    assert refused(connection.client.sent) == (431, "head-too-large")
    assert connection.client.closed


def refused(sent: bytes) -> tuple[int, str]:
    """The status and the problem of the only response that was sent."""
    head, _, body = sent.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = dict(line.decode().lower().split(": ", 1) for line in lines)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert int(headers["content-length"]) == len(body)
    assert {name.lower() for name in STANDARD_HEADERS} <= set(headers)
    problem = json.loads(body)
    assert problem["status"] == int(status.split()[1])
    assert problem["instance"].startswith("urn:strongroom:trace:")
    assert problem["request"] == headers["request-id"]
    assert problem["detail"].endswith(".")
    return problem["status"], problem["type"].removeprefix("urn:strongroom:problem:")


CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked", 501),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            501,
        ),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity, chunked", 501),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", 400),
        (b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", 400),
        (b"GET / HTTP/1.1\r\nAccept: */*", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x", 400),
        (b"GET / HTTP/1.1\r\nHost:", 400),
        (b"GET / HTTP/1.1\r\nHost: a b", 400),
        (b"GET / HTTP/1.1\r\nHost: user@x", 400),
        (b"GET / HTTP/1.1\r\nHost: x/y", 400),
        (b"GET / HTTP/1.1\r\nHost: x, y:1:2", 400),
        (b"GET / HTTP/1.0\r\nHost: a b", 400),
        (b"GET / HTTP/2.0\r\nHost: x", 505),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA\x00: b", 400),
        (b"nothing that is HTTP", 400),
    ],
)
async def test_a_head_that_rfc_9112_refuses(
    connection: Connection, head: bytes, status: int
) -> None:
    connection.reading.set()
    connection.answer.set()
    connection.protocol.data_received(head + b"\r\n\r\n" + CHUNKED)
    await connection.settle()
    assert refused(connection.client.sent)[0] == status
    assert connection.client.closed
    assert connection.requests == []


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked",
        b"GET / HTTP/1.1\r\nHost: x:7071",
        b"GET / HTTP/1.1\r\nHost: [2001:db8::7]:7071",
        b"GET / HTTP/1.1\r\nHost: 203.0.113.7",
        b"GET / HTTP/1.1\r\nHost: xn--a.example:",
        b"GET http://x/ HTTP/1.1\r\nHost: x",
        b"GET / HTTP/1.0\r\nAccept: */*",
        b"GET / HTTP/1.0\r\nHost: x",
    ],
)
async def test_a_head_that_rfc_9112_takes(connection: Connection, head: bytes) -> None:
    connection.reading.set()
    connection.answer.set()
    body = CHUNKED if head.startswith(b"POST") else b""
    connection.protocol.data_received(head + b"\r\n\r\n" + body)
    await connection.settle()
    assert connection.client.sent.startswith(b"HTTP/1.1 204 ")
    assert len(connection.requests) == 1


async def test_what_follows_a_whole_request_does_not_take_its_response(
    connection: Connection,
) -> None:
    connection.reading.set()
    connection.protocol.data_received(GET + b"no HTTP at all\r\n\r\n")
    await connection.settle()
    assert connection.client.sent == b""
    connection.answer.set()
    await connection.settle()
    assert connection.client.sent.startswith(b"HTTP/1.1 204 ")
    assert connection.client.sent.count(b"HTTP/1.1 ") == 1
    assert connection.client.closed


async def test_a_body_that_breaks_ends_its_request(connection: Connection) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.reading.set()
    connection.protocol.data_received(head)
    await connection.settle()
    connection.protocol.data_received(b"this is no size\r\n")
    connection.answer.set()
    await connection.settle()
    assert refused(connection.client.sent) == (400, "invalid-input")
    assert connection.client.closed


class Reader(Connection):
    """A connection whose app reads whole bodies, in the pieces in which they come."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[list[bytes]] = []

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        pieces: list[bytes] = []
        more = True
        while more:
            message = await receive()
            pieces.append(message["body"])
            more = message["more_body"]
        self.bodies.append(pieces)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@pytest.mark.parametrize("with_head", [0, 1, UNPARSED_BYTES])
@pytest.mark.parametrize("with_next", [0, 1, UNPARSED_BYTES])
async def test_a_long_body_ends_where_its_head_says_however_it_is_read(
    with_head: int, with_next: int
) -> None:
    body = random.Random(1).randbytes(3 * UNPARSED_BYTES)
    head = POST.replace(b"1000000", str(len(body)).encode())
    last = len(body) - with_next
    reader = Reader()
    for _ in range(2):
        reader.protocol.data_received(head + body[:with_head])
        await reader.settle()
        for read in (body[with_head : with_head + 7], body[with_head + 7 : last]):
            reader.protocol.data_received(read)
            await reader.settle()
        reader.protocol.data_received(body[last:] + GET)
        await reader.settle()
    reader.protocol.connection_lost(None)
    assert [b"".join(pieces) for pieces in reader.bodies] == [body, b"", body, b""]
    assert reader.client.sent.count(b"HTTP/1.1 204 ") == 4


async def test_what_follows_a_long_body_is_held_to_http() -> None:
    reader = Reader()
    reader.protocol.data_received(POST)
    await reader.settle()
    reader.protocol.data_received(bytes(1_000_000) + b"no HTTP at all\r\n\r\n")
    await reader.settle()
    reader.protocol.connection_lost(None)
    assert reader.client.sent.startswith(b"HTTP/1.1 204 ")
    assert reader.client.sent.count(b"HTTP/1.1 ") == 1
    assert reader.client.closed


async def answer_early(connection: Connection, part: bytes) -> None:
    """Let a request that begins to send a long body have its response before the rest of it."""
    connection.reading.set()
    connection.answer.set()
    connection.protocol.data_received(POST + part)
    await connection.settle()
    assert connection.client.sent.count(b"HTTP/1.1 204 ") == 1


async def test_the_rest_of_a_long_body_that_is_not_wanted_is_skipped(
    connection: Connection,
) -> None:
    await answer_early(connection, b"part")
    for rest in (bytes(500_000), bytes(499_996) + GET[:9]):
        connection.protocol.data_received(rest)
    connection.protocol.data_received(GET[9:])
    await connection.settle()
    assert [scope["method"] for scope in connection.requests] == ["POST", "GET"]
    assert connection.client.sent.count(b"HTTP/1.1 204 ") == 2


async def test_who_has_sent_a_request_and_ends_their_side_gets_the_response(
    connection: Connection,
) -> None:
    connection.reading.set()
    connection.protocol.data_received(POST.replace(b"1000000", b"4") + b"body")
    assert connection.protocol.eof_received(), "or the connection is closed at once"
    connection.answer.set()
    await connection.settle()
    assert b" 204 " in connection.client.sent
    assert b"connection: close" in connection.client.sent
    assert connection.client.closed


@pytest.mark.parametrize("sent", [b"", b"GET / HT", POST + b"half"])
async def test_who_ends_their_side_in_the_middle_is_let_go(
    connection: Connection, sent: bytes
) -> None:
    connection.reading.set()
    if sent:
        connection.protocol.data_received(sent)
    await connection.settle()
    assert not connection.protocol.eof_received()


async def test_who_has_no_place_gets_a_response_or_is_dropped() -> None:
    connections = Connections(8)
    clients = [Connection(connections) for _ in range(3)]
    for each in clients[:2]:
        each.reading.set()
        each.answer.set()
        each.protocol.data_received(GET)
        await each.settle()
        assert each.client.sent.startswith(b"HTTP/1.1 204 ")
    assert clients[2].client.aborted
    assert clients[2].client.sent == b""

    clients[0].protocol.connection_lost(None)
    clients[2].protocol.connection_lost(None)
    again = Connection(connections)
    assert not again.client.aborted
    for each in (clients[1], again):
        each.protocol.connection_lost(None)


async def test_who_has_one_connection_too_many_is_told_so() -> None:
    connections = Connections(40)
    clients = [Connection(connections) for _ in range(11)]
    clients[-1].protocol.data_received(GET)
    assert refused(clients[-1].client.sent) == (429, "rate-limited")
    assert b"retry-after: " in clients[-1].client.sent
    assert clients[-1].requests == []
    for each in clients:
        each.protocol.connection_lost(None)


@pytest.mark.parametrize(
    "drips", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX: a"]
)
async def test_who_sends_no_whole_head_is_let_go(connection: Connection, drips: bytes) -> None:
    if drips:
        connection.protocol.data_received(drips)
    connection.loop.pass_time()
    assert connection.client.aborted


async def test_who_stalls_in_a_body_is_let_go(connection: Connection) -> None:
    connection.protocol.data_received(POST)
    await connection.settle()
    for _ in range(3):
        connection.loop.pass_time()
        assert not connection.client.aborted
        connection.protocol.data_received(bytes(LEAST_BYTES))
    connection.loop.pass_time()
    connection.protocol.data_received(bytes(LEAST_BYTES - 1))
    connection.loop.pass_time()
    assert connection.client.aborted


async def test_who_goes_on_sending_a_refused_body_drop_by_drop_is_let_go(
    connection: Connection,
) -> None:
    await answer_early(connection, b"x")
    connection.loop.pass_time()
    connection.protocol.data_received(b"x")
    connection.loop.pass_time()
    assert connection.client.aborted


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(GET, id="the answer takes long"),
        pytest.param(POST + bytes(70_000), id="the body is not being read"),
        pytest.param(
            POST.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"), id="it was told to wait"
        ),
    ],
)
async def test_who_waits_for_us_is_kept(connection: Connection, sent: bytes) -> None:
    connection.protocol.data_received(sent)
    await connection.settle()
    for _ in range(5):
        connection.loop.pass_time()
    assert len(connection.requests) == 1
    assert not connection.client.aborted


async def test_who_takes_no_answer_is_let_go_and_who_takes_it_slowly_is_not(
    connection: Connection,
) -> None:
    connection.protocol.data_received(GET)
    connection.loop.pass_time()
    connection.client.unsent = 1_000_000
    connection.protocol.pause_writing()
    connection.loop.pass_time()
    for _ in range(5):
        connection.client.unsent -= LEAST_BYTES
        connection.loop.pass_time()
        assert not connection.client.aborted
    connection.protocol.resume_writing()
    connection.client.unsent = 2_000_000
    connection.protocol.pause_writing()
    connection.loop.pass_time()
    assert not connection.client.aborted, "more was written meanwhile"
    connection.client.unsent -= LEAST_BYTES - 1
    connection.loop.pass_time()
    assert connection.client.aborted


async def test_a_client_that_left_is_not_watched(connection: Connection) -> None:
    connection.protocol.connection_lost(None)
    assert connection.loop.watch is not None
    assert connection.loop.watch.cancelled()


async def api(*_: object) -> None:
    raise AssertionError("no function takes this")


async def test_a_path_that_no_function_takes_has_the_response_of_the_api() -> None:
    frontend = Frontend(RouteTable(api, [], prefix="api", mounts={}), Activity())
    transport = httpx.ASGITransport(app=frontend)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as http:
        answer = await http.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert {name: answer.headers[name] for name in STANDARD_HEADERS} == STANDARD_HEADERS
    trace = answer.headers["traceparent"].split("-")[1]
    assert answer.json() == {
        "type": "urn:strongroom:problem:no-such-route",
        "title": "There is no such path",
        "status": 404,
        "detail": "See /api/v1/docs for every path.",
        "instance": f"urn:strongroom:trace:{trace}",
        "request": answer.headers["request-id"],
    }


@pytest.mark.parametrize("size", [0, 5, 2_000_000])
async def test_over_a_socket_a_request_that_ends_its_side_is_served_whole(size: int) -> None:
    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        received = 0
        async for piece in Request(scope, receive).stream():
            received += len(piece)
        await Response(str(received))(scope, receive, send)

    protocol = partial(LimitedHttpProtocol, connections=Connections(), activity=Activity())
    async with serving(count, http=protocol) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
        writer.write(head.encode() + bytes(size))
        writer.write_eof()
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(f"\r\n\r\n{size}".encode())


async def test_a_request_is_at_work_but_while_it_waits_for_its_client() -> None:
    activity, at_work = Activity(3_600.0), dict[str, bool]()

    async def look(when: str) -> None:
        waiter = asyncio.create_task(activity.idle())
        await asyncio.sleep(0)
        at_work[when] = not waiter.done()
        waiter.cancel()

    async def receive() -> Message:
        await look("reading")
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Message) -> None:
        await look("sending")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await look("before")
        await receive()
        await look("between")
        await send({"type": "http.response.body", "body": b""})

    functions = [HttpFunction("any", "any", frozenset({"GET"}))]
    frontend = Frontend(RouteTable(app, functions, prefix="", mounts={}), activity)
    await frontend({"type": "http", "method": "GET", "path": "/any"}, receive, send)
    await look("after")
    assert at_work == {
        "before": True,
        "reading": False,
        "between": True,
        "sending": False,
        "after": False,
    }
