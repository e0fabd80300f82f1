"""The feed of the embedded record store: what it costs, its positions, and files from before it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.embedded import record_schema
from shared.adapters.embedded import sqlite as embedded_sqlite
from shared.adapters.embedded.records import SqliteRecords
from shared.base.errors import InternalError
from shared.base.partitions import Partition
from shared.ports.clock import Runtime, system_entropy
from shared.ports.records import Create, Delete, Record, Replace
from shared.wiring.upgrade import upgrade_data_folder
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

HERE = Partition("ten_a", "2026-11")
VERSION_2 = Path(__file__).parents[2] / "support" / "folders" / "records-2.sql"
"""Made by the release before the feed; it had deleted a record, and replaced ``doc_1``."""


def document(number: int) -> Record:
    return Record(HERE, "document", f"doc_{number:06}", {"number": number})


async def positions(store: SqliteRecords, file: Path) -> dict[str, int]:
    await store.commit(HERE, [Create(Record(HERE, "mark", "m", {}))])
    await store.commit(HERE, [Delete("mark", "m")])
    with closing(sqlite3.connect(file)) as database:
        return dict(database.execute("SELECT id, changed FROM records"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


@pytest.fixture
def version_2(file: Path) -> Path:
    with closing(sqlite3.connect(file)) as database:
        database.executescript(VERSION_2.read_text())
    return file


async def upgrade(file: Path, clock: FakeClock) -> bool:
    return await upgrade_data_folder(file.parent, Runtime(clock, system_entropy))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The instructions that SQLite has run, over all connections."""
    counted = [0]
    connect = sqlite3.connect

    def count() -> int:
        counted[0] += 1
        return 0

    def connected(*arguments: object, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)  # type: ignore[call-overload]
        connection.set_progress_handler(count, 1)
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(embedded_sqlite.sqlite3, "connect", connected)  # type: ignore[attr-defined]
        yield counted


async def test_ten_changes_cost_as_much_among_many_records_as_among_few(file, clock, steps):
    costs = []
    for stored in (1_000, 100_000):
        store = SqliteRecords(file, clock)
        await store.commit(HERE, [Create(Record(HERE, "first", f"{stored}", {}))])
        await store.close()
        with closing(sqlite3.connect(file)) as database:
            [last] = database.execute("SELECT last FROM sequence").fetchone()
            database.executemany(
                "INSERT INTO records VALUES (?, 'document', ?, 'etag', '{}', '{}', NULL, ?)",
                ((str(HERE), f"{stored}.{n}", last + n) for n in range(1, stored)),
            )
            database.execute("UPDATE sequence SET last = last + ?", (stored,))
            database.commit()
        store = SqliteRecords(file, clock)
        position = None
        while (feed := await store.changes(HERE, after=position)).more:
            position = feed.position
        changes = [Create(document(stored + n)) for n in range(10)]
        await store.commit(HERE, changes)
        before = steps[0]
        again = await store.changes(HERE, after=feed.position)
        costs.append(steps[0] - before)
        assert len(again.records) == 10
        await store.close()
    assert costs[0] == costs[1]
    assert costs[1] < 1_000


async def test_each_commit_of_a_record_takes_a_position_that_only_grows(file, clock):
    store = SqliteRecords(file, clock)
    await asyncio.gather(*(store.commit(HERE, [Create(document(n))]) for n in range(20)))
    first = await positions(store, file)
    assert len(set(first.values())) == 20
    stored = await store.get(HERE, "document", "doc_000003")
    await store.commit(HERE, [Replace(stored)])
    second = await positions(store, file)
    assert second["doc_000003"] > max(first.values())
    await store.commit(HERE, [Delete("document", "doc_000003")])
    await store.close()
    store = SqliteRecords(file, clock)
    await store.commit(HERE, [Create(document(100))])
    assert (await positions(store, file))["doc_000100"] > second["doc_000003"]
    await store.close()


async def test_a_position_of_another_store_is_refused(tmp_path, clock):
    stores = [SqliteRecords(tmp_path / f"{name}.db", clock) for name in ("one", "other")]
    for store in stores:
        await store.commit(HERE, [Create(document(1))])
    feed = await stores[0].changes(HERE)
    with pytest.raises(ValueError, match="another store"):
        await stores[1].changes(HERE, after=feed.position)
    for store in stores:
        await store.close()


async def test_a_position_is_refused_once_the_store_is_an_older_copy(file, clock):
    """Positions after the copy was made are used a second time, for other records."""
    store = SqliteRecords(file, clock)
    await store.commit(HERE, [Create(document(1))])
    await store.close()
    copy = file.read_bytes()
    store = SqliteRecords(file, clock)
    await store.commit(HERE, [Create(document(2))])
    feed = await store.changes(HERE)
    await store.close()
    file.write_bytes(copy)
    store = SqliteRecords(file, clock)
    with pytest.raises(ValueError, match="later state"):
        await store.changes(HERE, after=feed.position)
    await store.close()


async def test_a_file_of_version_2_is_refused_until_it_is_upgraded(version_2, clock):
    store = SqliteRecords(version_2, clock)
    with pytest.raises(InternalError, match="has version 2"):
        await store.changes(HERE)
    await store.close()
    assert await upgrade(version_2, clock) is True
    assert await upgrade(version_2, clock) is False


async def test_an_upgraded_file_gives_every_record_and_what_changes_then(version_2, clock):
    await upgrade(version_2, clock)
    store = SqliteRecords(version_2, clock)
    feed = await store.changes(HERE)
    assert {(record.kind, record.id) for record in feed.records} == {
        ("document", "doc_1"),
        ("document", "doc_3"),
        ("document", "doc_4"),
        ("upload", "upl_1"),
    }
    for record in feed.records:
        assert record == await store.get(HERE, record.kind, record.id)
    elsewhere = await store.changes(Partition("ten_b"))
    assert [record.body for record in elsewhere.records] == [{"name": "Zoë", "deep": [{}]}]
    found = await store.query(HERE, "document", where={"state": "sealed"})
    assert [record.body for record in found.records] == [{"number": 10}]
    third = await store.get(HERE, "document", "doc_3")
    await store.commit(HERE, [Replace(third), Create(document(9))])
    again = await store.changes(HERE, after=feed.position)
    assert [record.id for record in again.records] == ["doc_3", "doc_000009"]
    clock.advance(timedelta(hours=2).total_seconds())
    assert "doc_4" not in [record.id for record in (await store.changes(HERE)).records]
    await store.close()


async def test_an_upgraded_file_is_built_as_a_new_one(version_2, tmp_path, clock):
    await upgrade(version_2, clock)
    new = tmp_path / "new.db"
    store = SqliteRecords(new, clock)
    await store.commit(HERE, [Create(document(1))])
    await store.close()
    built = []
    for path in (version_2, new):
        with closing(sqlite3.connect(path)) as database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema")]
            built.append(
                {
                    "version": database.execute("PRAGMA user_version").fetchall(),
                    "columns": {
                        t: list(database.execute(f"PRAGMA table_info({t})")) for t in tables
                    },
                    "indexes": {
                        t: sorted(r[1:] for r in database.execute(f"PRAGMA index_list({t})"))
                        for t in tables
                    },
                }
            )
    assert built[0] == built[1]


async def test_an_upgrade_that_fails_leaves_the_file_as_it_was(version_2, clock, monkeypatch):
    before = version_2.read_bytes()
    half = record_schema._ADD_POSITIONS.replace("COMMIT;", "no such statement;")
    with monkeypatch.context() as patch:
        patch.setattr(record_schema, "_ADD_POSITIONS", half)
        with pytest.raises(sqlite3.Error):
            await upgrade(version_2, clock)
    assert version_2.read_bytes() == before
    assert await upgrade(version_2, clock) is True


async def test_what_an_upgrade_moves_is_overwritten(version_2, clock, forgetful):
    """Rows that grow move to other pages, and must not stay behind on the former ones.

    Also where SQLite was compiled not to overwrite by itself.
    """
    ids = [f"key_{number:04}" for number in range(3_000)]
    with closing(sqlite3.connect(version_2)) as database:
        database.execute("PRAGMA secure_delete=ON")
        rows = [(str(HERE), each, f"wrapped-{each}".encode()) for each in ids]
        database.executemany(
            "INSERT INTO records VALUES (?, 'document', ?, 'etag', ?, '{}', NULL)", rows
        )
        database.commit()
    await upgrade(version_2, clock)
    store = SqliteRecords(version_2, clock)
    deleted = ids[::40]
    await store.commit(HERE, [Delete("document", each) for each in deleted])
    await store.close()
    left = version_2.read_bytes()
    assert not [each for each in deleted if f"wrapped-{each}".encode() in left]


async def test_an_index_row_that_somebody_added_keeps_no_record_from_being_written(
    file: Path, clock: FakeClock
) -> None:
    store = SqliteRecords(file, clock)
    await store.commit(HERE, [Create(document(1))])
    with closing(sqlite3.connect(file)) as database:
        database.executemany(
            "INSERT INTO fields (partition, kind, field, value, id) VALUES (?, ?, ?, ?, ?)",
            [(str(HERE), "document", "state", "live", f"doc_{number:06}") for number in (1, 2, 3)],
        )
        database.commit()
    indexed = [
        Record(HERE, "document", f"doc_{number:06}", {"number": number}, {"state": "live"})
        for number in (2, 3)
    ]
    await store.commit(HERE, [Create(record) for record in indexed])
    changed = await store.get(HERE, "document", "doc_000001")
    await store.commit(HERE, [Replace(replace(changed, index={"state": "live"}))])
    found = await store.query(HERE, "document", where={"state": "live"})
    assert [record.body["number"] for record in found.records] == [1, 2, 3]
    await store.close()
