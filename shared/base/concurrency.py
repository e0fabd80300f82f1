"""Work on many things at the same time, but not on all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Self, TypeVar

A = TypeVar("A")
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
