"""How responses leave: a head and the beginning of its body in one call, in order, never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from standalone.responses import JoiningTransport

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Calls(asyncio.Transport):
    """A transport that notes its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Any] = []
        self.closing = False

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
        return 7


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def transport(calls: Calls) -> JoiningTransport:
    return JoiningTransport(calls)


async def test_a_head_leaves_with_its_body(transport: JoiningTransport, calls: Calls) -> None:
    transport.write(HEAD)
    assert transport.get_write_buffer_size() == len(HEAD) + 7
    transport.write(memoryview(b"body"))
    transport.write(b"more")
    await asyncio.sleep(0)
    assert calls.made == [[HEAD, b"body"], b"more"]
    assert transport.get_write_buffer_size() == 7


async def test_a_head_waits_for_no_body(transport: JoiningTransport, calls: Calls) -> None:
    transport.write(HEAD)
    await asyncio.sleep(0)
    assert calls.made == [HEAD]
    transport.write(b"body")
    assert calls.made == [HEAD, b"body"]


async def test_a_second_head_leaves_after_the_first(
    transport: JoiningTransport, calls: Calls
) -> None:
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    transport.write(HEAD)
    await asyncio.sleep(0)
    assert calls.made == [[b"HTTP/1.1 100 Continue\r\n\r\n", HEAD]]


async def test_a_head_leaves_before_the_end(transport: JoiningTransport, calls: Calls) -> None:
    transport.write(HEAD)
    transport.close()
    assert transport.is_closing()
    await asyncio.sleep(0)
    assert calls.made == [HEAD, "close"]


async def test_nothing_leaves_after_an_abort(transport: JoiningTransport, calls: Calls) -> None:
    transport.write(HEAD)
    transport.abort()
    await asyncio.sleep(0)
    assert calls.made == ["abort"]


async def test_nothing_leaves_on_a_connection_that_was_lost(
    transport: JoiningTransport, calls: Calls
) -> None:
    transport.write(HEAD)
    calls.closing = True
    await asyncio.sleep(0)
    assert calls.made == []
