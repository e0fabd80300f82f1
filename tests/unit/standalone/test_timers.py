from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import azure.functions as func
import pytest

from standalone.errors import StartError
from standalone.logs import JsonFormatter
from standalone.timers import Timers
from standalone.triggers import TimerFunction
from tests.support.clock import FakeClock
from tests.support.timeline import Timeline, settle

START = FakeClock().now()
Handler = Callable[[func.TimerRequest], Awaitable[None]]


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


async def nothing(timer: func.TimerRequest) -> None:
    return


def timers(
    schedule: str,
    timeline: Timeline,
    handler: Handler = nothing,
    grace: float = 30,
    **settings: str,
) -> Timers:
    return Timers(
        [TimerFunction("tick", schedule, "timer", handler)],
        settings=settings,
        clock=timeline,
        grace_seconds=grace,
        sleep=timeline.sleep,
    )


@asynccontextmanager
async def running(timers: Timers) -> AsyncIterator[asyncio.Event]:
    stopping = asyncio.Event()
    task = asyncio.create_task(timers.run(stopping))
    yield stopping
    stopping.set()
    await task


async def occurrences(
    schedule: str, timeline: Timeline, seconds: float, **settings: str
) -> list[str]:
    """When the timer ran, as time since the start."""
    ran: list[str] = []

    async def handler(timer: func.TimerRequest) -> None:
        ran.append(str(timeline.now() - START))

    async with running(timers(schedule, timeline, handler, **settings)):  # type: ignore[arg-type]
        await timeline.pass_time(seconds)
    return ran


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("schedule", "seconds", "expected"),
    [
        ("*/15 * * * * *", 60, ["0:00:15", "0:00:30", "0:00:45", "0:01:00"]),
        ("0 */10 * * * *", 1800, ["0:10:00", "0:20:00", "0:30:00"]),
        ("30 0 3 * * *", 86400, ["3:00:30"]),
        ("0 0 0 * * Fri-Sat", 3 * 86400, ["1 day, 0:00:00", "2 days, 0:00:00"]),
        # The 2nd is no Saturday, the 3rd is one. cron would take the 2nd as well.
        ("0 0 0 2,3 * 6", 3 * 86400, ["2 days, 0:00:00"]),
    ],
)
async def test_a_timer_runs_when_its_schedule_says(
    schedule: str, seconds: float, expected: list[str], timeline: Timeline
) -> None:
    assert await occurrences(schedule, timeline, seconds) == expected


@pytest.mark.anyio
async def test_a_schedule_can_be_a_setting(timeline: Timeline) -> None:
    ran = await occurrences("%EVERY%", timeline, 40, EVERY="*/20 * * * * *")
    assert ran == ["0:00:20", "0:00:40"]


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("%NOWHERE%", "the setting NOWHERE, which is not set"),
        ("*/5 * * * *", "not an NCRONTAB expression"),
        ("every minute", "not an NCRONTAB expression"),
        ("0 0 0 L * *", "not an NCRONTAB expression"),
        ("0 0 0 * * 5#2", "not an NCRONTAB expression"),
        ("0 61 * * * *", "Bad minute"),
        ("0 0 0 31 2 *", "Bad day-of-month"),
        ("0 0 0 31 4 5", "It never occurs"),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_refused_at_the_start(
    schedule: str, message: str, timeline: Timeline
) -> None:
    with pytest.raises(StartError, match=message) as caught:
        timers(schedule, timeline)
    assert "tick" in str(caught.value)


@pytest.mark.anyio
async def test_a_run_never_overlaps_the_next(timeline: Timeline) -> None:
    started: list[timedelta] = []
    done = asyncio.Event()

    async def handler(timer: func.TimerRequest) -> None:
        started.append(timeline.now() - START)
        await done.wait()

    async with running(timers("*/15 * * * * *", timeline, handler)):
        await timeline.pass_time(50)
        assert started == [timedelta(seconds=15)]
        done.set()
        await timeline.pass_time(15)
    assert started == [timedelta(seconds=15), timedelta(seconds=60)]


@pytest.mark.anyio
async def test_an_error_is_logged_without_its_text_and_the_timer_goes_on(
    timeline: Timeline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    runs = 0

    async def handler(timer: func.TimerRequest) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ValueError("secret")

    async with running(timers("*/15 * * * * *", timeline, handler)):
        await timeline.pass_time(30)
    parsed = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    lines = [line for line in parsed if line["event"] == "timer"]
    assert [(line["function"], line["outcome"]) for line in lines] == [
        ("tick", "failed"),
        ("tick", "completed"),
    ]
    assert lines[0]["error"] == "ValueError"
    assert "secret" not in json.dumps(lines)


@pytest.mark.anyio
async def test_a_clock_that_is_set_forward_is_noticed_within_a_minute(timeline: Timeline) -> None:
    ran: list[timedelta] = []

    async def handler(timer: func.TimerRequest) -> None:
        ran.append(timeline.now() - START)

    async with running(timers("0 0 3 * * *", timeline, handler)):
        await settle()
        timeline.advance(3 * 3600)
        await timeline.pass_time(0)
    assert ran == [timedelta(hours=3)]


@pytest.mark.anyio
async def test_a_clock_that_is_set_back_does_not_stop_a_timer(timeline: Timeline) -> None:
    ran: list[timedelta] = []

    async def handler(timer: func.TimerRequest) -> None:
        ran.append(timeline.now() - START)

    async with running(timers("0 */10 * * * *", timeline, handler)):
        await timeline.pass_time(25 * 60)
        timeline.advance(-3 * 3600)
        timeline.wake()
        await timeline.pass_time(25 * 60)
    hours = timedelta(hours=3)
    minutes = [timedelta(minutes=number) for number in (10, 20, 30, 40, 50)]
    assert ran == [*minutes[:2], *(each - hours for each in minutes[2:])]


@pytest.mark.anyio
@pytest.mark.parametrize(("grace", "ending"), [(30, "finished"), (0, "cancelled")])
async def test_a_stop_gives_a_run_the_grace_time(
    grace: float, ending: str, timeline: Timeline
) -> None:
    endings: list[str] = []
    done = asyncio.Event()

    async def handler(timer: func.TimerRequest) -> None:
        try:
            await done.wait()
            endings.append("finished")
        except asyncio.CancelledError:
            endings.append("cancelled")
            raise

    async with running(timers("* * * * * *", timeline, handler, grace)) as stopping:
        await timeline.pass_time(1)
        stopping.set()
        await settle()
        if grace:
            done.set()
        else:
            await timeline.pass_time(0)
    assert endings == [ending]
