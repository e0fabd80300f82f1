"""The shared writer of the embedded stores: group commit, failure, durability, crashes."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from shared.adapters.embedded import sqlite as embedded_sqlite
from shared.adapters.embedded import writer as embedded_writer
from shared.adapters.embedded.records import SqliteRecords
from shared.adapters.embedded.sqlite import Database
from shared.base.activity import Activity
from shared.base.errors import Conflict, Damaged, InternalError, InvalidInput, NotFound, Unavailable
from shared.base.partitions import Partition
from shared.ports.records import Create, Delete, Record, Replace
from tests.support.clock import FakeClock
from tests.support.killing import run_and_kill
from tests.support.waiting import eventually

HERE = Partition("ten_a")

pytestmark = pytest.mark.anyio

SCHEMA = "CREATE TABLE IF NOT EXISTS notes (text TEXT PRIMARY KEY)"


class Connection(sqlite3.Connection):
    """A connection that counts its commits, and fails them when told to."""

    commits = 0
    committing: ClassVar[list[int]] = []
    failing = ""
    before_commit: Callable[[], None] | None = None

    def execute(self, sql, *arguments):
        if sql == "COMMIT":
            if Connection.before_commit is not None:
                Connection.before_commit()
            if Connection.failing == "before":
                raise sqlite3.OperationalError("disk I/O error")
            Connection.commits += 1
            Connection.committing.append(threading.get_ident())
            if Connection.failing == "after":
                super().execute(sql)
                raise sqlite3.OperationalError("disk I/O error")
        if Connection.failing in sql and Connection.failing == "wal_checkpoint":
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *arguments)


@pytest.fixture
def connection(connect_with):
    Connection.commits, Connection.failing, Connection.before_commit = 0, "", None
    Connection.committing.clear()
    connect_with(Connection)
    return Connection


@pytest.fixture
async def database(tmp_path, connection):
    database = Database(tmp_path / "new" / "folder" / "notes.sqlite", SCHEMA)
    yield database
    await database.close()


def insert(text):
    return lambda writer: writer.execute("INSERT INTO notes VALUES (?)", (text,)).rowcount


def everything(reader):
    return [text for (text,) in reader.execute("SELECT text FROM notes ORDER BY text")]


async def test_files_and_folders_are_private(database, tmp_path):
    await database.write(insert("a"))
    folder = tmp_path / "new" / "folder"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    files = ("", "-wal", "-shm", "-turn", "-next")
    assert set(modes) == {f"notes.sqlite{suffix}" for suffix in files}
    assert set(modes.values()) == {0o600}


async def test_commits_are_synchronous_and_logged_ahead(database):
    def settings(connection):
        return [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("synchronous", "journal_mode")
        ]

    assert await database.write(settings) == [2, "wal"]


async def test_work_that_waits_together_is_committed_together(database, connection):
    await database.write(insert("first"))
    before = connection.commits
    assert (
        await asyncio.gather(*(database.write(insert(f"{n:03}")) for n in range(100))) == [1] * 100
    )
    # The writer takes the first while the others are still being queued.
    assert connection.commits - before <= 10
    assert len(await database.read(everything)) == 101


async def test_a_commit_waits_for_whoever_is_about_to_join_it(tmp_path, connection):
    activity = Activity(3_600.0)
    database = Database(tmp_path / "notes.sqlite", SCHEMA, activity=activity)
    await database.write(insert("opened"))
    before = connection.commits

    async def caller(number, at_work_for):
        with activity.working:
            for _ in range(at_work_for):
                await asyncio.sleep(0)
            await database.write(insert(f"{number}"))

    async with asyncio.timeout(60):
        await asyncio.gather(*(caller(number, 50 * number) for number in range(1, 6)))
    assert connection.commits - before == 1
    await database.close()


async def test_work_that_fails_undoes_itself_and_nothing_else(database):
    def half(writer):
        insert("half")(writer)
        raise Conflict("no")

    outcomes = await asyncio.gather(
        database.write(insert("a")),
        database.write(half),
        database.write(insert("b")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [int, Conflict, int]
    assert await database.read(everything) == ["a", "b"]


async def test_a_commit_that_fails_fails_all_of_its_group(database, connection):
    await database.write(insert("before"))
    connection.failing = "before"

    def conflict(_):
        raise Conflict("this may be the fault of what is now undone")

    outcomes = await asyncio.gather(
        *(database.write(insert(f"{n}")) for n in range(10)),
        database.write(conflict),
        return_exceptions=True,
    )
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    connection.failing = ""
    assert await database.read(everything) == ["before"]
    await database.write(insert("after"))
    assert await database.read(everything) == ["after", "before"]


async def test_a_full_disk_is_unavailable_and_passes(database):
    await database.write(insert("before"))
    await database.write(lambda writer: writer.execute("PRAGMA max_page_count = 3").fetchall())
    with pytest.raises(Unavailable):
        await database.write(insert("x" * 100_000))
    assert await database.read(everything) == ["before"]
    await database.write(insert("small"))


async def test_a_file_that_is_no_database_is_damaged(tmp_path):
    (tmp_path / "notes.sqlite").write_bytes(b"no database " * 1000)
    database = Database(tmp_path / "notes.sqlite", SCHEMA)
    with pytest.raises(Damaged, match=r"notes\.sqlite .* restore it from a backup"):
        await database.read(everything)
    with pytest.raises(Damaged, match=r"notes\.sqlite .* restore it from a backup"):
        await database.write(insert("x"))
    await database.close()


async def test_a_page_that_is_not_what_was_written_is_damage(tmp_path):
    path = tmp_path / "notes.sqlite"
    before = Database(path, SCHEMA)
    for n in range(200):
        await before.write(insert(f"{n:03}" * 100))
    await before.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    database = Database(path, SCHEMA)
    with pytest.raises(Damaged):
        await database.read(everything)
    outcomes = await asyncio.gather(
        database.write(insert("x")), database.write(insert("y")), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {Damaged}
    await database.close()


async def test_a_lock_of_another_process_is_unavailable(database, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded_sqlite, "BUSY_SECONDS", 0.0)
    await database.read(everything)
    other = sqlite3.connect(tmp_path / "new" / "folder" / "notes.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await database.write(insert("x"))
    other.execute("ROLLBACK")
    other.close()
    await database.write(insert("x"))


async def test_text_that_is_no_unicode_is_refused(database):
    with pytest.raises(InvalidInput):
        await database.write(insert("\udc80"))
    with pytest.raises(InvalidInput):
        await database.read(lambda reader: reader.execute("SELECT ?", ("\udc80",)))


async def test_a_caller_that_is_gone_before_its_turn_changes_nothing(database, connection):
    busy, go_on = threading.Event(), threading.Event()

    def hold_up():
        busy.set()
        assert go_on.wait(10)

    connection.before_commit = hold_up
    holding = asyncio.create_task(database.write(insert("held up")))
    await asyncio.to_thread(busy.wait, 10)
    connection.before_commit = None
    call = asyncio.create_task(database.write(insert("cancelled")))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await database.read(everything) == [], "readers do not wait for the disk"
    go_on.set()
    await holding
    await database.write(insert("after"))
    assert await database.read(everything) == ["after", "held up"]


async def test_a_closed_database_refuses_and_has_finished_its_work(tmp_path):
    database = Database(tmp_path / "notes.sqlite", SCHEMA)
    calls = [asyncio.create_task(database.write(insert(f"{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    await database.close()
    await database.close()
    assert await asyncio.gather(*calls) == [1] * 20
    with pytest.raises(Unavailable):
        await database.write(insert("late"))
    with pytest.raises(Unavailable):
        await database.read(everything)
    assert not (tmp_path / "notes.sqlite-wal").exists()


async def test_expired_records_leave_the_disk(tmp_path):
    clock = FakeClock()
    store = SqliteRecords(tmp_path / "records.sqlite", clock)
    expires_at = clock.now() + timedelta(seconds=60)
    mortal = [
        Create(Record(HERE, "token", f"{n}", {}, {"user": "u"}, expires_at)) for n in range(50)
    ]
    await store.commit(HERE, mortal)
    clock.advance(61)
    await store.commit(HERE, [Create(Record(HERE, "token", "new", {}, {"user": "u"}))])
    await store.close()
    file = sqlite3.connect(tmp_path / "records.sqlite")
    assert file.execute("SELECT id FROM records").fetchall() == [("new",)]
    assert file.execute("SELECT id FROM fields").fetchall() == [("new",)]
    file.close()


async def test_many_expired_records_leave_the_disk_commit_by_commit(tmp_path):
    clock = FakeClock()
    store = SqliteRecords(tmp_path / "records.sqlite", clock)
    expires_at = clock.now() + timedelta(seconds=60)
    for start in range(0, 450, 50):
        await store.commit(
            HERE,
            [
                Create(Record(HERE, "token", f"{n}", {}, {}, expires_at))
                for n in range(start, start + 50)
            ],
        )
    clock.advance(61)
    for n in range(3):
        await store.commit(HERE, [Create(Record(HERE, "token", f"new{n}", {}))])
    await store.close()
    file = sqlite3.connect(tmp_path / "records.sqlite")
    assert file.execute("SELECT count(*) FROM records").fetchone() == (3,)
    file.close()


async def test_a_file_of_another_version_is_refused_and_not_changed(tmp_path):
    """Release 0.1 kept records by tenant, in a file without a version."""
    path = tmp_path / "records.sqlite"
    with closing(sqlite3.connect(path)) as former:
        former.execute("CREATE TABLE records (tenant TEXT, kind TEXT, id TEXT)")
    before = path.read_bytes()
    store = SqliteRecords(path, FakeClock())
    with pytest.raises(InternalError, match=r"records\.sqlite has version 0 .* upgrade"):
        await store.get(HERE, "token", "t")
    with pytest.raises(InternalError, match=r"records\.sqlite has version 0 .* upgrade"):
        await store.commit(HERE, [Create(Record(HERE, "token", "t", {}))])
    await store.close()
    assert path.read_bytes() == before


async def test_a_file_carries_its_version_from_its_first_table_on(tmp_path):
    path = tmp_path / "notes.sqlite"
    broken = Database(path, f"{SCHEMA}; CREATE TABLE notes (twice TEXT)", 7)
    with pytest.raises(Unavailable):
        await broken.write(insert("a"))
    await broken.close()
    for text in ("a", "b"):
        database = Database(path, SCHEMA, 7)
        await database.write(insert(text))
        await database.close()
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (7,)
    newer = Database(path, SCHEMA, 8)
    with pytest.raises(InternalError):
        await newer.read(everything)
    await newer.close()


def layout_of(path):
    with closing(sqlite3.connect(path)) as file:
        names = ("page_size", "auto_vacuum", "journal_mode")
        return tuple(file.execute(f"PRAGMA {name}").fetchone()[0] for name in names)


async def test_a_new_file_is_laid_out_as_asked_for_and_an_old_one_stays_as_it_is(tmp_path):
    layout = "PRAGMA page_size = 16384; PRAGMA auto_vacuum = INCREMENTAL;"
    plain, asked = tmp_path / "plain.sqlite", tmp_path / "asked.sqlite"
    for path, first in ((plain, ""), (asked, layout)):
        for text, given in (("a", first), ("b", "PRAGMA page_size = 1024"), ("c", layout)):
            database = Database(path, SCHEMA, 7, layout=given)
            await database.write(insert(text))
            assert await database.read(everything) == list("abc"[: "abc".index(text) + 1])
            await database.close()
    assert layout_of(asked) == (16_384, 2, "wal")
    assert layout_of(plain) == (4_096, 0, "wal")


async def test_what_was_deleted_or_replaced_is_overwritten(tmp_path, forgetful):
    path = tmp_path / "records.sqlite"
    store = SqliteRecords(path, FakeClock())
    for name in ("deleted", "replaced"):
        secret = {"key": f"secret-{name}" * 500}
        await store.commit(HERE, [Create(Record(HERE, "key", name, secret))])
    await store.commit(HERE, [Delete("key", "deleted")])
    replaced = await store.get(HERE, "key", "replaced")
    await store.commit(HERE, [Replace(replace(replaced, body={}))])
    await store.close()
    assert b"secret-" not in path.read_bytes()


def files_hold(path: Path, text: bytes) -> bool:
    return any(text in each.read_bytes() for each in path.parent.iterdir())


async def test_the_log_forgets_what_was_removed(tmp_path):
    path = tmp_path / "notes.sqlite"
    database = Database(path, SCHEMA, forget_seconds=0.0)
    await database.write(insert("a secret text"))
    assert files_hold(path, b"a secret text")
    await database.write(lambda writer: writer.execute("DELETE FROM notes").rowcount)
    await eventually(lambda: not files_hold(path, b"a secret text"))
    await database.close()


async def test_without_any_more_work_the_log_is_emptied(tmp_path):
    path = tmp_path / "notes.sqlite"
    database = Database(path, SCHEMA, forget_seconds=0.01)
    await database.write(insert("a"))
    await eventually(lambda: path.with_name("notes.sqlite-wal").stat().st_size == 0)
    await database.close()


async def test_a_reader_in_the_way_puts_it_off(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded_writer, "FORGET_SECONDS", 0.0)
    path = tmp_path / "notes.sqlite"
    database = Database(path, SCHEMA, forget_seconds=0.0)
    await database.write(insert("a secret text"))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert everything(reader) == ["a secret text"]
        await database.write(lambda writer: writer.execute("DELETE FROM notes").rowcount)
        assert files_hold(path, b"a secret text")
        assert everything(reader) == ["a secret text"]
        reader.execute("COMMIT")
    await eventually(lambda: not files_hold(path, b"a secret text"))
    await database.close()


async def test_a_disk_in_the_way_puts_it_off(tmp_path, connection, monkeypatch, caplog):
    monkeypatch.setattr(embedded_writer, "FORGET_SECONDS", 0.0)
    path = tmp_path / "notes.sqlite"
    database = Database(path, SCHEMA, forget_seconds=0.0)
    await database.write(insert("a secret text"))
    connection.failing = "wal_checkpoint"

    def remove(writer: sqlite3.Connection) -> bool:
        writer.execute("DELETE FROM notes")
        # Looked at here: once this has returned, the writer closes the file, which may empty the log too.
        return files_hold(path, b"a secret text")

    assert await database.write(remove)
    await eventually(lambda: "the log was not emptied" in caplog.text)
    connection.failing = ""
    await eventually(lambda: not files_hold(path, b"a secret text"))
    assert "/notes.sqlite: the log was not emptied: OperationalError" in caplog.text
    await database.close()


async def test_what_a_failed_commit_left_in_the_log_goes_at_once(tmp_path, connection):
    """SQLite has written it before it syncs the log; who opens the file anew would find it committed."""
    path = tmp_path / "notes.sqlite"
    log = path.with_name("notes.sqlite-wal")
    database = Database(path, SCHEMA, forget_seconds=3_600.0)
    await database.write(insert("kept"))
    assert await database.read(everything) == [
        "kept"
    ]  # while a reader is open SQLite keeps the log
    assert log.stat().st_size > 0
    connection.failing = "after"
    with pytest.raises(Unavailable):
        await database.write(insert("refused"))
    connection.failing = ""
    await eventually(lambda: log.stat().st_size == 0)
    await database.close()


async def test_a_commit_that_begins_the_log_anew_is_no_work_of_the_event_loop(tmp_path, connection):
    """SQLite syncs the header of a log that was emptied, however little durable the commit has to be."""
    path = tmp_path / "notes.sqlite"
    log = path.with_name("notes.sqlite-wal")
    database = Database(path, SCHEMA, forget_seconds=0.0)
    await database.write(insert("first"))
    await eventually(lambda: log.stat().st_size == 0)
    connection.committing.clear()
    database._writer._forget_seconds = 3_600.0
    await database.write(insert("second"), durable=False)
    await database.write(insert("third"), durable=False)
    loop = threading.get_ident()
    assert [thread == loop for thread in connection.committing] == [False, True]
    await database.close()


async def test_many_first_readers_leave_one_connection(tmp_path, connection, monkeypatch):
    opened: list[object] = []
    closed: list[object] = []
    monkeypatch.setattr(Database, "_connect_reader", counted(Database._connect_reader, opened))
    monkeypatch.setattr(Connection, "close", counted(Connection.close, closed))
    database = Database(tmp_path / "notes.sqlite", SCHEMA)
    await asyncio.gather(*(database.read(everything) for _ in range(20)))
    assert len(closed) == len(opened) - 1
    await database.close()
    assert len(closed) == len(opened)


def counted(function, calls):
    def count(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return count


REMOVER = """
import asyncio, sys
from pathlib import Path
from shared.adapters.embedded.sqlite import Database

async def main():
    database = Database(Path(sys.argv[1]), "CREATE TABLE IF NOT EXISTS notes (text TEXT)",
                        forget_seconds=3600.0)
    await database.write(lambda writer: writer.execute("INSERT INTO notes VALUES ('a secret text')"))
    await database.write(lambda writer: writer.execute("DELETE FROM notes"))
    print("removed", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_what_a_killed_process_left_in_the_log_goes_at_the_next_start(tmp_path):
    path = tmp_path / "notes.sqlite"
    assert run_and_kill(REMOVER, path, 1) == ["removed"]
    assert b"a secret text" in path.with_name("notes.sqlite-wal").read_bytes()
    database = Database(path, "CREATE TABLE IF NOT EXISTS notes (text TEXT)")
    assert await database.read(everything) == []
    assert all(b"a secret text" not in each.read_bytes() for each in tmp_path.iterdir())
    await database.close()


COMMITTER = """
import asyncio, sys
from pathlib import Path
from shared.adapters.embedded.records import SqliteRecords
from shared.base.partitions import Partition
from shared.ports.clock import SystemClock
from shared.ports.records import Create, Record

HERE = Partition("ten_a")

async def main():
    store = SqliteRecords(Path(sys.argv[1]), SystemClock())
    async def worker(name):
        for number in range(100_000):
            pair = [f"{name}_{number:06}_{half}" for half in "ab"]
            records = [Record(HERE, "x", i, {}, {"w": name}) for i in pair]
            await store.commit(HERE, [Create(record) for record in records])
            print(name, number, flush=True)
    await asyncio.gather(*(worker(f"w{n}") for n in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 20, 203, 777])
async def test_kill_9_loses_no_commit_and_leaves_none_half_done(tmp_path, lines):
    path = tmp_path / "records.sqlite"
    told = run_and_kill(COMMITTER, path, lines)
    assert len(told) >= lines
    store = SqliteRecords(path, FakeClock())
    for line in told:
        worker, number = line.split()
        for half in "ab":
            await store.get(HERE, "x", f"{worker}_{int(number):06}_{half}")
    found, cursor = [], None
    while True:
        page = await store.query(HERE, "x", limit=1000, cursor=cursor)
        found += [record.id for record in page.records]
        if (cursor := page.cursor) is None:
            break
    assert {i[:-1] for i in found if i.endswith("a")} == {i[:-1] for i in found if i.endswith("b")}
    with pytest.raises(NotFound):
        await store.get(HERE, "x", "w0_100000_a")
    await store.commit(HERE, [Create(Record(HERE, "x", "after", {}))])
    await store.close()
