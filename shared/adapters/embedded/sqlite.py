"""One SQLite file: a writer that commits in groups, and a reader beside it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

from shared.adapters.embedded.folders import make_private_folder
from shared.adapters.embedded.groups import DAMAGE, primary_code
from shared.adapters.embedded.turns import Turns
from shared.adapters.embedded.writer import FORGET_SECONDS, Writer, empty_log
from shared.base.activity import Activity
from shared.base.errors import Damaged, InternalError, InvalidInput, Unavailable

_T = TypeVar("_T")

BUSY_SECONDS: Final = 5.0
"""How long SQLite waits for another process's lock."""


class Database:
    """A SQLite file, opened when first used.

    Args:
        path: The file; it and its folder are made if missing, with modes 0600 and 0700.
        schema: SQL that makes what is not there yet.
        version: Of the schema, kept in the file; a file of another version is refused, not changed.
        layout: SQL that says how a new file is to be laid out.
        remedy: What to do where the file is damaged.
        forget_seconds: How long after a commit the log may still hold what was removed.
        activity: Of the process; None: every commit begins without a look at others.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        version: int = 0,
        *,
        layout: str = "",
        remedy: str = "restore it from a backup",
        forget_seconds: float = FORGET_SECONDS,
        activity: Activity | None = None,
    ) -> None:
        self._path = path
        self._schema = schema
        self._version = version
        self._layout = layout
        self._remedy = remedy
        self._lock = threading.Lock()  # held for moments, because the event loop takes it
        self._opening = threading.Lock()
        self._prepared = False
        self._closed = False
        self._activity = activity or Activity()
        self._writer = Writer(path, self._connect, forget_seconds, Turns(path), self._activity)
        self._idle: SimpleQueue[sqlite3.Connection] = SimpleQueue()

    async def write(self, work: Callable[[sqlite3.Connection], _T], *, durable: bool = True) -> _T:
        """Run ``work`` in a transaction, on the event loop.

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
        with self._lock:
            self._check_open()
            written = self._writer.submit(work, durable=durable)
        try:
            with self._activity.waiting:
                result: _T = await written
        except Exception as error:
            raise self._explained(error) from error
        return result

    async def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run ``work`` on a reader connection; each statement sees all commits.

        It runs on the event loop, so it has to be short: what a statement reads is in memory, or a few
        pages of the disk away, which takes less than two changes of thread.

        Raises:
            Unavailable: SQLite or the disk failed, or the database is closed.
            Damaged: The file is no database, or a part of it is not what was written.
            InternalError: The file has another version of the schema.
            InvalidInput: A text is not valid Unicode.
        """
        # Whoever reads on and on lets others have a turn in between.
        await asyncio.sleep(0)
        try:
            connection = await self._reader()
            try:
                return work(connection)
            finally:
                self._idle.put(connection)
        except Exception as error:
            raise self._explained(error) from error

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("The database is closed.")

    async def _reader(self) -> sqlite3.Connection:
        while True:
            with self._lock:
                self._check_open()
            try:
                return self._idle.get_nowait()
            except Empty:
                connection = await asyncio.to_thread(self._connect_reader)
            with self._lock:
                # Of several that were opened at once one is enough.
                needed = not self._closed and self._idle.empty()
                if needed:
                    self._idle.put(connection)
            if not needed:
                connection.close()

    async def close(self) -> None:
        """Finish the work that waits, then close every connection. Closing twice does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._writer.stop()
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        self._writer.join()
        with contextlib.suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    def _connect_reader(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _explained(self, error: Exception) -> Exception:
        """The error that callers get: SQLite's and the disk's as one of ours, any other as it is."""
        if isinstance(error, UnicodeEncodeError):
            return InvalidInput("A text holds characters that are not Unicode.")
        if isinstance(error, sqlite3.Error) and primary_code(error) in DAMAGE:
            return Damaged(
                f"The database file {self._path.name} in the folder {self._path.parent.name} is"
                f" damaged, or is no database; stop the server and {self._remedy}."
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
        if not tables:
            connection.executescript(self._layout)
        connection.execute("PRAGMA journal_mode=WAL")
        empty_log(connection)  # a process that died may have left in it what was removed
        if tables:
            connection.executescript(self._schema)
            return
        # One transaction, so that no other process finds tables and no version yet.
        connection.executescript(
            f"BEGIN IMMEDIATE; {self._schema}; PRAGMA user_version={self._version}; COMMIT;"
        )
