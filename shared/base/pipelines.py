"""A pipeline: pieces of a stream are converted and hashed side by side, while more of it arrives."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

from shared.base.buffers import Buffer
from shared.base.streams import INLINE_BYTES, Conversion, Piece, prefetch, rechunk

IN_FLIGHT: Final = 2
"""Pieces that the threads have at most: with one alone they would wait for the event loop after each."""

OUTPUTS: Final = IN_FLIGHT + 1
"""Results of a conversion that have to stay as they are: one is consumed while the next ones are made."""

CORES: Final = os.cpu_count() or 1

_COMPUTING: Final = ThreadPoolExecutor(CORES, thread_name_prefix="computing")
"""A thread for each core, for all lanes together: whichever is free takes what can be computed next. More
threads than cores would only take turns, and hand the interpreter's lock to each other more often."""


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

    What this yields may change once the next item is asked for. More of the stream comes, and is converted,
    while the consumer works on an item. It holds ``IN_FLIGHT`` pieces and ``OUTPUTS`` results; a stream of
    one small piece costs no thread and no task.

    Args:
        conversion: Keeps ``OUTPUTS`` results as they are.
        chunks: The stream, in chunks of any size. A chunk may change once the next one is asked for.
        observer: Hashes, for example. It and the conversion release the GIL for what takes long.
    """
    pieces = rechunk(chunks, conversion.first_size, conversion.later_size, kept=IN_FLIGHT)
    piece = await anext(pieces)
    if piece.last and len(piece.data) < INLINE_BYTES:
        observer.observe_piece(piece.data)
        converted = conversion.convert(piece.data, last=True)
        observer.observe_converted(converted)
        yield converted
        return

    results = prefetch(_convert_all(conversion, pieces, piece, observer))
    try:
        async for result in results:
            yield result
    finally:
        await results.aclose()
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


async def _convert_all(
    conversion: Conversion, pieces: AsyncGenerator[Piece], piece: Piece, observer: Observer
) -> AsyncGenerator[memoryview]:
    """What all pieces become: the first, and those that follow."""
    lanes = _Lanes(conversion, observer)
    in_flight: deque[asyncio.Future[memoryview]] = deque()
    try:
        in_flight.append(lanes.start(piece))
        while not piece.last:
            piece = await _next(pieces, in_flight[0])
            in_flight.append(lanes.start(piece))
            if len(in_flight) == IN_FLIGHT:
                yield await in_flight.popleft()
        while in_flight:
            yield await in_flight.popleft()
    finally:
        lanes.close()
        await pieces.aclose()


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


class _Lanes:
    """The lanes of one pipeline: what is done with its pieces, each in the order of the pieces."""

    __slots__ = ("_conversion", "_converting", "_hashing", "_observer", "_observing")

    def __init__(self, conversion: Conversion, observer: Observer) -> None:
        self._conversion = conversion
        self._observer = observer
        self._observing, self._converting, self._hashing = Lane(), Lane(), Lane()

    def start(self, piece: Piece) -> asyncio.Future[memoryview]:
        """Begin with a piece; what it becomes, once all is done with it."""
        result = Result(3)
        self._observing.start(partial(self._observer.observe_piece, piece.data), result)
        self._converting.start(partial(self._convert, piece, result), result)
        return result.future

    def close(self) -> None:
        """Forget what has not begun."""
        for lane in (self._observing, self._converting, self._hashing):
            lane.close()

    def _convert(self, piece: Piece, result: Result) -> memoryview:
        converted = self._conversion.convert(piece.data, last=piece.last)
        self._hashing.start(partial(self._observer.observe_converted, converted), result)
        return converted


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
        executor: Has the threads; otherwise there is one for each core, for all lanes together.
    """

    __slots__ = ("_busy", "_closed", "_executor", "_lock", "_waiting")

    def __init__(self, executor: Executor = _COMPUTING) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Callable[[], object], Result]] = deque()
        self._busy = False
        self._closed = False

    def start(self, work: Callable[[], object], result: Result) -> None:
        """Have work done after all that was started before; not once the lane is closed."""
        with self._lock:
            if self._closed:
                return
            self._waiting.append((work, result))
            idle, self._busy = not self._busy, True
        if idle:
            self._executor.submit(self._run)

    def close(self) -> None:
        """Forget what has not begun. What has, ends by itself."""
        with self._lock:
            self._closed = True
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
                del work  # what it holds is free before the consumer goes on
                result.succeed(value)


def _succeed(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
