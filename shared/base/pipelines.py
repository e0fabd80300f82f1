"""A pipeline: a stream is converted in one thread and hashed in another, while more of it arrives."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from shared.base.buffers import Buffer
from shared.base.streams import INLINE_BYTES, Conversion, Piece, prefetch, rechunk

T = TypeVar("T")

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

    What this yields may change once the next item is asked for. It holds three pieces and two results;
    a stream of one small piece costs no thread and no task.

    Args:
        conversion: Keeps ``OUTPUTS`` results as they are.
        chunks: The stream, in chunks of any size. A chunk may change once the next one is asked for.
        observer: Hashes, for example. It and the conversion release the GIL for what takes long.
    """
    pieces = rechunk(chunks, conversion.first_size, conversion.later_size, kept=IN_FLIGHT + 1)
    first = await anext(pieces)
    if first.last and len(first.data) < INLINE_BYTES:
        observer.observe_piece(first.data)
        yield _convert(conversion, observer, first)
        return

    pieces_lane, conversion_lane = Lane(), Lane()
    in_flight: deque[_InFlight] = deque()
    try:
        async with aclosing(prefetch(_joined(first, pieces))) as coming:
            async for piece in coming:
                observed = pieces_lane.start(partial(observer.observe_piece, piece.data))
                converted = conversion_lane.start(partial(_convert, conversion, observer, piece))
                in_flight.append(_InFlight(observed, converted))
                if len(in_flight) == IN_FLIGHT:
                    yield await in_flight.popleft().done()
        while in_flight:
            yield await in_flight.popleft().done()
    finally:
        pieces_lane.close()
        conversion_lane.close()


def _convert(conversion: Conversion, observer: Observer, piece: Piece) -> memoryview:
    converted = conversion.convert(piece.data, last=piece.last)
    observer.observe_converted(converted)
    return converted


async def _joined(first: Piece, rest: AsyncIterator[Piece]) -> AsyncGenerator[Piece]:
    yield first
    async for piece in rest:
        yield piece


@dataclass(frozen=True, slots=True)
class _InFlight:
    """A piece that the threads have."""

    observed: asyncio.Future[None]
    converted: asyncio.Future[memoryview]

    async def done(self) -> memoryview:
        """What it became, once the threads are done with it."""
        await self.observed
        return await self.converted


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
        self._waiting: deque[tuple[asyncio.Future[Any], Callable[[], Any]]] = deque()
        self._busy = False

    def start(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have work done after all that was started before; the result, or its error."""
        future: asyncio.Future[T] = self._loop.create_future()
        # Where the consumer has gone, nobody asks for the error any more, and it is no defect.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        with self._lock:
            self._waiting.append((future, work))
            idle, self._busy = not self._busy, True
        if idle:
            self._loop.run_in_executor(self._executor, self._run)
        return future

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
                future, work = self._waiting.popleft()
            try:
                result = work()
            except Exception as error:
                self._loop.call_soon_threadsafe(_fail, future, error)
            else:
                self._loop.call_soon_threadsafe(_succeed, future, result)


def _succeed(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
