"""Who is at work in an event loop, so that what serves many begins when nobody is about to join.

A commit or an fsync costs one caller what it costs eight. Begun at once for the first who needs it, each
caller pays for one; a fixed pause would have a caller who is alone wait for nobody. So it begins as soon as
all others wait for something, too: the disk, a client, another process. ``commit_siblings`` of PostgreSQL
rests on the same thought (https://www.postgresql.org/docs/current/runtime-config-wal.html).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final

LONGEST_SECONDS: Final = 0.02
"""How long a start is put off at most: somebody may be at work for long."""


class _Step:
    """A context manager that counts at its begin and at its end."""

    __slots__ = ("_begin", "_end")

    def __init__(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._begin = begin
        self._end = end

    def __enter__(self) -> None:
        self._begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()


class Activity:
    """Counts the requests and messages of one event loop that are at work.

    Args:
        longest: How long a start is put off at most, seconds.

    Attributes:
        working: Around a request or a message.
        waiting: Around what one of them waits for. Where somebody waits who is not counted, such as a
            timer, starts are early meanwhile.
    """

    def __init__(self, longest: float = LONGEST_SECONDS) -> None:
        self._longest = longest
        self._active = 0
        self._starts: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self.working: Final = _Step(self._begin, self._end)
        self.waiting: Final = _Step(self._end, self._begin)

    def when_idle(self, start: Callable[[], None]) -> None:
        """Call this soon after nobody is at work, or when it was put off for the longest time.

        What is put off already is called once.
        """
        loop = asyncio.get_running_loop()
        if self._active <= 0:
            loop.call_soon(start)
        elif start not in self._starts:
            self._starts[start] = loop.call_later(self._longest, self._start, start)

    async def idle(self) -> None:
        """Wait until nobody is at work, for the longest time at most."""
        if self._active > 0:
            come = asyncio.Event()
            self.when_idle(come.set)
            await come.wait()

    def _start(self, start: Callable[[], None]) -> None:
        del self._starts[start]
        start()

    def _begin(self) -> None:
        self._active += 1

    def _end(self) -> None:
        self._active -= 1
        if self._active <= 0 and self._starts:
            starts, self._starts = self._starts, {}
            for start, timer in starts.items():
                timer.cancel()
                asyncio.get_running_loop().call_soon(start)
