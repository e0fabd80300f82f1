"""Work on many things at the same time."""

from __future__ import annotations

import asyncio

import pytest

from shared.base.concurrency import BoundedTasks

pytestmark = pytest.mark.anyio


async def test_no_more_tasks_than_the_limit_run_at_the_same_time() -> None:
    running, most, done = 0, 0, 0

    async def work() -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done += 1

    async with BoundedTasks(2) as tasks:
        for _ in range(10):
            await tasks.start(work)
        await tasks.finish()
        assert (most, done) == (2, 10)


async def fails() -> None:
    raise ConnectionResetError


async def test_what_a_task_raises_is_raised_where_its_room_is_wanted_or_its_end() -> None:
    async with BoundedTasks(1) as tasks:
        await tasks.start(fails)
        with pytest.raises(ConnectionResetError):
            await tasks.start(fails)
        with pytest.raises(ConnectionResetError):
            await tasks.finish()


async def test_what_has_not_ended_with_the_block_is_cancelled_and_has_ended_then() -> None:
    ended = False

    async def endless() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended = True

    async def block() -> None:
        async with BoundedTasks(2) as tasks:
            await tasks.start(endless)
            await asyncio.sleep(0)
            await fails()

    with pytest.raises(ConnectionResetError):
        await block()
    assert ended
