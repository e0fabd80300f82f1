"""A pipeline: a stream is converted in one thread and hashed in another, while more of it arrives."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

from shared.base.buffers import Buffer
from shared.base.streams import INLINE_BYTES, Conversion, Piece, rechunk

IN_FLIGHT: Final = 2
"""Pieces that the threads have at most: with one alone they would wait for the event loop after each."""

OUTPUTS: Final = 2
"""Results of a conversion that have to stay as they are: one is consumed while the next is made."""


class Observer(Protocol):
    """Sees what is converted, in order. Its two methods run in threads, at the same time."""

    def observe_piece(self, piece: Buffer) -> None:
        """A piece that is being converted."""
        ...

    def observe_converted(self, converted: Buffer) -> None:
        """What a piece became."""
        ...


async def convert_observed(
    conversion: Conversion, chunks: AsyncIterator[Buffer], observer: Observer
) -> AsyncGenerator[memoryview]:
    """Convert a whole stream before the eyes of an observer, who has seen all of it at the end.

    What this yields may change once the next item is asked for. It holds two pieces and two results; a
    stream of one small piece costs no thread and no task.

    Args:
        conversion: Keeps ``OUTPUTS`` results as they are.
        chunks: The stream, in chunks of any size. A chunk may change once the next one is asked for.
        observer: Hashes, for example. It and the conversion release the GIL for what takes long.
    """
    pieces = rechunk(chunks, conversion.first_size, conversion.later_size, kept=IN_FLIGHT)
    piece = await anext(pieces)
    if piece.last and len(piece.data) < INLINE_BYTES:
        observer.observe_piece(piece.data)
        yield _convert(conversion, observer, piece)
        return

    observing, converting = Lane(), Lane()
    in_flight: deque[asyncio.Future[memoryview]] = deque()
    try:
        in_flight.append(_start(observing, converting, conversion, observer, piece))
        while not piece.last:
            piece = await _next(pieces, in_flight[0])
            in_flight.append(_start(observing, converting, conversion, observer, piece))
            if len(in_flight) == IN_FLIGHT:
                yield await in_flight.popleft()
        while in_flight:
            yield await in_flight.popleft()
    finally:
        observing.close()
        converting.close()
        await pieces.aclose()
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def _convert(conversion: Conversion, observer: Observer, piece: Piece) -> memoryview:
    converted = conversion.convert(piece.data, last=piece.last)
    observer.observe_converted(converted)
    return converted


async def _next(pieces: AsyncIterator[Piece], result: asyncio.Future[memoryview]) -> Piece:
    """The next piece. Where a result fails, its error comes first, without waiting for the source."""

    def fail_fast(done: asyncio.Future[memoryview]) -> None:
        if not done.cancelled() and done.exception() is not None:
            with suppress(RuntimeError):  # the source has just given the piece
                waiting.reschedule(0)

    try:
        # A timeout that is set once the result fails takes no task, as waiting for both would.
        async with asyncio.timeout(None) as waiting:
            result.add_done_callback(fail_fast)
            return await anext(pieces)
    except Exception:
        if result.done():
            result.result()
        raise
    finally:
        result.remove_done_callback(fail_fast)


def _start(
    observing: Lane, converting: Lane, conversion: Conversion, observer: Observer, piece: Piece
) -> asyncio.Future[memoryview]:
    """Give a piece to the threads; what it becomes, once both are done with it."""
    result = Result(2)
    observing.start(partial(_observe, observer, piece), result)
    converting.start(partial(_convert, conversion, observer, piece), result)
    return result.future


def _observe(observer: Observer, piece: Piece) -> None:
    observer.observe_piece(piece.data)


class Result:
    """What several calls in threads give; the event loop is woken once, when all are done.

    Args:
        calls: How many.
    """

    __slots__ = ("_left", "_lock", "_loop", "_value", "future")

    def __init__(self, calls: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()
        # Where the consumer has gone, nobody asks for the error any more, and it is no defect.
        self.future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._lock = threading.Lock()
        self._left = calls
        self._value: object = None

    def succeed(self, value: object) -> None:
        """Note that a call is done, and what it gave unless that is None."""
        with self._lock:
            self._left -= 1
            if value is not None:
                self._value = value
            done = self._left == 0
        if done:
            self._loop.call_soon_threadsafe(_succeed, self.future, self._value)

    def fail(self, error: BaseException) -> None:
        """Note that a call has failed."""
        self._loop.call_soon_threadsafe(_fail, self.future, error)


class Lane:
    """Calls work in a thread, one after the other, without waiting for the event loop in between.

    It has a thread only while there is work.

    Args:
        executor: Has the threads; None: those of the event loop.
    """

    __slots__ = ("_busy", "_executor", "_lock", "_loop", "_waiting")

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Callable[[], object], Result]] = deque()
        self._busy = False

    def start(self, work: Callable[[], object], result: Result) -> None:
        """Have work done after all that was started before."""
        with self._lock:
            self._waiting.append((work, result))
            idle, self._busy = not self._busy, True
        if idle:
            self._loop.run_in_executor(self._executor, self._run)

    def close(self) -> None:
        """Forget what has not begun. What has, ends by itself."""
        with self._lock:
            self._waiting.clear()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                work, result = self._waiting.popleft()
            try:
                value = work()
            except BaseException as error:
                # Also a panic in Rust, which is no Exception: the consumer would wait for ever.
                result.fail(error)
            else:
                result.succeed(value)


def _succeed(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
