"""Work on many things at the same time, but not on all of them; and once for many who ask the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

from shared.base.errors import Unavailable

A = TypeVar("A")
K = TypeVar("K")
T = TypeVar("T")


async def at_once(work: Callable[[A], Awaitable[T]], items: Iterable[A], limit: int) -> list[T]:
    """The results of ``work`` for each item, in their order.

    If one fails the others are cancelled, so that nothing goes on once this has returned.

    Args:
        work: What to do with an item.
        items: On which to work.
        limit: On how many at the same time.
    """
    places = asyncio.Semaphore(limit)

    async def take_place(item: A) -> T:
        async with places:
            return await work(item)

    tasks = [asyncio.create_task(take_place(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(slots=True)
class _Line(Generic[T]):
    """Those who ask for one thing: how many, how many readings have begun, and what the last ones gave.

    What they gave stands beside the number of the reading.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    begun: int = 0
    found: tuple[int, T] | None = None
    failed: tuple[int, Unavailable] | None = None


class SharedReading(Generic[K, T]):
    """Reads a thing once for all who asked for it before the reading began.

    Everybody gets what was there at some moment after they asked, as if they had read it alone: who asks
    while a reading is under way waits for the next one. That a store does not respond is told to all of
    them, or each would wait for it after the others; any other failure is told to one alone.

    Args:
        read: Reads the thing of a key; must not change anything.
    """

    def __init__(self, read: Callable[[K], Awaitable[T]]) -> None:
        self._read = read
        self._lines: dict[K, _Line[T]] = {}

    async def get(self, key: K) -> T:
        """What there is now, after this call began."""
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
        asked = line.begun
        line.waiting += 1
        try:
            async with line.lock:
                if line.found is not None and line.found[0] > asked:
                    return line.found[1]
                if line.failed is not None and line.failed[0] > asked:
                    raise copy(line.failed[1])
                line.begun += 1
                number = line.begun
                try:
                    found = await self._read(key)
                except Unavailable as error:
                    # Whoever catches an error may write on it, so each gets one of its own.
                    line.failed = (number, copy(error))
                    raise
                line.found = (number, found)
                return found
        finally:
            line.waiting -= 1
            if not line.waiting:
                self._lines.pop(key, None)


class BoundedTasks:
    """Work in the background, on a few things at the same time.

    A context: what has not ended by the end of the block is cancelled, so that nothing goes on behind it.

    Args:
        limit: How many tasks at the same time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: list[asyncio.Task[Any]] = []

    async def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin a task once there is room for it; what an earlier one raised is raised here."""
        while len(self._running) >= self._limit:
            await self._end_oldest()
        self._running.append(asyncio.create_task(work()))

    async def finish(self) -> None:
        """Wait until all tasks have ended; what one of them raised is raised here."""
        while self._running:
            await self._end_oldest()

    async def _end_oldest(self) -> None:
        await self._running[0]
        del self._running[0]

    async def __aenter__(self) -> Self:
        """Nothing runs yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel what still runs."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
