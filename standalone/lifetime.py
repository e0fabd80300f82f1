"""Running until told to stop: waits that end early, tasks that get a time to finish."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable

Sleep = Callable[[float], Awaitable[None]]
"""``asyncio.sleep``, or time that a test owns."""


async def run_until_stopped(
    loops: Iterable[Coroutine[None, None, None]],
    stopping: asyncio.Event,
    *,
    grace_seconds: float,
) -> None:
    """Run loops that end soon after ``stopping`` is set; after the grace time, cancel them.

    Raises:
        ExceptionGroup: A loop failed; the others were cancelled.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop) for loop in loops]
        await stopping.wait()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_seconds)
            for task in late:
                task.cancel()


async def sleep_unless(stopping: asyncio.Event, seconds: float, sleep: Sleep) -> bool:
    """Sleep; return at once when ``stopping`` is set. The value says whether it is."""
    either = {asyncio.ensure_future(sleep(seconds)), asyncio.ensure_future(stopping.wait())}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in either:
            task.cancel()
    return stopping.is_set()
