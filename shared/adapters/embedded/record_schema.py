"""The tables of the embedded record store, and the upgrade of a file that has an earlier form of them.

``records`` holds the records. ``fields`` holds one row for each index field of each record, so that a
query of a partition by any field is an index lookup that delivers its rows in the order of their ids.
``changed`` gives each commit of a record a position that only grows; ``sequence`` holds the last one,
because the newest record may be removed, and its position must not be used twice.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

VERSION: Final = 3
"""Of the schema; files of release 0.1, where ``tenant`` stood for ``partition``, have none."""

_WITHOUT_POSITIONS: Final = 2

_SEQUENCE: Final = """
CREATE UNIQUE INDEX IF NOT EXISTS records_by_change ON records (partition, changed);
CREATE TABLE IF NOT EXISTS sequence (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    store TEXT NOT NULL,
    last INTEGER NOT NULL
);
"""

SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS records (
    partition TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    etag TEXT NOT NULL,
    body BLOB NOT NULL,
    fields TEXT NOT NULL,
    expires_at INTEGER,
    changed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (partition, kind, id)
);
CREATE INDEX IF NOT EXISTS records_that_expire ON records (expires_at)
    WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS fields (
    partition TEXT NOT NULL,
    kind TEXT NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (partition, kind, field, value, id)
) WITHOUT ROWID;
{_SEQUENCE}
"""

TAKE_POSITIONS: Final = """
INSERT INTO sequence (id, store, last) VALUES (1, lower(hex(randomblob(16))), :count)
ON CONFLICT (id) DO UPDATE SET last = last + :count RETURNING last
"""
"""Takes the next positions, and gives the last of them. The first time it also names the store, so that
another's positions are told apart."""

# A column that is added needs a default. The rowids give the records positions in the order in which
# they were first committed.
_ADD_POSITIONS: Final = f"""
BEGIN IMMEDIATE;
ALTER TABLE records ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
UPDATE records SET changed = rowid;
{_SEQUENCE}
INSERT INTO sequence (id, store, last)
    SELECT 1, lower(hex(randomblob(16))), coalesce(max(changed), 0) FROM records;
PRAGMA user_version={VERSION};
COMMIT;
"""  # noqa: S608 - of constants


def add_positions(path: Path) -> bool:
    """Give every record of a file of version 2 a position; return whether it was one.

    A process that is killed half-way leaves the file as it was.

    Raises:
        OSError, sqlite3.Error: The disk refused.
    """
    if not path.exists():
        return False
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        try:
            [version] = database.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError:
            return False  # the record store says what is wrong with the file
        if version != _WITHOUT_POSITIONS:
            return False
        # Rows that grow move to other pages: what they leave behind may hold wrapped keys.
        database.execute("PRAGMA secure_delete=ON")
        database.executescript(_ADD_POSITIONS)
    return True
