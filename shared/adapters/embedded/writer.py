"""The writer of a SQLite file: it commits in groups, and empties the log behind them.

A durable commit costs an fsync, and an fsync serves any number of changes. So one connection writes: it
takes all the work that waits, runs each piece inside its own savepoint, and commits the group as one
transaction. Nobody is told of success before that commit has returned, and if it fails, all of the group
has failed.

The statements run on the event loop, where they take microseconds: from a thread, each of them would fight
for the interpreter's lock. What waits for the disk or for another process runs in the writer's thread: the
commit, opening the file, emptying the log. Whoever has the turn uses the connection, the loop or the
thread; it is passed on from group to group (decision 45). Where two processes write, each group waits for
its process's turn, too (``turns``).

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
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from shared.adapters.embedded.groups import Group, Job, deliver
from shared.adapters.embedded.turns import Turns
from shared.base.activity import Activity

MAX_GROUP: Final = 256
"""Pieces of work in one transaction: bounds how long the first of them waits for the last."""

FORGET_SECONDS: Final = 1.0
"""How long after a commit the log may still hold what was removed or overwritten."""

_FORGET_BUSY_MILLISECONDS: Final = 50
"""How long emptying the log waits for readers, while the commits wait for it."""

_log = logging.getLogger("strongroom.database")


_Step = Callable[[], None]


class Writer:
    """The one connection that writes, opened by the first piece of work.

    Args:
        path: The file.
        connect: Opens the connection; it is to wait for other processes' locks while it opens.
        forget_seconds: How long after a commit the log may still hold what was removed.
        turns: With other processes that write the file.
        activity: Of the process: a group gathers whoever is about to join it.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        forget_seconds: float,
        turns: Turns,
        activity: Activity,
    ) -> None:
        self._name = f"{path.parent.name}/{path.name}"
        self._log = path.with_name(path.name + "-wal")
        self._turns = turns
        self._activity = activity
        self._connect = connect
        self._forget_seconds = forget_seconds
        self._steps: SimpleQueue[_Step | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # held for moments: of the next three
        self._waiting: deque[Job] = deque()
        self._free = True
        self._stopping = False
        # The others are of whoever has the turn.
        self._connection: sqlite3.Connection | None = None
        self._patience = 0  # of the connection, milliseconds
        self._level = ""
        self._forget_at: float | None = None  # of the monotonic clock

    def submit(
        self, work: Callable[[sqlite3.Connection], Any], *, durable: bool
    ) -> asyncio.Future[Any]:
        """Queue work of the running event loop; what it returns or raises."""
        loop = asyncio.get_running_loop()
        job = Job(work, loop.create_future(), durable=durable)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name=f"{self._name}-writer", daemon=True
                )
                self._thread.start()
            self._waiting.append(job)
            taken, self._free = self._free, False
        if taken:
            self._activity.when_idle(self._start_group)
        return job.future

    def stop(self) -> None:
        """Let the thread end after the work that waits."""
        with self._lock:
            self._stopping = True
            free = self._free
        if free:
            self._steps.put(None)

    def join(self) -> None:
        """Wait for the thread's end."""
        if self._thread is not None:
            self._thread.join()

    def _start_group(self) -> None:
        """On the loop: begin a transaction for what waits, without waiting for anybody."""
        with self._lock:
            size = min(len(self._waiting), MAX_GROUP)
            group = Group([self._waiting.popleft() for _ in range(size)])
        connection = self._connection
        if connection is not None:
            begun = False
            with contextlib.suppress(sqlite3.Error, OSError):
                if self._turns.take_at_once():
                    self._begin(connection, group)
                    begun = True
            if begun:
                self._work(connection, group)
                return
        # The thread tries again, and may wait.
        self._steps.put(partial(self._begin_patiently, group))

    def _begin(self, connection: sqlite3.Connection, group: Group) -> None:
        if self._level != group.level:
            self._level = group.level
            connection.execute(f"PRAGMA synchronous={self._level}")
        connection.execute("BEGIN IMMEDIATE")

    def _work(self, connection: sqlite3.Connection, group: Group) -> None:
        """On the loop: run the pieces of work of a transaction that has begun."""
        try:
            self._run_all(connection, group.jobs)
            # Into an empty log SQLite writes a header first, and syncs it.
            waits_for_no_disk = group.level == "NORMAL" and not self._log_is_empty()
            if waits_for_no_disk:
                connection.execute("COMMIT")
        except Exception as error:
            group.failure = error
        if group.failure is not None:
            self._steps.put(partial(self._end, group))
        elif waits_for_no_disk:
            self._end_here(group)
        else:
            self._steps.put(partial(self._commit, connection, group))

    def _run_all(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        while True:
            for job in jobs:
                # A caller that has gone by now wants nothing done.
                if not job.future.cancelled():
                    job.run(connection)
            others = [job for job in jobs if not job.met_damage]
            if len(others) == len(jobs):
                return
            # SQLite does not commit what met a damaged page: the others begin anew, without it.
            connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            jobs = others

    def _log_is_empty(self) -> bool:
        try:
            return self._log.stat().st_size == 0
        except FileNotFoundError:
            return True

    def _end_here(self, group: Group) -> None:
        """On the loop: as ``_end``, for a group that was committed there."""
        self._turns.give()
        deliver(group.jobs, asyncio.get_running_loop())
        if self._forget_at is None:
            self._forget_at = time.monotonic() + self._forget_seconds
            self._steps.put(_look_again)
        elif time.monotonic() >= self._forget_at:
            self._steps.put(self._pass_on)
            return
        self._give_turn()

    def _run(self) -> None:
        """The thread: each step of it has the turn, and passes it on."""
        while (step := self._next_step()) is not None:
            step()
        self._disconnect()
        self._turns.close()

    def _next_step(self) -> _Step | None:
        """The next step, or None at the end. While there is none, the log is emptied when that is due."""
        while self._forget_at is not None:
            try:
                return self._steps.get(timeout=max(0.0, self._forget_at - time.monotonic()))
            except Empty:
                with self._lock:
                    taken, self._free = self._free, False
                if not taken:
                    break  # the loop has the turn, and puts a step at its end
                self._pass_on()
        return self._steps.get()

    def _begin_patiently(self, group: Group) -> None:
        """In the thread: open the file, wait for other processes; then the loop does the work."""
        loop = group.jobs[0].future.get_loop()
        try:
            connection = self._connected()
            if not self._turns.take(self._patience / 1_000):
                raise sqlite3.OperationalError("another process has the turn")
            connection.execute(f"PRAGMA busy_timeout={self._patience}")
            self._begin(connection, group)
            connection.execute("PRAGMA busy_timeout=0")
            loop.call_soon_threadsafe(self._work, connection, group)
        except Exception as error:  # also where that loop was closed
            group.failure = error
            self._end(group)

    def _commit(self, connection: sqlite3.Connection, group: Group) -> None:
        """In the thread: make the work of a group durable."""
        try:
            connection.execute("COMMIT")
        except Exception as error:
            group.failure = error
        if group.failure is None and self._forget_at is None:
            self._forget_at = time.monotonic() + self._forget_seconds
        self._end(group)

    def _end(self, group: Group) -> None:
        """In the thread: tell the outcome, and pass the turn on."""
        if group.failure is not None:
            for job in group.jobs:
                job.failure = group.failure
            self._disconnect()
            # Frames of a commit that failed in its sync would take effect when the file is opened anew.
            self._forget_at = time.monotonic()
        self._turns.give()
        deliver(group.jobs)
        self._pass_on()

    def _pass_on(self) -> None:
        """In the thread: empty the log if that is due, then give the turn to the work that waits."""
        self._forget_if_due()
        self._give_turn()

    def _give_turn(self) -> None:
        with self._lock:
            while self._waiting:
                with contextlib.suppress(RuntimeError):
                    loop = self._waiting[0].future.get_loop()
                    loop.call_soon_threadsafe(self._activity.when_idle, self._start_group)
                    return
                self._waiting.popleft()  # its loop was closed: nobody waits for it
            self._free = True
            if self._stopping:
                self._steps.put(None)

    def _forget_if_due(self) -> None:
        """Empty the log if its time has come; where readers or the disk are in the way, try again later."""
        if self._forget_at is None or time.monotonic() < self._forget_at:
            return
        try:
            connection = self._connected()
            connection.execute(f"PRAGMA busy_timeout={_FORGET_BUSY_MILLISECONDS}")
            in_turn = self._turns.take(_FORGET_BUSY_MILLISECONDS / 1_000)
            emptied = in_turn and empty_log(connection)
            connection.execute("PRAGMA busy_timeout=0")
        except Exception as error:
            _log.warning("%s: the log was not emptied: %s", self._name, type(error).__name__)
            self._disconnect()
            emptied = False
        self._turns.give()
        self._forget_at = None if emptied else time.monotonic() + FORGET_SECONDS

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = self._connect()
            self._turns.open()
            self._connection = connection
            [self._patience] = self._connection.execute("PRAGMA busy_timeout").fetchone()
            # The log is emptied by the thread alone: a commit must not do it on the loop.
            self._connection.execute("PRAGMA wal_autocheckpoint=0")
            self._connection.execute("PRAGMA busy_timeout=0")
            self._level = ""
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


def _look_again() -> None:
    """The step that lets the thread see when it has to empty the log."""
