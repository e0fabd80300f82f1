"""Who is at work: starts wait for those who are about to join, and for nobody else."""

from __future__ import annotations

import asyncio

import pytest

from shared.base.activity import Activity

pytestmark = pytest.mark.anyio

NEVER = 3_600.0


async def rounds() -> None:
    """Let everything run that is ready."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_where_nobody_is_at_work_a_start_is_not_put_off() -> None:
    started: list[str] = []
    Activity(NEVER).when_idle(lambda: started.append("now"))
    await rounds()
    assert started == ["now"]


async def test_a_start_waits_for_the_last_who_is_at_work() -> None:
    activity, started = Activity(NEVER), list[str]()

    def start() -> None:
        started.append("now")

    with activity.working:
        with activity.working:
            activity.when_idle(start)
            activity.when_idle(start)  # is put off already
            await rounds()
        await rounds()
        assert not started
        with activity.waiting:
            await rounds()
            assert started == ["now"]
    await rounds()
    assert started == ["now"]


async def test_who_has_waited_is_at_work_again() -> None:
    activity, started = Activity(NEVER), list[str]()
    with activity.working:
        with activity.waiting:
            await rounds()
        activity.when_idle(lambda: started.append("now"))
        await rounds()
        assert not started
    await rounds()
    assert started


async def test_who_waits_without_being_at_work_changes_nothing_for_later() -> None:
    activity, started = Activity(NEVER), list[str]()
    with activity.waiting:
        await rounds()
    with activity.working:
        activity.when_idle(lambda: started.append("now"))
        await rounds()
        assert not started


async def test_a_start_is_put_off_for_the_longest_time_at_most() -> None:
    activity, started = Activity(longest=0.0), asyncio.Event()
    with activity.working:
        activity.when_idle(started.set)
        await asyncio.wait_for(started.wait(), 10)
        await asyncio.wait_for(activity.idle(), 10)


async def test_idle_comes_when_nobody_is_at_work() -> None:
    activity = Activity(NEVER)
    await activity.idle()
    with activity.working:
        waiter = asyncio.create_task(activity.idle())
        await rounds()
        assert not waiter.done()
    await asyncio.wait_for(waiter, 10)


async def test_what_is_at_work_fails_and_is_at_work_no_more() -> None:
    activity = Activity(NEVER)
    with pytest.raises(ValueError, match="bad"), activity.working:
        raise ValueError("bad")
    await asyncio.wait_for(activity.idle(), 10)
