"""BlobsBySize: what is a row and what a file, and that nobody sees the difference."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from shared.adapters.embedded import rows
from shared.adapters.embedded.blobs import FileBlobs
from shared.adapters.embedded.by_size import FILE_NAME, BlobsBySize
from shared.adapters.embedded.pieces import SMALL
from shared.base.activity import Activity
from shared.base.errors import Conflict, Damaged, Forbidden, NotFound, Unavailable
from tests.support.clock import FakeClock
from tests.support.killing import run_and_kill
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

LARGE = SMALL + 1
PAGE = 8_192


class Connection(sqlite3.Connection):
    """A connection that notes how durable each of its commits is, and does something before it."""

    committed: ClassVar[list[int]] = []
    before_commit: ClassVar[Callable[[], None] | None] = None

    def execute(self, sql, *arguments):
        if sql == "COMMIT":
            if Connection.before_commit is not None:
                Connection.before_commit()
            Connection.committed.extend(super().execute("PRAGMA synchronous").fetchone())
        return super().execute(sql, *arguments)


@pytest.fixture
def connection(connect_with):
    Connection.committed.clear()
    Connection.before_commit = None
    connect_with(Connection)
    return Connection


class HeldCommits:
    """A commit that waits for the test: the next one."""

    def __init__(self):
        self._begun, self._go_on = threading.Event(), threading.Event()
        self.go_on = self._go_on.set

    async def begun(self):
        assert await asyncio.to_thread(self._begun.wait, 10)

    def hold(self):
        Connection.before_commit = None
        self._begun.set()
        assert self._go_on.wait(10)


@pytest.fixture
async def held_commits(store, connection):
    """The commit that comes next; an object, ``opened``, is there."""
    await store.put("opened", stream(b"x"))
    held = HeldCommits()
    connection.before_commit = held.hold
    return held


@pytest.fixture
def root(tmp_path):
    return tmp_path / "primary"


@pytest.fixture
async def store(root):
    store = BlobsBySize(root, FakeClock())
    yield store
    await store.close()


async def stream(*chunks):
    for chunk in chunks:
        yield chunk


async def content(store, name, **part):
    return b"".join([piece async for piece in store.get(name, **part)])


async def names(store, prefix=""):
    return [info.name async for info in store.list(prefix)]


async def outcome_of(put):
    """What a put returns, or raises."""
    return (await asyncio.gather(put, return_exceptions=True))[0]


def files_of(root):
    """The objects that are files, by their names, and whatever else lies there but for the database."""
    return sorted(
        str(path.relative_to(root)).removesuffix("=")
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(FILE_NAME)
    )


def rows_of(root):
    """The objects that are rows, by their names."""
    if not (root / FILE_NAME).exists():
        return []
    with closing(sqlite3.connect(root / FILE_NAME)) as database:
        return [name for (name,) in database.execute("SELECT name FROM objects ORDER BY name")]


def log_of(root):
    return root / f"{FILE_NAME}-wal"


def files_hold(root: Path, text: bytes) -> bool:
    return any(text in path.read_bytes() for path in root.rglob("*") if path.is_file())


def pattern(size: int) -> bytes:
    """Bytes in which every position can be told from its neighbours."""
    return bytes((i * 31 + i // 251) % 256 for i in range(size))


# Rows and files


BORDER = [
    [b""],
    [b"x"],
    [pattern(SMALL)],
    [pattern(SMALL)[:1], pattern(SMALL)[1:]],
    [pattern(SMALL)[:40_000], b"", pattern(SMALL)[40_000:]],
]
BEYOND = [
    [pattern(LARGE)],
    [pattern(LARGE)[:1], pattern(LARGE)[1:]],
    [pattern(LARGE)[:SMALL], pattern(LARGE)[SMALL:]],
    [pattern(LARGE)[:SMALL], b"", pattern(LARGE)[SMALL:], b""],
    [pattern(150_000)[:50_000], pattern(150_000)[50_000:120_000], pattern(150_000)[120_000:]],
]


@pytest.mark.parametrize("chunks", BORDER + BEYOND, ids=lambda chunks: str([*map(len, chunks)]))
async def test_what_is_larger_than_a_row_is_a_file(store, root, chunks):
    whole = b"".join(chunks)
    assert await store.put("ten_a/doc", stream(*chunks)) == len(whole)
    small = len(whole) <= SMALL
    assert (rows_of(root), files_of(root)) == (
        (["ten_a/doc"], []) if small else ([], ["ten_a/doc"])
    )
    assert await content(store, "ten_a/doc") == whole
    assert list(await store.get_all([("ten_a/doc", LARGE * 3)])) == [whole]
    assert (await store.head("ten_a/doc")).size == len(whole)
    assert [info.size async for info in store.list()] == [len(whole)]


@pytest.mark.parametrize("size", [0, 1, SMALL, LARGE])
async def test_what_is_copied_or_put_with_others_is_a_row_or_a_file_by_its_size(
    store, root, tmp_path, size
):
    source = FileBlobs(tmp_path / "source", FakeClock())
    await source.put("doc", stream(pattern(size)))
    assert await store.copy_from(source, "doc", "copied") == size
    await store.put_all([("together", memoryview(pattern(size)))])
    expected = ["copied", "together"]
    assert (rows_of(root), files_of(root)) == ((expected, []) if size <= SMALL else ([], expected))
    for name in expected:
        assert await content(store, name) == pattern(size)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_an_object_has_the_time_of_the_clock(root, size):
    clock = FakeClock()
    store = BlobsBySize(root, clock)
    clock.advance(12.345678)
    await store.put("doc", stream(pattern(size)))
    made_at = clock.now()
    clock.advance(5)
    assert (await store.head("doc")).modified_at == made_at
    assert [info.modified_at async for info in store.list()] == [made_at]
    await store.close()


@pytest.mark.parametrize("size", [0, 1, 10_000, SMALL, LARGE])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, None),
        (0, 0),
        (0, 1),
        (1, None),
        (5_000, 5_000),
        (8_000, 9_000),
        (9_999, 10_001),
        (SMALL - 1, SMALL),
        (SMALL - 1, SMALL + 1),
        (SMALL, None),
        (SMALL, SMALL + 9),
        (10**9, None),
        (3, 10**9),
    ],
)
async def test_ranges(store, size, start, end):
    await store.put("doc", stream(pattern(size)))
    assert await content(store, "doc", start=start, end=end) == pattern(size)[start:end]


@pytest.mark.parametrize(("start", "end"), [(-1, None), (5, 4)])
async def test_what_is_no_range_is_refused(store, start, end):
    await store.put("doc", stream(b"content"))
    with pytest.raises(ValueError, match="range"):
        await content(store, "doc", start=start, end=end)


MIXED = {f"ten_{number % 3}/{number:03}": pattern(number * 1_100) for number in range(130)}
"""Half of them rows and half of them files."""


async def test_rows_and_files_are_put_and_read_together(store, root):
    await store.put_all(list(MIXED.items()))
    assert rows_of(root) == sorted(name for name, whole in MIXED.items() if len(whole) <= SMALL)
    assert files_of(root) == sorted(name for name, whole in MIXED.items() if len(whole) > SMALL)
    wanted = [(name, 10**6) for name in reversed(MIXED)]
    assert list(await store.get_all(wanted)) == list(reversed(MIXED.values()))
    wanted = [("ten_1/001", 10), ("no/such", 5), ("ten_0/129", 7), ("ten_1/001", 0), ("ten_2", 9)]
    first, large = MIXED["ten_1/001"], MIXED["ten_0/129"]
    assert list(await store.get_all(wanted)) == [first[:10], None, large[:7], b"", None]


@pytest.mark.parametrize("taken", ["ten_0/003", "ten_0/129"])
async def test_one_that_exists_is_not_put_with_others(store, root, taken):
    await store.put(taken, stream(b"first"))
    with pytest.raises(Conflict):
        await store.put_all(list(MIXED.items()))
    assert await content(store, taken) == b"first"
    assert taken not in files_of(root)
    # Whatever was put of the others is whole.
    for name in set(await names(store)) - {taken}:
        assert await content(store, name) == MIXED[name]


async def test_of_several_that_exist_no_file_stays_beside_a_row(store, root):
    for name in ("a", "b", "c"):
        await store.put(name, stream(b"first"))
    with pytest.raises(Conflict):
        await store.put_all([(name, pattern(LARGE)) for name in ("a", "b", "c")])
    assert files_of(root) == []


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", "a-", "a/b/", "b", "b/0", "b/01", "zz/"])
async def test_rows_and_files_are_listed_in_the_order_of_their_names(store, root, prefix):
    some = ["a", "a-b", "a.b", "a/b", "a/a/z", "a0", "a_b", "aa/b", "a-b/c", "b", "a/b.c", "a/b/c"]
    many = [f"b/{number:04}" for number in range(700)]
    contents = [(name, pattern(n)) for n, name in enumerate([*some, *many])]
    # One in seven is a file, so that more than one reading of rows comes before the last file.
    contents = [(name, pattern(LARGE) if n % 7 == 0 else x) for n, (name, x) in enumerate(contents)]
    await store.put_all(contents)
    assert min(len(rows_of(root)), 3 * len(files_of(root))) > 256
    expected = [(name, len(x)) for name, x in sorted(contents) if name.startswith(prefix)]
    assert [(info.name, info.size) async for info in store.list(prefix)] == expected


async def test_each_of_many_objects_is_listed_whatever_goes_meanwhile(store):
    wanted = [f"ten_a/{number:04}" for number in range(600)]
    await store.put_all(
        [(name, b"x" * (LARGE if n % 60 == 0 else 1)) for n, name in enumerate(wanted)]
    )
    listed = []
    async for info in store.list():
        listed.append(info.name)
        await store.delete(info.name)
    assert listed == wanted
    assert await names(store) == []


# What has a name already


@pytest.fixture
async def former(root):
    """The store of an earlier release, with a small object that is a file."""
    former = FileBlobs(root, FakeClock())
    await former.put("ten_a/former", stream(b"a small file"))
    return former


async def test_a_small_file_of_an_earlier_release_is_an_object_as_it_was(store, root, former):
    await store.put("ten_a/a", stream(b"before"))
    await store.put("ten_a/z", stream(b"behind"))
    assert rows_of(root) == ["ten_a/a", "ten_a/z"]
    assert await content(store, "ten_a/former") == b"a small file"
    assert await content(store, "ten_a/former", start=2, end=7) == b"small"
    assert await store.head("ten_a/former") == await former.head("ten_a/former")
    assert await names(store) == ["ten_a/a", "ten_a/former", "ten_a/z"]
    wanted = [("ten_a/z", 9), ("ten_a/former", 99), ("ten_a/a", 9)]
    assert list(await store.get_all(wanted)) == [b"behind", b"a small file", b"before"]
    await store.delete("ten_a/former")
    assert (await names(store), files_of(root)) == (["ten_a/a", "ten_a/z"], [])
    await store.put("ten_a/former", stream(b"a row"))
    assert await content(store, "ten_a/former") == b"a row"


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
async def test_nothing_is_put_over_a_small_file(store, root, former, size):
    with pytest.raises(Conflict):
        await store.put("ten_a/former", stream(pattern(size)))
    with pytest.raises(Conflict):
        await store.put_all([("ten_a/former", pattern(size))])
    assert (rows_of(root), files_of(root)) == ([], ["ten_a/former"])
    assert await content(store, "ten_a/former") == b"a small file"


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
@pytest.mark.parametrize("first", [0, SMALL, LARGE])
async def test_an_object_is_never_overwritten_and_nothing_is_left_of_a_try(
    store, root, first, size
):
    await store.put("ten_a/doc", stream(pattern(first)))
    before = rows_of(root), files_of(root)
    with pytest.raises(Conflict):
        await store.put("ten_a/doc", stream(pattern(size)[::-1]))
    with pytest.raises(Conflict):
        await store.put_all([("ten_a/doc", pattern(size)[::-1])])
    assert (rows_of(root), files_of(root)) == before
    assert await content(store, "ten_a/doc") == pattern(first)


@pytest.mark.parametrize("processes", [1, 2])
async def test_of_a_row_and_a_file_of_one_name_exactly_one_is_created(store, root, processes):
    other = BlobsBySize(root, FakeClock()) if processes == 2 else store
    winners = set()
    for number in range(60):
        name, contents = f"ten_a/{number}", (b"small", pattern(LARGE))
        small = outcome_of(store.put(name, stream(contents[0])))
        large = outcome_of(other.put(name, stream(contents[1])))

        async def later(put):
            # Each meets the other at another step of its way.
            for _ in range(number % 20):  # noqa: B023
                await asyncio.sleep(0)
            return await put

        if number % 3 == 0:
            small = later(small)
        elif number % 3 == 1:
            large = later(large)
        outcomes = await asyncio.gather(small, large)
        [won] = [which for which, outcome in enumerate(outcomes) if isinstance(outcome, int)]
        assert isinstance(outcomes[1 - won], Conflict)
        assert await content(store, name) == await content(other, name) == contents[won]
        assert name not in (rows_of(root), files_of(root))[1 - won]
        winners.add(won)
    assert winners == {0, 1}
    if processes == 2:
        await other.close()


async def test_a_row_that_is_being_committed_wins_against_a_file(store, root, held_commits):
    small = asyncio.create_task(outcome_of(store.put("doc", stream(b"small"))))
    await held_commits.begun()
    large = asyncio.create_task(outcome_of(store.put("doc", stream(pattern(LARGE)))))
    await eventually(lambda: files_of(root) == ["doc"])
    held_commits.go_on()
    assert await small == len(b"small")
    assert isinstance(await large, Conflict)
    assert files_of(root) == []
    assert await content(store, "doc") == b"small"


@pytest.mark.parametrize("size", [5, LARGE])
async def test_where_a_killed_process_left_both_the_row_is_the_object(store, root, size):
    """Killed before it looked whether another process had created a row of the file's name."""
    await store.put("ten_a/doc", stream(b"the row"))
    await FileBlobs(root, FakeClock()).put("ten_a/doc", stream(pattern(size)))
    await store.put("ten_a/z", stream(b"z"))
    assert await content(store, "ten_a/doc") == b"the row"
    assert (await store.head("ten_a/doc")).size == len(b"the row")
    assert [(info.name, info.size) async for info in store.list()] == [
        ("ten_a/doc", len(b"the row")),
        ("ten_a/z", 1),
    ]
    assert list(await store.get_all([("ten_a/doc", 99)])) == [b"the row"]
    await store.delete("ten_a/doc")
    assert await names(store) == ["ten_a/z"]
    with pytest.raises(NotFound):
        await content(store, "ten_a/doc")
    assert files_of(root) == []


async def test_two_processes_see_each_others_rows(store, root):
    other = BlobsBySize(root, FakeClock())
    assert await names(other) == []
    await store.put("ten_a/1", stream(b"one"))
    assert await content(other, "ten_a/1") == b"one"
    await other.put("ten_a/2", stream(b"two"))
    assert await names(store) == ["ten_a/1", "ten_a/2"]
    await other.delete("ten_a/1")
    with pytest.raises(NotFound):
        await store.head("ten_a/1")
    await other.close()


# Commits


async def test_what_is_created_or_removed_is_synced_before_that_is_told(store, connection):
    full = 2
    await store.put("opened", stream(b"x"))
    connection.committed.clear()
    await store.put("doc", stream(b"x"))
    assert connection.committed == [full]
    await store.put_all([("one", b"1"), ("two", b"2")])
    assert connection.committed == [full] * 2
    await store.delete("doc")
    assert connection.committed == [full] * 3


async def test_concurrent_writers_share_a_commit_with_whoever_is_about_to_join(root, connection):
    activity = Activity(3_600.0)
    store = BlobsBySize(root, FakeClock(), activity=activity)
    await store.put("ten_a/0", stream(b"x"))
    connection.committed.clear()

    async def caller(number):
        with activity.working:
            for _ in range(50 * number):
                await asyncio.sleep(0)
            await store.put(f"ten_a/{number}", stream(b"x"))

    async with asyncio.timeout(60):
        await asyncio.gather(*(caller(number) for number in range(1, 6)))
    assert len(connection.committed) == 1
    assert await names(store) == [f"ten_a/{number}" for number in range(6)]
    await store.close()


async def test_a_commit_that_fails_creates_nothing(store, connection):
    await store.put("before", stream(b"x"))

    def refuse():
        raise sqlite3.OperationalError("disk I/O error")

    connection.before_commit = refuse
    outcomes = await asyncio.gather(
        *(outcome_of(store.put(f"{number}", stream(b"x"))) for number in range(5))
    )
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    with pytest.raises(Unavailable):
        await store.delete("before")
    connection.before_commit = None
    assert await names(store) == ["before"]
    await store.put("0", stream(b"again"))
    assert await content(store, "0") == b"again"


@pytest.mark.parametrize("size", [5, SMALL])
async def test_a_row_whose_put_is_cancelled_can_be_deleted(store, root, held_commits, size):
    putting = asyncio.create_task(store.put("doc", stream(pattern(size))))
    await held_commits.begun()
    putting.cancel()
    deleting = asyncio.create_task(store.delete("doc"))
    with pytest.raises(asyncio.CancelledError):
        await putting
    held_commits.go_on()
    await deleting
    assert (await names(store), rows_of(root)) == (["opened"], ["opened"])


async def test_a_file_whose_put_is_cancelled_can_be_deleted(store, root, held_commits):
    """While it waits for those who may be creating a row of its name."""
    other = asyncio.create_task(store.put("other", stream(b"x")))
    await held_commits.begun()
    putting = asyncio.create_task(store.put("doc", stream(pattern(LARGE))))
    await eventually(lambda: files_of(root) == ["doc"])
    putting.cancel()
    deleting = asyncio.create_task(store.delete("doc"))
    with pytest.raises(asyncio.CancelledError):
        await putting
    held_commits.go_on()
    await asyncio.gather(other, deleting)
    assert (await names(store), files_of(root)) == (["opened", "other"], [])


async def test_no_file_stays_beside_a_row_where_who_looks_for_it_gives_up(
    store, root, held_commits, monkeypatch
):
    looking = asyncio.Event()
    has = store._rows.has

    async def noted_has(name):
        looking.set()
        return await has(name)

    monkeypatch.setattr(store._rows, "has", noted_has)
    small = asyncio.create_task(store.put("doc", stream(b"small")))
    await held_commits.begun()
    large = asyncio.create_task(store.put("doc", stream(pattern(LARGE))))
    await looking.wait()
    assert files_of(root) == ["doc"]
    large.cancel()
    with pytest.raises(asyncio.CancelledError):
        await large
    assert files_of(root) == []
    held_commits.go_on()
    assert await small == len(b"small")
    assert await content(store, "doc") == b"small"


async def test_a_file_whose_name_cannot_be_looked_for_among_the_rows_is_not_created(
    store, root, connection
):
    await store.put("opened", stream(b"x"))

    def refuse():
        raise sqlite3.OperationalError("disk I/O error")

    connection.before_commit = refuse
    with pytest.raises(Unavailable):
        await store.put("doc", stream(pattern(LARGE)))
    assert files_of(root) == []


async def test_a_closed_store_refuses_rows(store):
    await store.put("doc", stream(b"x"))
    await store.close()
    await store.close()
    for refused in (store.put("late", stream(b"x")), store.delete("doc"), store.head("doc")):
        with pytest.raises(Unavailable):
            await refused


async def test_a_store_without_grants_gives_none(store):
    expires_at = FakeClock().now() + timedelta(hours=1)
    with pytest.raises(Forbidden):
        await store.grant_upload("doc", max_size=1, expires_at=expires_at)


# The disk


async def test_files_and_folders_are_private(store, root):
    await store.put("doc", stream(b"x"))
    await store.put("ten_a/large", stream(pattern(LARGE)))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    assert modes == {
        **dict.fromkeys(["primary", ".incoming", "ten_a"], 0o700),
        **{f"{FILE_NAME}{suffix}": 0o600 for suffix in ("", "-wal", "-shm", "-next", "-turn")},
        "large=": 0o600,
    }


async def reading(store):
    """Everything that reads, and what there is nothing to do for."""
    with pytest.raises(NotFound):
        await content(store, "ten_a/1")
    with pytest.raises(NotFound):
        await store.head("ten_a/1")
    await store.delete("ten_a/1")
    assert list(await store.get_all([("ten_a/1", 1)])) == [None]
    assert await names(store) == []
    assert await names(store, "ten_a/") == []
    await store.put_all([])
    await store.remove_leftovers()


async def test_reading_makes_no_file(store, tmp_path):
    await reading(store)
    assert list(tmp_path.iterdir()) == []
    await store.close()
    assert list(tmp_path.iterdir()) == []


async def test_a_store_of_files_alone_gets_no_database(store, root):
    await store.put("large", stream(pattern(LARGE)))
    before = sorted(root.rglob("*"))
    assert await content(store, "large") == pattern(LARGE)
    assert await names(store) == ["large"]
    await store.remove_leftovers()
    with pytest.raises(Conflict):
        await store.put("large", stream(pattern(LARGE)))
    assert sorted(root.rglob("*")) == before
    await store.delete("large")
    await reading(store)
    assert rows_of(root) == []
    assert not (root / FILE_NAME).exists()


@pytest.mark.parametrize("size", [100, 20_000, SMALL, LARGE])
async def test_what_is_removed_is_in_no_file_afterwards(store, root, forgetful, size):
    secret = b"a secret text; " * (size // 15 + 1)
    await store.put_all([(f"kept/{number}", pattern(20_000)) for number in range(20)])
    await store.put("ten_a/doc", stream(secret[:size]))
    await store.put_all([(f"later/{number}", pattern(20_000)) for number in range(20)])
    assert files_hold(root, b"a secret text; ")
    await store.delete("ten_a/doc")
    await eventually(lambda: not files_hold(root, b"a secret text; "))
    # Nor is it there when what it left free is used again, and when the file is closed.
    await store.put("ten_a/again", stream(pattern(20_000)))
    await store.close()
    assert not files_hold(root, b"a secret text; ")


async def test_the_disk_gets_back_what_many_removed_objects_had(store, root, monkeypatch):
    monkeypatch.setattr(rows, "FREE_PAGES", 16)
    contents = {f"ten_a/{number:02}": pattern(SMALL - number) for number in range(60)}
    await store.put_all(list(contents.items()))
    await eventually(lambda: log_of(root).stat().st_size == 0)
    full = (root / FILE_NAME).stat().st_size
    assert full > 60 * SMALL
    kept = {name: whole for name, whole in contents.items() if name.endswith("7")}
    for name in contents.keys() - kept.keys():
        await store.delete(name)
    most = (sum(map(len, kept.values())) // PAGE + 2 * len(kept) + 16 + 16) * PAGE
    assert most < full / 3
    await eventually(lambda: (root / FILE_NAME).stat().st_size <= most)
    assert await names(store) == sorted(kept)
    for name, whole in kept.items():
        assert await content(store, name) == whole


def pages_of(root):
    with closing(sqlite3.connect(root / FILE_NAME)) as database:
        return database.execute("PRAGMA page_count").fetchone()[0]


async def test_a_few_removed_objects_leave_their_room_to_the_next_ones(store, root):
    last = [f"ten_a/{number}" for number in range(10)]
    await store.put_all([(name, pattern(SMALL)) for name in last])
    full = pages_of(root)
    for turn in range(5):
        for name in last:
            await store.delete(name)
        assert pages_of(root) == full
        last = [f"ten_a/{turn}.{number}" for number in range(10)]
        await store.put_all([(name, pattern(SMALL)) for name in last])
    assert pages_of(root) == full


OTHERS = [number for number in range(15) if number != 7]


def whole_of(number: int) -> bytes:
    """The content of an object of several pages, whose places can be found in the file."""
    filler = pattern(15_000)
    return b"|".join(
        [b"start of %d" % number, filler, b"middle of %d" % number, filler, b"end of %d" % number]
    )


@pytest.fixture(params=[b"start", b"middle"], ids=["start", "middle"])
async def damaged(request, root, connection):
    """A store that has another page in place of one of its object 7, of 15 and a large one."""
    before = BlobsBySize(root, FakeClock())
    await before.put_all([(f"ten_a/{number:02}", whole_of(number)) for number in range(15)])
    await before.put("ten_a/large", stream(pattern(LARGE)))
    await before.close()
    file = bytearray((root / FILE_NAME).read_bytes())
    place = file.index(b"%s of 7|" % request.param)
    page = place - place % PAGE
    file[page : page + PAGE] = b"\xff" * PAGE
    (root / FILE_NAME).write_bytes(file)
    damaged = BlobsBySize(root, FakeClock())
    yield damaged
    await damaged.close()


async def test_a_page_that_is_not_what_was_written_is_damage_of_its_object_alone(damaged):
    with pytest.raises(Damaged):
        await content(damaged, "ten_a/07")
    for number in OTHERS:
        assert await content(damaged, f"ten_a/{number:02}") == whole_of(number)
    assert await content(damaged, "ten_a/large") == pattern(LARGE)
    wanted = [(f"ten_a/{number:02}", 10**6) for number in range(15)]
    expected = [whole_of(number) if number in OTHERS else None for number in range(15)]
    assert list(await damaged.get_all([*wanted, ("ten_a/large", 4)])) == [*expected, pattern(4)]
    await damaged.put("ten_a/99", stream(whole_of(99)))
    assert await content(damaged, "ten_a/99") == whole_of(99)
    await damaged.delete("ten_a/02")


async def test_a_damaged_object_hides_no_other_from_a_list(damaged):
    expected = {*(f"ten_a/{number:02}" for number in OTHERS), "ten_a/large"}
    assert set(await names(damaged)) - {"ten_a/07"} == expected


@pytest.mark.parametrize("removed", ["ten_a/07", "ten_a/06"])
async def test_who_removes_a_damaged_object_or_its_neighbour_harms_nobody_in_the_same_commit(
    damaged, connection, removed
):
    held = HeldCommits()
    connection.before_commit = held.hold
    first = asyncio.create_task(damaged.put("ten_a/97", stream(b"first")))
    await held.begun()
    connection.committed.clear()
    together = asyncio.gather(
        damaged.put("ten_a/98", stream(b"before")),
        outcome_of(damaged.delete(removed)),
        damaged.put("ten_a/99", stream(b"behind")),
    )
    for _ in range(50):
        await asyncio.sleep(0)
    held.go_on()
    await first
    before, deleted, behind = await together
    assert (before, behind) == (6, 6)
    assert deleted is None or isinstance(deleted, Damaged)
    assert await content(damaged, "ten_a/98") == b"before"
    assert await content(damaged, "ten_a/99") == b"behind"


async def test_large_objects_are_read_whatever_became_of_the_rows(root):
    before = BlobsBySize(root, FakeClock())
    await before.put("small", stream(b"x"))
    await before.put("large", stream(pattern(LARGE)))
    await before.close()
    (root / FILE_NAME).write_bytes(b"no database " * 1_000)
    store = BlobsBySize(root, FakeClock())
    with pytest.raises(Damaged):
        await content(store, "small")
    assert list(await store.get_all([("small", 1), ("large", 9)])) == [None, pattern(9)]
    assert await content(store, "large") == pattern(LARGE)
    # A start ends there, and says which file it is and what to do.
    with pytest.raises(Damaged, match=r"\.small\.db in the folder primary .* move it away"):
        await store.remove_leftovers()
    await store.close()


PUTTER = """
import asyncio, sys
from pathlib import Path
from shared.adapters.embedded.by_size import BlobsBySize
from shared.ports.clock import SystemClock

async def main():
    store = BlobsBySize(Path(sys.argv[1]), SystemClock())
    async def worker(name):
        for number in range(100_000):
            async def content():
                for _ in range(3):
                    yield bytes([number % 256]) * (7_000 + 50 * (number % 256))
            await store.put(f"{name}/{number:06}", content())
            # Some are removed again, so that what they leave free is used again.
            if number % 3 == 2:
                await store.delete(f"{name}/{number - 1:06}")
            print(f"{name}/{number:06}", flush=True)
    await asyncio.gather(*(worker(f"w{n}") for n in range(6)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 20, 203, 1_100])
async def test_kill_9_loses_no_object_and_shows_none_half_written(root, lines):
    told = run_and_kill(PUTTER, root, lines)
    assert len(told) >= lines
    store = BlobsBySize(root, FakeClock())
    visible = {info.name: info.size async for info in store.list()}
    # One that is removed may be gone already when the next but one is told of, and is when that is.
    removed = {name for name in told if int(name[3:]) % 3 == 1}
    assert {name for name in told if name not in removed} <= set(visible)
    later = {f"{name[:3]}{int(name[3:]) + 1:06}" for name in removed}
    gone = {f"{name[:3]}{int(name[3:]) - 1:06}" for name in later & set(told)}
    assert gone.isdisjoint(visible)
    for name, size in visible.items():
        number = int(name[3:]) % 256
        whole = bytes([number]) * (7_000 + 50 * number) * 3
        assert (await content(store, name) == whole, size) == (True, len(whole)), name
    await store.put("after", stream(b"x"))
    await store.close()


REMOVER = """
import asyncio, sys
from pathlib import Path
from shared.adapters.embedded.by_size import BlobsBySize
from shared.ports.clock import SystemClock

async def stream():
    yield b"a secret text; " * 1_000

async def main():
    store = BlobsBySize(Path(sys.argv[1]), SystemClock())
    store._rows._database._writer._forget_seconds = 3_600.0
    await store.put("ten_a/doc", stream())
    await store.delete("ten_a/doc")
    print("removed", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_start_empties_the_log_that_a_killed_process_left(store, root):
    assert run_and_kill(REMOVER, root, 1) == ["removed"]
    assert b"a secret text; " in log_of(root).read_bytes()
    await store.remove_leftovers()
    assert not files_hold(root, b"a secret text; ")
    assert await names(store) == []
