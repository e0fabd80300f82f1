"""FileWriteOnce: what is on the disk, and that no moment of dying and no damage ends retention early."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.adapters.embedded.blobs import FileBlobs
from shared.adapters.embedded.write_once import FileWriteOnce
from shared.base.errors import Conflict, NotFound, Retained, Unavailable
from tests.support.clock import FakeClock
from tests.support.killing import run_and_kill

pytestmark = pytest.mark.anyio

DATE = datetime(2026, 11, 1, tzinfo=UTC)
LATER = datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC)
LINE = b"retain until 2026-11-01T00:00:00Z\n"
LATER_LINE = b"retain until 2027-01-31T23:59:59Z\n"
NAME = "ten_a/packs/1"
CONTENT = b"a sealed pack"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(tmp_path, clock):
    """The store, with one object in it."""
    store = FileWriteOnce(tmp_path / "sets", clock)
    await store.put(NAME, stream(CONTENT), retain_until=DATE)
    return store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The object's file."""
    return tmp_path / "sets" / "ten_a" / "packs" / "1="


async def stream(*chunks):
    for chunk in chunks:
        yield chunk


async def content(store, name=NAME):
    return b"".join([piece async for piece in store.get(name)])


async def retained_until(store: FileWriteOnce) -> datetime:
    """The date of the object, as every method sees it."""
    date = (await store.head(NAME)).retain_until
    assert [info.retain_until async for info in store.list()] == [date]
    return date


async def test_an_object_is_a_private_file_that_begins_with_its_date_twice(store, file):
    assert file.read_bytes() == LINE + LINE + CONTENT
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    await store.extend(NAME, LATER)
    assert file.read_bytes() == LATER_LINE + LATER_LINE + CONTENT


async def test_the_date_is_durable_before_the_object_has_its_name(tmp_path, clock, monkeypatch):
    link = os.link
    linked: list[bytes] = []

    def noted(source, target, **options):
        linked.append(Path(source).read_bytes())
        link(source, target, **options)

    monkeypatch.setattr(os, "link", noted)
    store = FileWriteOnce(tmp_path / "sets", clock)
    await store.put(NAME, stream(CONTENT), retain_until=DATE)
    assert linked == [LINE + LINE + CONTENT]


async def test_a_later_date_is_durable_before_it_replaces_the_earlier_one(store, file, monkeypatch):
    pwrite, fsync = os.pwrite, os.fsync
    steps: list[object] = []

    def noted_pwrite(descriptor, data, offset):
        steps.append((bytes(data), offset))
        return pwrite(descriptor, data, offset)

    def noted_fsync(descriptor):
        steps.append("fsync")
        fsync(descriptor)

    monkeypatch.setattr(os, "pwrite", noted_pwrite)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    await store.extend(NAME, LATER)
    assert steps == [(LATER_LINE, 0), "fsync", (LATER_LINE, len(LINE))]


@pytest.mark.parametrize("written", range(len(LINE) + 1))
async def test_a_date_that_was_half_written_does_not_end_retention_earlier(store, file, written):
    whole = file.read_bytes()
    file.write_bytes(LATER_LINE[:written] + whole[written:])
    assert await retained_until(store) >= DATE
    await store.extend(NAME, LATER)
    assert await retained_until(store) >= LATER
    assert await content(store) == CONTENT


async def test_an_extension_that_died_before_the_second_date_is_completed_by_the_next(store, file):
    file.write_bytes(LINE + LATER_LINE + CONTENT)
    assert await retained_until(store) == LATER
    await store.extend(NAME, LATER + timedelta(seconds=1))
    assert await retained_until(store) == LATER + timedelta(seconds=1)
    assert file.read_bytes()[: len(LINE)] == file.read_bytes()[len(LINE) : 2 * len(LINE)]


@pytest.mark.parametrize("damaged", range(2 * len(LINE)))
async def test_no_damaged_byte_ends_retention_earlier(store, file, clock, damaged):
    whole = file.read_bytes()
    for value in (0x00, 0x0A, 0x30, 0x31, 0x39, 0xFF):
        file.write_bytes(whole[:damaged] + bytes([value]) + whole[damaged + 1 :])
        assert await retained_until(store) >= DATE
        with pytest.raises(Retained):
            await store.delete(NAME)
        assert await content(store) == CONTENT


@pytest.mark.parametrize("header", [b"", b"x" * 10, b"\x00" * 68, b"x" * 100])
async def test_an_object_whose_date_cannot_be_read_is_retained_for_good(store, file, clock, header):
    file.write_bytes(header)
    assert (await retained_until(store)).year == 9999
    clock.advance(50 * 365 * 86_400)
    with pytest.raises(Retained):
        await store.delete(NAME)
    await store.extend(NAME, clock.now() + timedelta(days=1))
    assert file.read_bytes() == header


async def test_a_date_that_was_not_made_durable_is_not_acknowledged(store, monkeypatch):
    def broken(_descriptor):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(Unavailable):
            await store.extend(NAME, LATER)
    await store.extend(NAME, LATER + timedelta(days=1))
    assert await retained_until(store) == LATER + timedelta(days=1)


async def test_an_object_that_was_replaced_while_its_lock_was_awaited_is_not_touched(
    store, file, clock, tmp_path, monkeypatch
):
    """Two processes: the lock of one is on a file that has lost its name to another's object."""
    clock.advance(400 * 86_400)
    flock = "shared.adapters.embedded.tree.fcntl.flock"
    date = clock.now() + timedelta(days=1)
    new = LINE.replace(b"2026-11-01", f"{date:%Y-%m-%d}".encode()) * 2 + b"new"

    def replaced(_descriptor, _operation):
        file.unlink()
        file.write_bytes(new)

    with monkeypatch.context() as patch:
        patch.setattr(flock, replaced)
        await store.delete(NAME)
    assert await content(store) == b"new"
    with monkeypatch.context() as patch:
        patch.setattr(flock, replaced)
        with pytest.raises(NotFound):
            await store.extend(NAME, date + timedelta(days=1))
    assert file.read_bytes() == new


async def test_symbolic_links_are_not_followed(store, tmp_path, clock):
    outside = tmp_path / "outside"
    outside.write_bytes(b"retain until 2020-01-01T00:00:00Z\n" * 2 + b"secret")
    (tmp_path / "sets" / "linked=").symlink_to(outside)
    assert [info.name async for info in store.list()] == [NAME]
    for call in (
        content(store, "linked"),
        store.head("linked"),
        store.extend("linked", LATER),
        store.delete("linked"),
    ):
        with pytest.raises((NotFound, Unavailable)):
            await call
    with pytest.raises(Conflict):
        await store.put("linked", stream(b"x"), retain_until=DATE)
    assert outside.read_bytes().endswith(b"secret")


async def test_the_date_that_counts_is_that_of_the_injected_clock(store, tmp_path, clock):
    """And a clock that is set back retains what another has let go."""
    after = FakeClock(DATE)
    before = FakeClock(DATE - timedelta(seconds=1))
    with pytest.raises(Retained):
        await FileWriteOnce(tmp_path / "sets", before).delete(NAME)
    await FileWriteOnce(tmp_path / "sets", after).delete(NAME)
    with pytest.raises(NotFound):
        await store.head(NAME)


async def test_more_objects_than_are_dated_at_once_are_listed(tmp_path, clock):
    store = FileWriteOnce(tmp_path / "sets", clock)
    blobs = FileBlobs(tmp_path / "sets", clock)
    wanted = [f"ten_a/{number:04}" for number in range(600)]
    for name in wanted:
        await blobs.put(name, stream(LINE * 2))
    assert [(info.name, info.size) async for info in store.list()] == [(name, 0) for name in wanted]


WRITER = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from shared.adapters.embedded.write_once import FileWriteOnce
from shared.base.errors import Conflict, Retained
from shared.ports.clock import SystemClock

async def main():
    clock = SystemClock()
    store = FileWriteOnce(Path(sys.argv[1]), clock)

    async def content(number):
        for _ in range(3):
            yield bytes([number % 256]) * 400_000

    async def worker(worker):
        for number in range(100_000):
            name = f"w{worker}/{number:06}"
            date = clock.now().replace(microsecond=0) + timedelta(hours=1)
            await store.put(name, content(number), retain_until=date)
            print(name, date.isoformat(), flush=True)
            for hours in range(2, 5):
                for attempt in (store.delete(name), store.put(name, content(1), retain_until=date)):
                    try:
                        await attempt
                    except (Conflict, Retained):
                        continue
                    print("undone", flush=True)
                later = date + timedelta(hours=hours)
                await store.extend(name, later)
                print(name, later.isoformat(), flush=True)

    await asyncio.gather(*(worker(number) for number in range(4)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 5, 18, 40, 77])
async def test_kill_9_leaves_no_object_without_its_date_and_ends_no_retention(tmp_path, lines):
    root = tmp_path / "sets"
    told = run_and_kill(WRITER, root, lines)
    assert len(told) >= lines
    promised: dict[str, datetime] = {}
    for line in told:
        name, date = line.split()
        promised[name] = datetime.fromisoformat(date)
    store = FileWriteOnce(root, FakeClock(datetime.now(UTC)))
    found = {info.name: info async for info in store.list()}
    assert set(promised) <= set(found)
    for name, info in found.items():
        number = int(name.split("/")[1])
        assert info.size == 1_200_000
        assert await content(store, name) == bytes([number % 256]) * 1_200_000
        # The last extension, and one that was under way, count; an object never has a lesser date.
        earliest = promised.get(name, datetime.now(UTC) + timedelta(minutes=50))
        assert earliest <= info.retain_until <= datetime.now(UTC) + timedelta(hours=6)
        with pytest.raises(Retained):
            await store.delete(name)
    assert {info.name async for info in store.list()} == set(found)
