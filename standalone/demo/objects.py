"""The objects of a blob store of the embedded profile, past the server: rows of a database, and files.

Whoever looks at them or changes them here does what a disk, or somebody with access to it, may do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, Final, Literal

_DATABASE: Final = ".small.db"
_INCOMING: Final = ".incoming"
_MARK: Final = "="
"""That ends the name of an object's file."""


@dataclass(frozen=True, order=True)
class StoredObject:
    """A row or a file, whichever it is; with the methods of a ``Path``.

    The server may run meanwhile. Where a row and a file have the name, the row is the object.

    Attributes:
        store: The store's folder, or, where all objects are files, one in it.
        name: The object's name there.
    """

    store: Path
    name: str

    @property
    def file(self) -> Path:
        """Where the object's file lies, or would lie."""
        return self.store / f"{self.name}{_MARK}"

    def exists(self) -> bool:
        """Whether it is there."""
        return self._row() is not None or self.file.exists()

    def open(self) -> BufferedReader | BytesIO:
        """Its content, to be read.

        Raises:
            FileNotFoundError: There is no such object.
        """
        row = self._row()
        return self.file.open("rb") if row is None else BytesIO(row)

    def read_bytes(self) -> bytes:
        """All of its content; raises as ``open``."""
        with self.open() as content:
            return content.read()

    def write_bytes(self, content: bytes | bytearray) -> None:
        """Replace its content; what is not there becomes a file."""
        if not self._change_row(
            ("UPDATE contents SET content = ? WHERE id = ?", bytes(content)),
            ("UPDATE objects SET size = ? WHERE content = ?", len(content)),
        ):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_bytes(content)

    def flip(self, offset: int) -> None:
        """Change one bit of the byte at an offset; of a file, nothing else is read. Raises as ``open``."""
        row = self._row()
        if row is not None:
            self.write_bytes(row[:offset] + bytes([row[offset] ^ 1]) + row[offset + 1 :])
            return
        with self.file.open("r+b") as file:
            file.seek(offset)
            [byte] = file.read(1)
            file.seek(offset)
            file.write(bytes([byte ^ 1]))

    def unlink(self) -> None:
        """Remove it; raises as ``open``."""
        if not self._change_row(
            ("DELETE FROM contents WHERE id = ?",), ("DELETE FROM objects WHERE content = ?",)
        ):
            self.file.unlink()

    def _row(self) -> bytes | None:
        """The content of the row of this name; None: there is none."""
        found = _read(
            self.store,
            "SELECT contents.content FROM objects JOIN contents ON contents.id = objects.content"
            " WHERE name = ?",
            self.name,
        )
        return found[0][0] if found else None

    def _change_row(self, *changes: tuple[Any, ...]) -> bool:
        """Change the row, if there is one; whether there is.

        Args:
            changes: Each a statement that ends with the place of the content's id, and its other values.
        """
        found = _read(self.store, "SELECT content FROM objects WHERE name = ?", self.name)
        if not found:
            return False
        with closing(_connect(self.store, "rw")) as database, database:
            for statement, *values in changes:
                database.execute(statement, (*values, found[0][0]))
        return True


def stored_objects(store: Path) -> Sequence[StoredObject]:
    """The objects of a store, in the order of their names; twice where a row and a file have a name.

    Args:
        store: The store's folder, or, where all objects are files, one in it.
    """
    names = [name for (name,) in _read(store, "SELECT name FROM objects")]
    names += [
        str(path.relative_to(store)).removesuffix(_MARK)
        for path in store.rglob("*")
        if path.is_file() and _INCOMING not in path.parts and not path.name.startswith(_DATABASE)
    ]
    return [StoredObject(store, name) for name in sorted(names)]


def _read(store: Path, query: str, *values: str) -> list[Any]:
    """What a query returns; nothing where no object is a row."""
    if not (store / _DATABASE).exists():
        return []
    with closing(_connect(store, "ro")) as database:
        # The server may be making the file just now.
        if not database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'objects'").fetchone():
            return []
        return database.execute(query, values).fetchall()


def _connect(store: Path, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    """Only who may write moves the write-ahead log into the file, when it is the last to close that."""
    return sqlite3.connect(f"{(store / _DATABASE).absolute().as_uri()}?mode={mode}", uri=True)
