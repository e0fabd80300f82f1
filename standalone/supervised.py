"""The second process, as the first one sees it: started, woken, started again, and stopped.

It is started again when it ends by itself, after a pause: requests need nothing of it, what they commit is
durable, and it finds all of it later. The lines ``background process ended`` tell the operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from shared.adapters.embedded.bus import SqliteBus
from standalone.lifetime import Sleep, sleep_unless

STOP: Final = 255
"""The byte that tells the second process to stop; the others number the subscriptions."""

FIRST_BACK_OFF_SECONDS: Final = 1.0
LONGEST_BACK_OFF_SECONDS: Final = 30.0
"""The pauses before it is started again, each twice the one before."""

GOOD_SECONDS: Final = 60.0
"""A process that lived so long had no trouble with its start: the pauses begin anew."""

STOP_SECONDS: Final = 35.0
"""How long it may take to end: the grace time of its messages, and a little more to close the files."""

KILLED_SECONDS: Final = 5.0
"""How long the end of a killed process is waited for."""

_logger = logging.getLogger("standalone.background")


class Supervised:
    """Keeps the process of the background running.

    Args:
        source: What it publishes wakes the other process.
        subscriptions: Their names, in the order that both processes know.
        lock: The descriptor that the process inherits: the data folder is in use while it lives.
        before_stop: Awaited before the process is told to stop.
        command: What to run, before the arguments of ``standalone.background``.
        sleep: How to wait.
    """

    def __init__(
        self,
        source: SqliteBus,
        subscriptions: Sequence[str],
        *,
        lock: int,
        before_stop: Callable[[], Awaitable[None]],
        command: Sequence[str] = (sys.executable, "-m", "standalone.background"),
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._source = source
        self._numbers = {name: number for number, name in enumerate(subscriptions)}
        self._lock = lock
        self._before_stop = before_stop
        self._command = command
        self._sleep = sleep

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep it running until ``stopping`` is set, then have it finish what is in work."""
        back_off = FIRST_BACK_OFF_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            code = await self._run_once(stopping)
            if stopping.is_set():
                return
            if loop.time() - started >= GOOD_SECONDS:
                back_off = FIRST_BACK_OFF_SECONDS
            fields = {"exit_code": code, "again_in_seconds": back_off}
            _logger.error("background process ended", extra=fields)
            if await sleep_unless(stopping, back_off, self._sleep):
                return
            back_off = min(2 * back_off, LONGEST_BACK_OFF_SECONDS)

    async def _run_once(self, stopping: asyncio.Event) -> int | None:
        """The process's life; its exit code, or None where it could not be started."""
        reading, writing = os.pipe()
        try:
            os.set_blocking(writing, False)
            try:
                process = await asyncio.create_subprocess_exec(
                    *(*self._command, str(os.getpid()), str(reading)),
                    pass_fds=(reading, self._lock),
                    stdin=DEVNULL,
                )
            except OSError as error:
                _logger.error("background process not started: %s", error.strerror)
                return None
            finally:
                os.close(reading)
            self._source.announce_to(lambda name: _send(writing, self._numbers[name]))
            try:
                await self._until_end(process, writing, stopping)
            finally:
                if process.returncode is None:
                    process.kill()
                    # A disk that hangs can keep it from ending.
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(process.wait(), KILLED_SECONDS)
            return process.returncode
        finally:
            self._source.announce_to(None)
            os.close(writing)

    async def _until_end(self, process: Process, writing: int, stopping: asyncio.Event) -> None:
        ended = asyncio.ensure_future(process.wait())
        stopped = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._before_stop()
                _send(writing, STOP)
                await asyncio.wait({ended}, timeout=STOP_SECONDS)
        finally:
            ended.cancel()
            stopped.cancel()


def _send(writing: int, byte: int) -> None:
    """Into the pipe; where it is full, the reader has enough to look at."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(writing, bytes([byte]))
