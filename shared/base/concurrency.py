"""Work on many things at the same time, but not on all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

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
