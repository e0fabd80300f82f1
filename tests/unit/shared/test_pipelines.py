"""Pipelines: every byte converted and seen, in bounded memory; nothing goes on after the end."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from shared.base.buffers import Buffer
from shared.base.pipelines import CORES, IN_FLIGHT, OUTPUTS, Lane, Result, convert_observed
from shared.base.streams import INLINE_BYTES
from tests.support.sized import Sized
from tests.support.stuck import check_cancelled_with_its_consumer

pytestmark = pytest.mark.anyio

FIRST, LATER = 70_000, 80_000
"""Larger than what is converted on the event loop."""


class Marking:
    """Puts a byte behind each piece, in as many buffers as a pipeline needs."""

    first_size, later_size = FIRST, LATER

    def __init__(self) -> None:
        self._buffers = [bytearray(LATER + 1) for _ in range(OUTPUTS)]
        self.pieces = 0

    def convert(self, piece: Buffer, *, last: bool) -> memoryview:
        self._buffers.append(self._buffers.pop(0))
        out = memoryview(self._buffers[0])[: len(piece) + 1]
        out[:-1] = piece
        out[-1:] = b"." if last else b","
        self.pieces += 1
        return out


class Seen:
    """Keeps what was converted, what it became, and in which threads."""

    def __init__(self) -> None:
        self.pieces, self.converted = b"", b""
        self.threads: set[int] = set()

    def observe_piece(self, piece: Buffer) -> None:
        self.pieces += piece
        self.threads.add(threading.get_ident())

    def observe_converted(self, converted: Buffer) -> None:
        self.converted += converted
        self.threads.add(threading.get_ident())


def marked(content: bytes) -> bytes:
    pieces = [content[:FIRST]]
    pieces += [content[start : start + LATER] for start in range(FIRST, len(content), LATER)]
    return b",".join(pieces) + b"."


async def arriving(content: bytes, size: int) -> AsyncIterator[Buffer]:
    """Chunks in one buffer, which changes when the next is asked for."""
    shared_buffer = bytearray(size)
    for start in range(0, len(content), size):
        chunk = content[start : start + size]
        shared_buffer[: len(chunk)] = chunk
        yield memoryview(shared_buffer)[: len(chunk)]


SIZES = [0, 1, INLINE_BYTES - 1, INLINE_BYTES, FIRST - 1, FIRST, FIRST + 1]
SIZES += [FIRST + LATER, FIRST + LATER + 1, FIRST + 2 * LATER, FIRST + 7 * LATER + 5]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunk", [9_000, 500_000, None])
async def test_a_stream_of_every_size_is_converted_and_seen(size: int, chunk: int | None) -> None:
    content, seen, converted = os.urandom(size), Seen(), b""
    source = arriving(content, chunk) if chunk else Sized(content)
    async for part in convert_observed(Marking(), source, seen):
        await asyncio.sleep(0)  # what was yielded must stay meanwhile
        converted += part
    assert converted == marked(content)
    assert (seen.pieces, seen.converted) == (content, converted)


async def test_what_is_consumed_stays_while_the_next_ones_are_made() -> None:
    content, conversion, converted = os.urandom(9 * LATER), Marking(), b""
    async for part in convert_observed(conversion, arriving(content, LATER), Seen()):
        most = min(conversion.pieces + IN_FLIGHT, 10)
        for _ in range(20):
            await asyncio.get_running_loop().run_in_executor(None, int)
            if conversion.pieces == most:
                break
        converted += part
    assert converted == marked(content)


async def test_all_streams_together_have_a_thread_for_each_core() -> None:
    seen = [Seen() for _ in range(2 * CORES + 1)]

    async def convert(each: Seen) -> None:
        async for _ in convert_observed(Marking(), arriving(bytes(9 * LATER), LATER), each):
            pass

    await asyncio.gather(*(convert(each) for each in seen))
    threads = set[int]().union(*(each.threads for each in seen))
    assert threading.get_ident() not in threads
    assert len(threads) <= CORES


async def test_a_small_stream_costs_no_thread_and_no_task(monkeypatch) -> None:
    content, seen = os.urandom(10_240), Seen()
    parts = convert_observed(Marking(), arriving(content, 4_096), seen)
    loop = asyncio.get_running_loop()
    with monkeypatch.context() as patched:
        patched.setattr(loop, "run_in_executor", lambda *_: pytest.fail("a thread"))
        patched.setattr(loop, "create_task", lambda *_, **__: pytest.fail("a task"))
        converted = [bytes(part) async for part in parts]
    assert converted == [marked(content)]
    assert seen.threads == {threading.get_ident()}


async def test_no_more_pieces_are_taken_than_it_holds() -> None:
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield bytes(LATER)

    conversion = Marking()
    parts = convert_observed(conversion, endless(), Seen())
    await anext(parts)
    while conversion.pieces < OUTPUTS:  # one is consumed, and those after it are made meanwhile
        await asyncio.get_running_loop().run_in_executor(None, int)
    before = asked
    for _ in range(100):
        await asyncio.sleep(0)
    assert (asked, conversion.pieces) == (before, OUTPUTS)
    # A piece takes a chunk, and a part of the next one at most.
    assert asked <= OUTPUTS + 1
    await parts.aclose()


async def test_an_error_of_the_source_ends_it_and_leaves_nothing() -> None:
    class Held(bytearray):
        pass

    held = Held(5 * LATER)
    alive = weakref.ref(held)

    async def breaking(chunk: Held) -> AsyncIterator[Buffer]:
        yield chunk
        raise ConnectionResetError("the client disconnected")

    gc.disable()
    try:
        tasks = asyncio.all_tasks()
        with pytest.raises(ConnectionResetError):
            async for _ in convert_observed(Marking(), breaking(held), Seen()):
                pass
        del held
        await asyncio.get_running_loop().run_in_executor(None, int)  # the threads are done
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == tasks
    finally:
        gc.enable()
    gc.collect()
    assert alive() is None


class PanicError(BaseException):
    """As a panic in Rust arrives: no ``Exception``."""


@pytest.mark.parametrize("error", [ValueError, PanicError])
@pytest.mark.parametrize("broken", ["convert", "observe_piece", "observe_converted"])
async def test_an_error_in_a_thread_reaches_the_consumer(
    monkeypatch, broken: str, error: type[BaseException]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("it cannot be done")

    conversion, seen = Marking(), Seen()
    monkeypatch.setattr(conversion if broken == "convert" else seen, broken, fail)
    parts = convert_observed(conversion, arriving(bytes(5 * LATER), LATER), seen)
    async with asyncio.timeout(10):
        with pytest.raises(error, match="it cannot be done"):
            await anext(parts)


class Failing(Seen):
    """Fails with the first piece."""

    def observe_piece(self, piece: Buffer) -> None:
        raise ValueError("it cannot be done")


@pytest.mark.parametrize("after", [asyncio.CancelledError, ConnectionResetError])
async def test_an_error_in_a_thread_does_not_wait_for_the_source(
    after: type[BaseException],
) -> None:
    ended = False

    async def stalling() -> AsyncIterator[bytes]:
        nonlocal ended
        try:
            yield bytes(FIRST + 1)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended = True
            raise after from None  # an error of its own does not hide the first

    tasks = asyncio.all_tasks()
    async with asyncio.timeout(10):
        with pytest.raises(ValueError, match="it cannot be done"):
            await anext(convert_observed(Marking(), stalling(), Failing()))
    assert ended
    assert asyncio.all_tasks() == tasks


async def test_the_source_is_closed_with_the_pipeline() -> None:
    closed = False

    async def endless() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            while True:
                yield bytes(LATER)
        finally:
            closed = True

    source = endless()
    parts = convert_observed(Marking(), source, Seen())
    await anext(parts)
    await parts.aclose()
    assert closed


async def test_a_consumer_that_stops_stops_the_conversion() -> None:
    conversion = Marking()
    tasks = asyncio.all_tasks()
    parts = convert_observed(conversion, arriving(bytes(20 * LATER), LATER), Seen())
    await anext(parts)
    await parts.aclose()
    assert asyncio.all_tasks() == tasks
    assert conversion.pieces <= 1 + IN_FLIGHT


async def test_cancelling_the_consumer_cancels_the_source() -> None:
    await check_cancelled_with_its_consumer(
        lambda source: convert_observed(Marking(), source, Seen()), bytes(FIRST + 1)
    )


class Slow(Executor):
    """Runs nothing until it is told to."""

    def __init__(self) -> None:
        self.submitted: list[Callable[[], Any]] = []

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.submitted.append(lambda: future.set_result(work(*args, **kwargs)))
        return future


async def test_a_lane_does_all_that_waits_in_one_thread_and_in_order() -> None:
    slow, order = Slow(), iter(range(4))
    lane = Lane(slow)
    results = [Result(1) for _ in range(4)]
    for result in results:
        lane.start(lambda: next(order), result)
    [run] = slow.submitted
    run()
    assert await asyncio.gather(*(each.future for each in results)) == [0, 1, 2, 3]
    lane.start(int, Result(1))
    assert len(slow.submitted) == 2, "a lane without work keeps no thread"


async def test_a_closed_lane_begins_nothing() -> None:
    slow = Slow()
    lane = Lane(slow)
    result = Result(1)
    lane.start(lambda: pytest.fail("it was begun"), result)
    lane.close()
    slow.submitted[0]()
    lane.start(lambda: pytest.fail("it was begun after the end"), result)
    assert len(slow.submitted) == 1
    await asyncio.sleep(0)
    assert not result.future.done()


async def test_an_error_of_work_is_not_that_of_the_next() -> None:
    slow = Slow()
    lane = Lane(slow)
    failing, next_one = Result(1), Result(1)
    lane.start(lambda: int("x"), failing)
    lane.start(lambda: 7, next_one)
    slow.submitted[0]()
    with pytest.raises(ValueError, match="invalid literal"):
        await failing.future
    assert await next_one.future == 7


async def test_a_result_waits_for_all_of_its_calls() -> None:
    result = Result(2)
    result.succeed(None)
    await asyncio.sleep(0)
    assert not result.future.done()
    result.succeed(b"converted")
    assert await result.future == b"converted"
