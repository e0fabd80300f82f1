"""The streaming bridge, mounted as the Functions worker mounts it, on a real server and sockets."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import fastapi
import fastapi.responses
import pytest
from azurefunctions.extensions.http import fastapi as extension
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.bridge import CLIENT_CLOSED_REQUEST, respond
from tests.support.serving import serving

pytestmark = pytest.mark.anyio

MEBIBYTE = 1 << 20
BIG = 64 * MEBIBYTE


@asynccontextmanager
async def bridged(app: ASGIApp) -> AsyncIterator[int]:
    """Serve ``app`` behind the bridge, as the worker does: one catch-all route of a FastAPI app."""
    worker = fastapi.FastAPI()

    @worker.api_route("/{path:path}", methods=["GET", "POST", "HEAD"])
    async def catch_all(request: fastapi.Request) -> Response:
        return await respond(app, request)

    async with serving(worker) as port:
        yield port


async def exchange(port: int, request: bytes) -> bytes:
    """Send one request and read until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


def get(path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def test_the_extension_knows_the_bridge_types_as_its_own() -> None:
    assert extension.Request is fastapi.Request
    assert extension.StreamingResponse is fastapi.responses.StreamingResponse


async def test_status_and_headers_arrive_exactly_duplicates_included() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            start(418, (b"x-twice", b"one"), (b"x-twice", b"two"), (b"content-length", b"3"))
        )
        await send(body(b"tea"))

    async with bridged(app) as port:
        head, _, content = (await exchange(port, get())).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 418 ")
    assert [line for line in head.split(b"\r\n") if line.startswith(b"x-twice")] == [
        b"x-twice: one",
        b"x-twice: two",
    ]
    assert b"content-length: 3" in head
    assert b"transfer-encoding" not in head
    assert b"content-type" not in head
    assert content == b"tea"


async def test_the_app_sees_the_request_and_nothing_of_the_workers_router() -> None:
    seen: Scope = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(scope)
        await Response(status_code=204)(scope, receive, send)

    async with bridged(app) as port:
        await exchange(port, get("/api/v1/documents/a%2Fb?limit=2"))
    assert seen["path"] == "/api/v1/documents/a/b"
    assert seen["raw_path"] == b"/api/v1/documents/a%2Fb"
    assert seen["query_string"] == b"limit=2"
    assert not seen.keys() & {"path_params", "router", "route", "endpoint", "app"}


async def test_64_mb_stream_both_ways_at_once() -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        response = StreamingResponse(Request(scope, receive).stream())
        # An app that answers while it reads must not share the channel with a disconnect listener.
        await response.stream_response(send)

    block = hashlib.sha256(b"block").digest() * (MEBIBYTE // 32)

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(BIG // MEBIBYTE):
            writer.write(b"%x\r\n" % MEBIBYTE + block + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async with bridged(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writing = asyncio.create_task(write(writer))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        digest, size = hashlib.sha256(), 0
        while length := int(await reader.readline(), 16):
            digest.update(await reader.readexactly(length))
            size += length
            await reader.readexactly(2)
        await writing
        writer.close()
    assert size == BIG
    assert digest.digest() == hashlib.sha256(block * (BIG // MEBIBYTE)).digest()


async def test_a_slow_client_slows_the_app_down() -> None:
    sent = 0

    async def pour(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start(200, (b"content-length", str(BIG).encode())))
        for _ in range(BIG // 65536):
            await send(body(bytes(65536), more=True))
            sent += 65536
        await send(body(b""))

    async with bridged(pour) as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=connection, limit=65536)
            writer.write(get())
            await reader.readuntil(b"\r\n\r\n")
            read = 0
            while read < BIG:
                read += len(await reader.read(65536))
                # What the kernel holds for a loopback connection stays well below this.
                assert sent - read < 24 * MEBIBYTE
            writer.close()


async def test_a_body_is_not_asked_for_before_the_app_wants_it() -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await Response("no", status_code=413)(scope, receive, send)

    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    async with bridged(refuse) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        writer.close()


@pytest.mark.parametrize("request_head", [get(), b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"])
async def test_a_client_that_leaves_before_the_answer_cancels_the_app(request_head: bytes) -> None:
    waiting, cancelled = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting.set()
        try:
            if scope["method"] == "POST":
                await receive()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with bridged(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_head.replace(b"1.1\r\n", b"1.1\r\nHost: x\r\n"))
        await waiting.wait()
        writer.transport.abort()
        await cancelled.wait()


async def test_a_client_that_leaves_in_the_middle_cancels_the_app() -> None:
    cancelled = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        try:
            while True:
                await send(body(bytes(65536), more=True))
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with bridged(endless) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get())
        await reader.readexactly(1000)
        writer.transport.abort()
        await cancelled.wait()


async def test_work_after_the_answer_is_finished_although_the_client_leaves() -> None:
    left, finished = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response("done")(scope, receive, send)
        await left.wait()
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        finished.set()

    async with bridged(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get())
        await reader.readuntil(b"done")
        writer.transport.abort()
        left.set()
        await finished.wait()


@pytest.mark.parametrize("answers_first", [False, True])
async def test_a_channel_that_breaks_is_a_client_that_leaves(answers_first: bool) -> None:
    told: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if answers_first:
            await Response("done")(scope, receive, send)
        told.append((await receive())["type"])

    async def broken() -> Message:
        raise OSError("the channel's own error")

    async def send(message: Message) -> None:
        told.append(message["type"])

    scope: Scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"9")]}
    async with asyncio.timeout(5):
        response = await respond(app, Request(scope, broken))
        await response(scope, broken, send)
    if answers_first:
        assert told == ["http.response.start", "http.response.body", "http.disconnect"]
    else:
        assert (response.status_code, told) == (CLIENT_CLOSED_REQUEST, [])


async def test_an_error_before_the_answer_is_a_500() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("the app's own error")

    async with bridged(app) as port:
        assert (await exchange(port, get())).startswith(b"HTTP/1.1 500 ")


async def test_an_app_that_never_answers_is_a_500() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        return

    async with bridged(app) as port:
        assert (await exchange(port, get())).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("ending", ["raise", "return"])
async def test_an_answer_that_breaks_off_never_looks_whole(ending: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"half", more=True))
        if ending == "raise":
            raise ValueError("the app's own error")

    async with bridged(app) as port:
        answer = await exchange(port, get())
    assert answer.endswith(b"\r\n\r\n4\r\nhalf\r\n")  # and no last chunk, "0\r\n\r\n"
