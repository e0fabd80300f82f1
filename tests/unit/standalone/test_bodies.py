"""Large bodies over real sockets: each byte arrives where it belongs, and whoever stops is let go."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from functions.api.bodies import CONTENT
from shared.base.activity import Activity
from shared.base.errors import Interrupted
from shared.base.streams import SizedStream
from standalone.connections import Connections
from standalone.frontend import LEAST_BYTES, UNPARSED_BYTES, Frontend, LimitedHttpProtocol
from standalone.routes import RouteTable
from standalone.triggers import HttpFunction
from tests.support.serving import serving

pytestmark = pytest.mark.anyio

SIZE = 2_000_003
BODY = random.Random(5).randbytes(SIZE)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The server runs on uvloop, and where there is none on asyncio's own."""
    return "asyncio", {"use_uvloop": request.param}


def head(size: int = SIZE, *lines: str) -> bytes:
    return "\r\n".join(
        ["POST / HTTP/1.1", "Host: x", f"Content-Length: {size}", *lines, "", ""]
    ).encode()


class App:
    """Reads bodies into memory of so many bytes at a time, ``most`` of each body at most."""

    def __init__(self, step: int, most: int = SIZE) -> None:
        self.step, self.most = step, most
        self.activity = Activity(3_600.0)
        self.bodies: list[bytes] = []
        self.ended: asyncio.Queue[BaseException | None] = asyncio.Queue()
        self.reading = asyncio.Event()
        self.contents: asyncio.Queue[SizedStream] = asyncio.Queue()
        self.steps: asyncio.Queue[int] = asyncio.Queue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self.activity.working:
                await self._respond(scope, receive, send)
        except BaseException as error:
            self.ended.put_nowait(error)
            raise
        self.ended.put_nowait(None)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        content: SizedStream | None = scope.get(CONTENT)
        body = b""
        if content is not None:
            self.contents.put_nowait(content)
            await self.reading.wait()
            while content.left and len(body) < self.most:
                memory = bytearray(min(self.step, content.left))
                await content.read_into(memoryview(memory))
                body += memory
                self.steps.put_nowait(len(memory))
            self.bodies.append(body)
        await Response(str(len(body)))(scope, receive, send)


Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def client_of(app: App, behind: ASGIApp | None = None) -> AsyncIterator[Client]:
    protocol = partial(LimitedHttpProtocol, connections=Connections(), activity=app.activity)
    async with serving(behind or app, http=protocol) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer
        finally:
            writer.close()


async def response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    async with asyncio.timeout(30):
        lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        [size] = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
        return int(lines[0].split()[1]), await reader.readexactly(size)


async def send(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(content)
    await writer.drain()


@pytest.mark.parametrize("step", [1_000, 262_144, 1_048_576, SIZE])
@pytest.mark.parametrize("with_head", [0, 1, UNPARSED_BYTES + 1, SIZE])
@pytest.mark.parametrize("early", [False, True])
async def test_each_byte_arrives_and_what_follows_is_the_next_request(
    step: int, with_head: int, early: bool
) -> None:
    app = App(step)
    async with client_of(app) as (reader, writer):
        for _ in range(2):
            app.reading.clear()
            if early:
                app.reading.set()
            writer.write(head() + BODY[:with_head])
            await asyncio.sleep(0)
            writer.write(BODY[with_head:] + GET)
            app.reading.set()
            assert await response(reader) == (200, str(SIZE).encode())
            assert await response(reader) == (200, b"0")
    assert app.bodies == [BODY, BODY]


@pytest.mark.parametrize("most", [0, 1, 1_000_000])
async def test_what_is_not_wanted_is_skipped(most: int) -> None:
    app = App(500_000, most)
    app.reading.set()
    async with client_of(app) as (reader, writer):
        for _ in range(2):
            writer.write(head() + BODY)
            taken = -(-most // 500_000) * 500_000
            assert await response(reader) == (200, str(taken).encode())
            writer.write(GET)
            assert await response(reader) == (200, b"0")


async def test_who_asks_whether_to_go_on_is_told_once_the_body_is_wanted() -> None:
    app = App(SIZE)
    async with client_of(app) as (reader, writer):
        writer.write(head(SIZE, "Expect: 100-continue"))
        await app.contents.get()
        app.reading.set()
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(BODY)
        assert await response(reader) == (200, str(SIZE).encode())
    assert app.bodies == [BODY]


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(lambda writer: writer.close(), id="closed"),
        pytest.param(lambda writer: writer.transport.abort(), id="reset"),
        pytest.param(lambda writer: writer.write_eof(), id="no more to send"),
    ],
)
@pytest.mark.parametrize("reading", [False, True])
async def test_who_leaves_in_the_middle_ends_the_request(
    leave: Callable[[asyncio.StreamWriter], None], reading: bool
) -> None:
    app = App(SIZE)
    async with client_of(app) as (_, writer):
        writer.write(head() + BODY[: SIZE // 2])
        await app.contents.get()
        if reading:
            app.reading.set()
            await app.activity.idle()
        leave(writer)
        app.reading.set()
        async with asyncio.timeout(30):
            assert isinstance(await app.ended.get(), Interrupted)
    assert app.bodies == []


async def test_nothing_is_read_while_nobody_wants_it() -> None:
    app = App(1_000, most=1_000)
    async with client_of(app) as (_, writer):
        writer.write(head(50_000_000))
        content = await app.contents.get()
        sending = asyncio.create_task(send(writer, bytes(49_999_999)))
        await content.read_into(memoryview(bytearray(1_000)))
        protocol = content._protocol  # type: ignore[attr-defined]
        assert protocol.flow.read_paused
        assert content.left == 49_999_000
        assert not sending.done(), "the connection's own buffers take some of it"
        sending.cancel()
        writer.transport.abort()


async def test_a_request_waits_while_its_body_comes() -> None:
    app = App(SIZE)
    app.reading.set()
    async with client_of(app) as (reader, writer):
        writer.write(head() + BODY[:1_000])
        async with asyncio.timeout(30):
            content = await app.contents.get()
            await app.activity.idle()
        assert content.left == SIZE - 1_000
        writer.write(BODY[1_000:])
        assert await response(reader) == (200, str(SIZE).encode())


async def test_who_stalls_in_a_body_is_let_go_and_who_sends_it_slowly_is_not() -> None:
    app = App(LEAST_BYTES)
    app.reading.set()
    async with client_of(app) as (_, writer), asyncio.timeout(30):
        writer.write(head())
        content = await app.contents.get()
        protocol = content._protocol  # type: ignore[attr-defined]
        protocol._drop_if_stalled()  # the first minute, in which a head came
        for sent in range(0, 3 * LEAST_BYTES, LEAST_BYTES):
            writer.write(BODY[sent : sent + LEAST_BYTES])
            await app.steps.get()
            protocol._drop_if_stalled()
            assert app.ended.empty()
        protocol._drop_if_stalled()
        assert isinstance(await app.ended.get(), Interrupted)


@pytest.mark.parametrize(
    ("size", "most", "taken"), [(5, 5, 5), (SIZE, SIZE, SIZE), (SIZE, 1, 1_000)]
)
async def test_the_line_of_a_request_says_how_much_of_its_body_was_taken(
    caplog: pytest.LogCaptureFixture, size: int, most: int, taken: int
) -> None:
    app = App(1_000, most)
    app.reading.set()

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        if CONTENT not in scope:
            await receive()
        await app(scope, receive, send)

    functions = [HttpFunction("any", "any", frozenset({"POST"}))]
    frontend = Frontend(RouteTable(read, functions, prefix="", mounts={}), app.activity)
    caplog.set_level(logging.INFO, "standalone.http")
    async with client_of(app, frontend) as (reader, writer):
        writer.write(head(size).replace(b"POST /", b"POST /any") + BODY[:size])
        assert (await response(reader))[0] == 200
    assert [line.bytes_in for line in caplog.records if hasattr(line, "bytes_in")] == [taken]


async def test_more_than_is_to_come_is_not_waited_for() -> None:
    app = App(1_000)
    async with client_of(app) as (reader, writer):
        writer.write(head())
        content = await app.contents.get()
        with pytest.raises(ValueError, match="less to come"):
            await content.read_into(memoryview(bytearray(SIZE + 1)))
        app.reading.set()
        writer.write(BODY)
        assert await response(reader) == (200, str(SIZE).encode())


async def test_a_reader_that_is_cancelled_gives_the_connection_back() -> None:
    app = App(1_000)
    async with client_of(app) as (_, writer):
        writer.write(head())
        content = await app.contents.get()
        waiting = asyncio.create_task(content.read_into(memoryview(bytearray(SIZE))))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        transport = content._transport  # type: ignore[attr-defined]
        assert isinstance(transport.get_protocol(), LimitedHttpProtocol)
        assert content.left == SIZE
