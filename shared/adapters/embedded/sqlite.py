"""One SQLite file: a writer that commits in groups, and readers beside it.

A durable commit costs an fsync, and an fsync serves any number of changes. So one thread owns the
only connection that writes: it takes all the work that waits, runs each piece inside its own
savepoint, and commits the group as one transaction. Nobody is told of success before that commit
has returned, and if it fails, all of the group has failed.

Durability rests on ``synchronous=FULL``, which in WAL mode fsyncs the log at each commit; a group in
which nothing needs to be durable goes without, as ``synchronous=NORMAL``:
https://sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from shared.adapters.embedded.folders import make_private_folder
from shared.base.errors import Damaged, InternalError, InvalidInput, Unavailable

_T = TypeVar("_T")

READERS: Final = 4
"""Reader connections, each with a thread: SQLite lets reads run side by side."""

MAX_GROUP: Final = 256
"""Pieces of work in one transaction: bounds how long the first of them waits for the last."""

BUSY_SECONDS: Final = 5.0
"""How long SQLite waits for another process's lock."""

_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


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


class Database:
    """A SQLite file, opened when first used.

    Args:
        path: The file; it and its folder are made if missing, with modes 0600 and 0700.
        schema: SQL that makes what is not there yet.
        version: Of the schema, kept in the file; a file of another version is refused, not changed.
    """

    def __init__(self, path: Path, schema: str, version: int = 0) -> None:
        self._path = path
        self._schema = schema
        self._version = version
        self._lock = threading.Lock()  # held for moments, because the event loop takes it
        self._opening = threading.Lock()
        self._prepared = False
        self._closed = False
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._writer: threading.Thread | None = None
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix=f"{path.stem}-reader")
        self._idle: SimpleQueue[sqlite3.Connection] = SimpleQueue()

    async def write(self, work: Callable[[sqlite3.Connection], _T], *, durable: bool = True) -> _T:
        """Run ``work`` in a transaction of the writer thread.

        What ``work`` raises undoes what it did, and is raised here. If the caller is cancelled, the
        work may or may not take effect.

        Args:
            work: What to do.
            durable: Whether it must survive a power failure from the return on. What need not is
                still atomic and in order, and survives the end of the process; the next durable
                work makes it durable, too.

        Raises:
            Unavailable: SQLite or the disk failed, or the database is closed; trying again is safe.
            Damaged: The file is no database, or a part of it is not what was written.
            InternalError: The file has another version of the schema.
            InvalidInput: A text is not valid Unicode.
        """
        job = _Job(work, asyncio.get_running_loop().create_future(), durable=durable)
        with self._lock:
            if self._closed:
                raise Unavailable("The database is closed.")
            if self._writer is None:
                self._writer = threading.Thread(
                    target=self._write_groups, name=f"{self._path.stem}-writer", daemon=True
                )
                self._writer.start()
            self._jobs.put(job)
        try:
            result: _T = await job.future
        except Exception as error:
            raise self._explained(error) from error
        return result

    async def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run ``work`` on a reader connection, off the event loop; each statement sees all commits.

        Raises:
            Unavailable: SQLite or the disk failed, or the database is closed.
            Damaged: The file is no database, or a part of it is not what was written.
            InternalError: The file has another version of the schema.
            InvalidInput: A text is not valid Unicode.
        """
        with self._lock:
            if self._closed:
                raise Unavailable("The database is closed.")
            future = self._readers.submit(self._read, work)
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Finish the work that waits, then close every connection. Closing twice does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.join()
        self._readers.shutdown()
        with contextlib.suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    def _read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            try:
                connection = self._idle.get_nowait()
            except Empty:
                connection = self._connect()
                connection.execute("PRAGMA query_only=ON")
            try:
                return work(connection)
            finally:
                self._idle.put(connection)
        except Exception as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> Exception:
        """The error that callers get: SQLite's and the disk's as one of ours, any other as it is."""
        if isinstance(error, UnicodeEncodeError):
            return InvalidInput("A text holds characters that are not Unicode.")
        if isinstance(error, sqlite3.Error) and _primary_code(error) in _DAMAGE:
            return Damaged(
                f"The database file {self._path.name} is damaged, or is no database;"
                " stop the server and restore it from a backup."
            )
        if isinstance(error, sqlite3.Error | OSError):
            return Unavailable("The database did not accept the operation; try again shortly.")
        return error

    def _connect(self) -> sqlite3.Connection:
        with self._opening:
            if not self._prepared:
                make_private_folder(self._path.parent)
                self._path.touch(mode=0o600)
                self._path.chmod(0o600)
            connection = sqlite3.connect(
                self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA secure_delete=ON")
                if not self._prepared:
                    self._prepare(connection)
                    self._prepared = True
            except BaseException:
                connection.close()
                raise
            return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        [version] = connection.execute("PRAGMA user_version").fetchone()
        [tables] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and version != self._version:
            raise InternalError(
                f"The database file {self._path.name} has version {version} of its schema, not"
                f" {self._version}: upgrade the data folder, or run the release that wrote it."
            )
        connection.execute("PRAGMA journal_mode=WAL")
        if tables:
            connection.executescript(self._schema)
            return
        # One transaction, so that no other process finds tables and no version yet.
        connection.executescript(
            f"BEGIN IMMEDIATE; {self._schema}; PRAGMA user_version={self._version}; COMMIT;"
        )

    def _write_groups(self) -> None:
        connection: sqlite3.Connection | None = None
        while (first := self._jobs.get()) is not None:
            group, last = [first], False
            with contextlib.suppress(Empty):
                while len(group) < MAX_GROUP and not last:
                    job = self._jobs.get_nowait()
                    if job is None:
                        last = True
                    else:
                        group.append(job)
            try:
                connection = connection or self._connect()
                self._commit(connection, group)
            except Exception as error:
                for job in group:
                    job.failure = error
                if connection is not None:
                    # Its state is unknown; closing undoes what is open and drops what is cached.
                    with contextlib.suppress(sqlite3.Error):
                        connection.close()
                    connection = None
            _deliver(group)
            if last:
                break
        if connection is not None:
            connection.close()

    @staticmethod
    def _commit(connection: sqlite3.Connection, group: list[_Job]) -> None:
        level = "FULL" if any(job.durable for job in group) else "NORMAL"
        connection.execute(f"PRAGMA synchronous={level}")
        connection.execute("BEGIN IMMEDIATE")
        for job in group:
            # A caller that has gone by now wants nothing done. (Reading this here is safe: a future
            # that is not cancelled now is at worst cancelled a moment later.)
            if not job.future.cancelled():
                job.run(connection)
        connection.execute("COMMIT")


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


def _primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension; 0 where Python itself refused."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
