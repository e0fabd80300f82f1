"""A source that never goes on, and a consumer that is cancelled while it waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


async def check_cancelled_with_its_consumer(
    consumed: Callable[[AsyncIterator[T]], AsyncIterator[object]], first: T
) -> None:
    """A source is cancelled together with who consumes it.

    Args:
        consumed: What makes a stream of the source.
        first: All that the source gives.
    """
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def stuck() -> AsyncIterator[T]:
        yield first
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def consume() -> None:
        async for _ in consumed(stuck()):
            pass

    task = asyncio.create_task(consume())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()
