"""The look at a server's databases that takes it for at rest, on which faults and benchmarks rest."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import records
from tests.support.records import under_way


@pytest.fixture
def server(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The databases of a server, at which it works: ``records.db``, and ``bus.db`` beside it."""
    for file, table in (("records.db", "records (kind)"), ("bus.db", "messages (id)")):
        with closing(sqlite3.connect(tmp_path / file)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"CREATE TABLE {table}")
    with closing(sqlite3.connect(tmp_path / "records.db", isolation_level=None)) as working:
        working.execute("ATTACH ? AS bus", (str(tmp_path / "bus.db"),))
        yield working


@pytest.mark.parametrize(
    "left",
    [
        "INSERT INTO records VALUES ('audit')",
        "INSERT INTO records VALUES ('outbox')",
        "INSERT INTO bus.messages VALUES (1)",
    ],
)
def test_whatever_waits_is_left(server: sqlite3.Connection, tmp_path: Path, left: str) -> None:
    server.execute("INSERT INTO records VALUES ('document')")
    assert under_way(tmp_path) is None
    server.execute(left)
    assert under_way(tmp_path) is not None


def test_what_moves_from_one_database_to_the_other_is_left(
    server: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last entry becomes a message after the messages were looked for, and before the entries are."""
    server.execute("INSERT INTO records VALUES ('audit')")
    ask = records._number

    def move_meanwhile(database: sqlite3.Connection, statement: str) -> int:
        if "FROM records" in statement:
            server.execute("INSERT INTO bus.messages VALUES (1)")
            server.execute("DELETE FROM records")
        return ask(database, statement)

    monkeypatch.setattr(records, "_number", move_meanwhile)
    assert under_way(tmp_path) is not None
