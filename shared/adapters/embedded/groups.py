"""Pieces of work on a database, and the groups in which they are committed."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension; 0 where Python itself refused."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


class Job:
    """A piece of work, and where its outcome is awaited.

    Args:
        work: What to do on a connection, inside a transaction.
        future: Gets what it returns or raises, once that is committed or undone.
        durable: Whether it must survive a power failure.
    """

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
        """Do the work inside a savepoint; keep its result, or undo it and keep its failure.

        It may be done again, in another transaction, once this one was undone.
        """
        self.failure = None
        connection.execute("SAVEPOINT job")
        try:
            self.result = self.work(connection)
        except Exception as error:
            self.failure = error
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")

    @property
    def met_damage(self) -> bool:
        """Whether it failed because a page of the file is not what was written."""
        return isinstance(self.failure, sqlite3.Error) and primary_code(self.failure) in DAMAGE

    def deliver(self) -> None:
        """Hand the outcome to whoever still waits. Runs in the event loop."""
        if self.future.done():
            return
        if self.failure is not None:
            self.future.set_exception(self.failure)
        else:
            self.future.set_result(self.result)


@dataclass(slots=True)
class Group:
    """Pieces of work that one transaction commits.

    Attributes:
        jobs: One or more.
        failure: What made all of them fail, if something did.
    """

    jobs: Sequence[Job]
    failure: Exception | None = None

    @property
    def level(self) -> str:
        """How SQLite is to commit it."""
        return "FULL" if any(job.durable for job in self.jobs) else "NORMAL"


def deliver(jobs: Sequence[Job], here: asyncio.AbstractEventLoop | None = None) -> None:
    """Hand out what became of pieces of work, each in its event loop, from whatever thread.

    Args:
        jobs: The pieces of work.
        here: The event loop that runs in this thread, which needs not be woken; None: there is none.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.future.get_loop(), []).append(job)
    for loop, theirs in by_loop.items():
        if loop is here:
            _deliver_here(theirs)
            continue
        # A loop that was closed has nobody waiting in it.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_deliver_here, theirs)


def _deliver_here(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.deliver()
