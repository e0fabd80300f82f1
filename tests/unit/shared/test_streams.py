"""Streams: rechunked and converted without losing a byte, prefetched without leaving anything running."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.base.buffers import Buffer
from shared.base.streams import CHUNK_BYTES, Source, convert_stream, prefetch, rechunk
from tests.support.sized import Sized
from tests.support.stuck import check_cancelled_with_its_consumer

pytestmark = pytest.mark.anyio


async def stream(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@given(st.lists(st.binary(max_size=40)), st.integers(1, 20), st.integers(1, 20), st.booleans())
def test_rechunking_keeps_every_byte(
    chunks: list[bytes], first: int, later: int, sized: bool
) -> None:
    async def pieces() -> list[tuple[bytes, bool]]:
        source = Sized(b"".join(chunks)) if sized else stream(chunks)
        return [(bytes(piece.data), piece.last) async for piece in rechunk(source, first, later)]

    found = asyncio.run(pieces())
    assert b"".join(piece for piece, _ in found) == b"".join(chunks)
    assert [last for _, last in found] == [False] * (len(found) - 1) + [True]
    sizes = [len(piece) for piece, _ in found]
    assert sizes[:-1] == ([first] + [later] * len(found))[: len(found) - 1]
    assert sizes[-1] <= (first if len(found) == 1 else later)
    assert sizes[-1] > 0 or not any(chunks)


async def test_rechunking_uses_each_chunk_before_it_asks_for_the_next() -> None:
    shared_buffer = bytearray(4)

    async def reusing() -> AsyncIterator[bytearray]:
        for number in range(6):
            shared_buffer[:] = bytes([number]) * 4
            yield shared_buffer

    found = [bytes(piece.data) async for piece in rechunk(reusing(), 3, 5)]
    assert b"".join(found) == b"".join(bytes([number]) * 4 for number in range(6))


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 1])
async def test_a_stream_of_known_size_can_be_iterated(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    chunks = [chunk async for chunk in Sized(content)]
    assert b"".join(chunks) == content
    assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in chunks)


async def test_rechunking_copies_what_a_read_only_view_shows() -> None:
    shared_buffer = bytearray(20)

    async def reusing() -> AsyncIterator[memoryview]:
        for number in range(3):
            shared_buffer[:] = bytes([number]) * 20
            yield memoryview(shared_buffer).toreadonly()

    found = b""
    async for piece in prefetch(rechunk(reusing(), 5, 5, kept=2)):
        await asyncio.sleep(0)  # the next one is made meanwhile
        found += piece.data
    assert found == b"".join(bytes([number]) * 20 for number in range(3))


@pytest.mark.parametrize(
    "chunk", [4, 20], ids=["pieces of two chunks", "several pieces in a chunk"]
)
async def test_a_prefetched_piece_leaves_the_one_before_as_it_is(chunk: int) -> None:
    shared_buffer = bytearray(chunk)

    async def reusing() -> AsyncIterator[bytearray]:
        for number in range(6):
            shared_buffer[:] = bytes([number]) * chunk
            yield shared_buffer

    found = b""
    async for piece in prefetch(rechunk(reusing(), 3, 5, kept=2)):
        await asyncio.sleep(0.001)  # the next one is made meanwhile
        found += piece.data
    assert found == b"".join(bytes([number]) * chunk for number in range(6))


class Doubling:
    """Doubles each piece, in two buffers that take turns."""

    first_size, later_size = 3, 5

    def __init__(self) -> None:
        self._buffers = [bytearray(10), bytearray(10)]

    def convert(self, piece: Buffer, *, last: bool) -> memoryview:
        self._buffers.reverse()
        doubled = bytes(piece) * 2 + (b"." if last else b"")
        self._buffers[0][: len(doubled)] = doubled
        return memoryview(self._buffers[0])[: len(doubled)]


async def test_a_prefetched_conversion_is_complete_and_in_order() -> None:
    converted = b""
    async for piece in prefetch(convert_stream(Doubling(), stream([b"abcd", b"efghijk"]))):
        await asyncio.sleep(0)  # the next one is made meanwhile
        converted += piece
    assert converted == b"abcabcdefghdefghijkijk."


async def test_prefetching_gives_the_same_items() -> None:
    for count in (0, 1, 2, 7):
        items = [bytes([number]) for number in range(count)]
        assert [item async for item in prefetch(stream(items))] == items


async def test_an_error_while_prefetching_holds_no_piece() -> None:
    class Held:
        pass

    async def items() -> AsyncIterator[Held]:
        held = Held()
        pieces.append(weakref.ref(held))
        yield held
        raise ValueError("the client disconnected")

    pieces: list[weakref.ref[Held]] = []
    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            async for _ in prefetch(items()):
                pass
        del _
        await asyncio.sleep(0)
        assert pieces[0]() is None, "a cycle holds it until it is collected"
    finally:
        gc.enable()


async def test_prefetching_is_one_item_ahead_and_no_more() -> None:
    made: list[int] = []

    async def items() -> AsyncIterator[int]:
        for number in range(5):
            made.append(number)
            yield number

    async for item in prefetch(items()):
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(made) == min(item + 2, 5)


async def test_only_what_is_asked_for_is_made_ahead() -> None:
    made: list[int] = []

    async def items() -> AsyncIterator[int]:
        for number in range(4):
            made.append(number)
            yield number

    counts: list[int] = []
    source = Source(items())
    for number in range(4):
        assert await source.next() == number
        if number == 1:
            source.begin()
        assert source.begun == (number == 1)
        for _ in range(10):
            await asyncio.sleep(0)
        counts.append(len(made))
    assert counts == [1, 3, 3, 4]
    with pytest.raises(StopAsyncIteration):
        await source.next()


async def test_who_waits_for_what_was_begun_cancels_it() -> None:
    async def begun(items: AsyncIterator[int]) -> AsyncIterator[int]:
        source = Source(items)
        while True:
            source.begin()
            yield await source.next()

    tasks = asyncio.all_tasks()
    await check_cancelled_with_its_consumer(begun, 1)
    assert asyncio.all_tasks() == tasks


async def test_a_source_that_is_closed_ends_what_was_begun() -> None:
    ended = asyncio.Event()

    async def stuck() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            ended.set()

    tasks = asyncio.all_tasks()
    source = Source(stuck())
    await source.next()
    source.begin()
    await asyncio.sleep(0)
    await source.close()
    assert ended.is_set()
    assert not source.begun
    assert asyncio.all_tasks() == tasks


async def test_an_item_is_not_held_once_the_consumer_has_it() -> None:
    class Item:
        pass

    async def items() -> AsyncIterator[Item]:
        for _ in range(2):
            yield Item()

    async for item in prefetch(items()):
        alive = weakref.ref(item)
        del item
        await asyncio.sleep(0)
        assert alive() is None


async def test_an_error_comes_after_what_was_good() -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise ValueError("the source broke")

    items = prefetch(failing())
    assert [await anext(items), await anext(items)] == [1, 2]
    with pytest.raises(ValueError, match="the source broke"):
        await anext(items)


async def test_a_consumer_that_stops_stops_the_source() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await asyncio.sleep(0)
        finally:
            ended.set()

    before = asyncio.all_tasks()
    source = endless()
    items = prefetch(source)
    assert await anext(items) == 1
    await items.aclose()
    await source.aclose()  # type: ignore[attr-defined]
    assert ended.is_set()
    assert asyncio.all_tasks() == before


async def test_cancelling_the_consumer_cancels_what_is_being_made() -> None:
    await check_cancelled_with_its_consumer(prefetch, 1)
