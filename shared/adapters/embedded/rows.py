"""RowBlobs: small objects as rows of a SQLite file.

A file for each object takes many calls of the operating system: a draft, its fsync, a name, the folder's
fsync, and the way through the folders for whoever reads it. A row shares the fsync of its group's commit
(https://sqlite.org/fasterthanfs.html, decision 51).
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from shared.adapters.embedded.moments import from_microseconds, to_microseconds
from shared.adapters.embedded.sqlite import Database
from shared.base.activity import Activity
from shared.base.buffers import Buffer
from shared.base.errors import Conflict
from shared.ports.blobs import BlobInfo
from shared.ports.clock import Clock

_LAYOUT: Final = "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL;"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS contents (
    id INTEGER PRIMARY KEY,
    content BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS objects (
    name TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    modified_at INTEGER NOT NULL,
    content INTEGER NOT NULL
) WITHOUT ROWID;
"""
"""``objects.content`` is ``contents.id``. The two lie apart, so that a list reads no contents, and a
damaged page of a content hides no other object."""

_REMEDY: Final = (
    "move it away, so that the other copies take its place (docs/runbooks.md, Lost store)"
)

TAKEN: Final = "An object of this name exists."

_AFTER_ALL_NAMES: Final = "\x7f"
"""Sorts behind every character of a name."""

_LISTED_AT_ONCE: Final = 256
_CREATED_AT_ONCE: Final = 64
"""Objects that one piece of work writes."""

_GIVEN_BACK_AT_ONCE: Final = 16
"""Pages; more than one object has, so that the removals of many objects give back what they free."""

FREE_PAGES: Final = 1_024
"""Pages of removed objects that the file keeps for new ones; the disk gets back what is beyond."""


class RowBlobs:
    """Objects of up to some 64 KB, each a row that is there once it is durable.

    What is removed is overwritten in the file by its commit, and in the write-ahead log within a second
    (see ``writer``). A row needs no check on reading: sealed content has its own.

    Args:
        path: The file, which is made by the first object.
        clock: Dates the objects.
        has_file: Whether something else than a row has a name; asked inside transactions that write.
        activity: See ``Database``.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        has_file: Callable[[str], bool],
        activity: Activity | None = None,
    ) -> None:
        self._path = path
        self._database = Database(path, _SCHEMA, layout=_LAYOUT, remedy=_REMEDY, activity=activity)
        self._clock = clock
        self._has_file = has_file
        self._begun = False

    async def close(self) -> None:
        """Finish the work that waits and close the file."""
        await self._database.close()

    async def open(self) -> None:
        """Empty the write-ahead log of a process that died; where there is no file, do nothing.

        Raises:
            Unavailable, Damaged, InternalError: As ``Database.read``, here and in all that follows.
        """
        if self._has_begun():
            await self._database.read(lambda _: None)

    async def create(self, contents: Sequence[tuple[str, Buffer]]) -> None:
        """Create objects, durably; 64 of them are one commit at most.

        Raises:
            Conflict: An object of one of these names exists; those of earlier commits were created.
        """
        self._begun = self._begun or bool(contents)

        def work(writer: sqlite3.Connection) -> None:
            modified_at = to_microseconds(self._clock.now())
            for name, content in some:
                if self._has_file(name) or not _insert(writer, name, modified_at, content):
                    raise Conflict(TAKEN)

        for start in range(0, len(contents), _CREATED_AT_ONCE):
            some = contents[start : start + _CREATED_AT_ONCE]
            await self._database.write(work)

    async def has(self, name: str) -> bool:
        """Whether a row has the name, or is about to: whoever asks waits for those who create one."""
        if not self._has_begun():
            return False
        return await self._database.write(lambda writer: _has(writer, name), durable=False)

    async def get(self, name: str) -> bytes | None:
        """All of an object; None: no row has the name."""
        if not self._has_begun():
            return None
        return await self._database.read(lambda reader: _get(reader, name))

    async def head(self, name: str) -> BlobInfo | None:
        """What is known of an object; None: no row has the name."""
        if not self._has_begun():
            return None
        found = await self._database.read(partial(_described, "name = ?", (name,)))
        return found[0] if found else None

    async def list(self, prefix: str) -> AsyncGenerator[BlobInfo]:
        """The objects whose names start so, in the order of their names."""
        after = ""
        while self._has_begun():
            where = "name > ? AND name >= ? AND name < ?"
            read = partial(_described, where, (after, prefix, prefix + _AFTER_ALL_NAMES))
            found = await self._database.read(read)
            for info in found:
                yield info
            if len(found) < _LISTED_AT_ONCE:
                return
            after = found[-1].name

    async def delete(self, name: str) -> None:
        """Remove an object, durably; where no row has the name, do nothing."""
        if self._has_begun():
            await self._database.write(lambda writer: _delete(writer, name))

    def _has_begun(self) -> bool:
        # Whoever only reads makes no file.
        self._begun = self._begun or self._path.exists()
        return self._begun


def _insert(writer: sqlite3.Connection, name: str, modified_at: int, content: Buffer) -> bool:
    """Whether the object was inserted; if another has the name, the caller undoes what was done."""
    stored = writer.execute("INSERT INTO contents (content) VALUES (?)", (content,)).lastrowid
    inserted = writer.execute(
        "INSERT INTO objects (name, size, modified_at, content) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        (name, len(content), modified_at, stored),
    )
    return inserted.rowcount == 1


def _has(connection: sqlite3.Connection, name: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM objects WHERE name = ?", (name,)).fetchone())


def _get(reader: sqlite3.Connection, name: str) -> bytes | None:
    row = reader.execute(
        "SELECT contents.content FROM objects JOIN contents ON contents.id = objects.content"
        " WHERE name = ?",
        (name,),
    ).fetchone()
    return None if row is None else row[0]


def _described(where: str, values: Sequence[str], reader: sqlite3.Connection) -> Sequence[BlobInfo]:
    rows = reader.execute(
        "SELECT name, size, modified_at FROM objects"  # noqa: S608
        f" WHERE {where} ORDER BY name LIMIT {_LISTED_AT_ONCE}",
        values,
    )
    return [BlobInfo(name, size, from_microseconds(at)) for name, size, at in rows]


def _delete(writer: sqlite3.Connection, name: str) -> None:
    """Remove an object, and give pages back to the disk, if the file has many that hold nothing.

    Giving back moves a page from the file's end into a free one, so it takes about as long as removing did.
    """
    removed = writer.execute(
        "DELETE FROM objects WHERE name = ? RETURNING content", (name,)
    ).fetchall()
    writer.executemany("DELETE FROM contents WHERE id = ?", removed)
    [free] = writer.execute("PRAGMA freelist_count").fetchone()
    for _ in range(min(free - FREE_PAGES, _GIVEN_BACK_AT_ONCE)):
        # Python runs one step of this statement, whatever number it has.
        writer.execute("PRAGMA incremental_vacuum(1)")
