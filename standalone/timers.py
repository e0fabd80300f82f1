"""Timers: run functions by their NCRONTAB schedules, in UTC, as Azure does.

An NCRONTAB expression (https://github.com/atifaziz/NCrontab) has six fields: second, minute, hour,
day of the month, month, day of the week. A day must satisfy both of its fields; in cron, either.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from azure.functions.timer import TimerRequest
from cronsim import CronSim, CronSimError

from shared.ports.clock import Clock
from standalone.errors import StartError
from standalone.lifetime import Sleep, run_until_stopped, sleep_unless
from standalone.logs import describe_error
from standalone.triggers import TimerFunction

LONGEST_SLEEP_SECONDS: Final = 60.0
"""The clock is read again after this long: it may have been set, or the machine have slept."""

_VALUE: Final = r"(\d+|[A-Za-z]{3})"
_TERM: Final = rf"(\*|{_VALUE}(-{_VALUE})?)(/\d+)?"
_FIELD: Final = rf"{_TERM}(,{_TERM})*"
_NCRONTAB: Final = re.compile(rf"{_FIELD}( {_FIELD}){{5}}")
"""cronsim alone would take five fields as well, and ``L`` and ``#``, which Azure refuses."""

_logger = logging.getLogger("standalone.timers")


@dataclass(frozen=True, slots=True)
class _Timer:
    function: TimerFunction
    schedule: str


class Timers:
    """Runs timer functions, each one at a time.

    A run that outlasts its interval delays the next one to the first occurrence after its end.

    Args:
        functions: What to run.
        settings: App settings by name, for schedules given as ``%NAME%``.
        clock: The time of day.
        grace_seconds: How long a run may go on after the stop, before it is cancelled.
        sleep: How to wait.

    Raises:
        StartError: A schedule names a setting that is not set, is not an NCRONTAB expression, or never
            occurs.
    """

    def __init__(
        self,
        functions: Sequence[TimerFunction],
        *,
        settings: Mapping[str, str],
        clock: Clock,
        grace_seconds: float,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._timers = [_Timer(f, _schedule(f, settings, clock.now())) for f in functions]
        self._clock = clock
        self._grace_seconds = grace_seconds
        self._sleep = sleep

    async def run(self, stopping: asyncio.Event) -> None:
        """Run the timers until ``stopping`` is set."""
        await run_until_stopped(
            (self._run_timer(timer, stopping) for timer in self._timers),
            stopping,
            grace_seconds=self._grace_seconds,
        )

    async def _run_timer(self, timer: _Timer, stopping: asyncio.Event) -> None:
        while True:
            seen = self._clock.now()
            due = _next_occurrence(timer.schedule, seen)
            while (remaining := (due - (now := self._clock.now())).total_seconds()) > 0:
                if now < seen:  # the clock was set back, and the schedule begins anew from there
                    due = _next_occurrence(timer.schedule, now)
                    remaining = (due - now).total_seconds()
                seen = now
                if await sleep_unless(stopping, min(remaining, LONGEST_SLEEP_SECONDS), self._sleep):
                    return
            await self._run_once(timer.function)
            if stopping.is_set():
                return

    async def _run_once(self, function: TimerFunction) -> None:
        started = time.perf_counter()
        fields: dict[str, object] = {"function": function.name, "outcome": "cancelled"}
        level = logging.INFO
        try:
            await function.handler(**{function.argument: TimerRequest()})
            fields["outcome"] = "completed"
        except Exception as error:
            fields["outcome"] = "failed"
            fields |= describe_error(error)
            level = logging.ERROR
        finally:
            fields["duration_ms"] = round((time.perf_counter() - started) * 1000, 1)
            _logger.log(level, "timer", extra=fields)


def _schedule(function: TimerFunction, settings: Mapping[str, str], now: datetime) -> str:
    schedule = function.schedule
    timer = f"The timer {function.name}"
    if setting := re.fullmatch(r"%(\w+)%", schedule):
        if setting[1] not in settings:
            raise StartError(
                f"{timer} takes its schedule from the setting {setting[1]}, which"
                " is not set: give it an NCRONTAB expression."
            )
        schedule = settings[setting[1]]
        timer += f" (setting {setting[1]})"
    if not _NCRONTAB.fullmatch(schedule):
        raise StartError(
            f"{timer} has the schedule {schedule!r}, which is not an NCRONTAB expression: give six fields,"
            " second minute hour day month weekday."
        )
    try:
        _next_occurrence(schedule, now)
    except (CronSimError, StopIteration) as error:
        reason = str(error) or "It never occurs"
        raise StartError(
            f"{timer} cannot follow its schedule {schedule!r}: {reason}. Correct it."
        ) from None
    return schedule


def _next_occurrence(schedule: str, now: datetime) -> datetime:
    occurrences = CronSim(schedule, now)
    occurrences.day_and = True
    return next(occurrences)
