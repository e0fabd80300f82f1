"""The writer of a SQLite file: one thread that commits in groups, and empties the log behind them.

A durable commit costs an fsync, and an fsync serves any number of changes. So one thread owns the
only connection that writes: it takes all the work that waits, runs each piece inside its own
savepoint, and commits the group as one transaction. Nobody is told of success before that commit
has returned, and if it fails, all of the group has failed.

Durability rests on ``synchronous=FULL``, which in WAL mode fsyncs the log at each commit; a group in
which nothing needs to be durable goes without, as ``synchronous=NORMAL``:
https://sqlite.org/pragma.html#pragma_synchronous

What is removed or overwritten leaves the file's pages at once (``secure_delete``), but the log keeps the
pages as they were. So soon after a commit the log is emptied into the file:
https://sqlite.org/pragma.html#pragma_wal_checkpoint
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final

MAX_GROUP: Final = 256
"""Pieces of work in one transaction: bounds how long the first of them waits for the last."""

FORGET_SECONDS: Final = 1.0
"""How long after a commit the log may still hold what was removed or overwritten."""

_FORGET_BUSY_MILLISECONDS: Final = 50
"""How long emptying the log waits for readers, while the commits wait for it."""

_log = logging.getLogger("strongroom.database")


class _Job:
    """A piece of work, and where its outcome is awaited."""

    __slots__ = ("durable", "failure", "future", "result", "work")

    def __init__(
        self,
        work: Callable[[sqlite3.Connection], Any],
        future: asyncio.Future[Any],
        *,
        durable: bool,
    ) -> None:
        self.work = work
        self.future = future
        self.durable = durable
        self.result: Any = None
        self.failure: Exception | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """Do the work inside a savepoint; keep its result, or undo it and keep its failure."""
        connection.execute("SAVEPOINT job")
        try:
            self.result = self.work(connection)
        except Exception as error:
            self.failure = error
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")

    def deliver(self) -> None:
        """Hand the outcome to whoever still waits. Runs in the event loop."""
        if self.future.done():
            return
        if self.failure is not None:
            self.future.set_exception(self.failure)
        else:
            self.future.set_result(self.result)


class Writer:
    """The thread that writes, started by the first piece of work.

    Args:
        name: Of the file, for the thread and for log lines.
        connect: Opens the connection.
        forget_seconds: How long after a commit the log may still hold what was removed.
    """

    def __init__(
        self, name: str, connect: Callable[[], sqlite3.Connection], forget_seconds: float
    ) -> None:
        self._name = name
        self._connect = connect
        self._forget_seconds = forget_seconds
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        # These two are the thread's own.
        self._connection: sqlite3.Connection | None = None
        self._forget_at: float | None = None  # of the monotonic clock

    def submit(
        self, work: Callable[[sqlite3.Connection], Any], *, durable: bool
    ) -> asyncio.Future[Any]:
        """Queue work of the running event loop; what it returns or raises. One caller at a time."""
        job = _Job(work, asyncio.get_running_loop().create_future(), durable=durable)
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"{self._name}-writer", daemon=True
            )
            self._thread.start()
        self._jobs.put(job)
        return job.future

    def stop(self) -> None:
        """Let the thread end after the work that waits."""
        self._jobs.put(None)

    def join(self) -> None:
        """Wait for the thread's end."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (first := self._next_job()) is not None:
            group, last = [first], False
            with contextlib.suppress(Empty):
                while len(group) < MAX_GROUP and not last:
                    job = self._jobs.get_nowait()
                    if job is None:
                        last = True
                    else:
                        group.append(job)
            try:
                self._commit(group)
            except Exception as error:
                for job in group:
                    job.failure = error
                self._disconnect()
            _deliver(group)
            if last:
                break
            self._forget_if_due()
        self._disconnect()

    def _next_job(self) -> _Job | None:
        """The next job, or None at the end. While there is none, the log is emptied when that is due."""
        while self._forget_at is not None:
            try:
                return self._jobs.get(timeout=max(0.0, self._forget_at - time.monotonic()))
            except Empty:
                self._forget_if_due()
        return self._jobs.get()

    def _commit(self, group: list[_Job]) -> None:
        connection = self._connected()
        level = "FULL" if any(job.durable for job in group) else "NORMAL"
        connection.execute(f"PRAGMA synchronous={level}")
        connection.execute("BEGIN IMMEDIATE")
        for job in group:
            # A caller that has gone by now wants nothing done. (Reading this here is safe: a future
            # that is not cancelled now is at worst cancelled a moment later.)
            if not job.future.cancelled():
                job.run(connection)
        connection.execute("COMMIT")
        if self._forget_at is None:
            self._forget_at = time.monotonic() + self._forget_seconds

    def _forget_if_due(self) -> None:
        """Empty the log if its time has come; where readers or the disk are in the way, try again later."""
        if self._forget_at is None or time.monotonic() < self._forget_at:
            return
        try:
            connection = self._connected()
            [waits] = connection.execute("PRAGMA busy_timeout").fetchone()
            connection.execute(f"PRAGMA busy_timeout={_FORGET_BUSY_MILLISECONDS}")
            emptied = empty_log(connection)
            connection.execute(f"PRAGMA busy_timeout={waits}")
        except Exception as error:
            _log.warning("%s: the log was not emptied: %s", self._name, type(error).__name__)
            self._disconnect()
            emptied = False
        self._forget_at = None if emptied else time.monotonic() + FORGET_SECONDS

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _disconnect(self) -> None:
        """Close the connection, whatever its state: that undoes what is open and drops what is cached."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def empty_log(connection: sqlite3.Connection) -> bool:
    """Move all of the write-ahead log into the file and cut it to nothing; False: a reader was in the way.

    Raises:
        sqlite3.Error: The disk refused.
    """
    [busy, _, _] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def _deliver(group: list[_Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in group:
        by_loop.setdefault(job.future.get_loop(), []).append(job)
    for loop, jobs in by_loop.items():
        # A loop that was closed has nobody waiting in it.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_deliver_here, jobs)


def _deliver_here(jobs: list[_Job]) -> None:
    for job in jobs:
        job.deliver()
