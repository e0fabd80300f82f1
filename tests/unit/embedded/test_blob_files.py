"""FileBlobs: what is on the disk, and in which order it gets there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.embedded.blobs import FileBlobs
from shared.base.errors import Conflict, Forbidden, NotFound, Unavailable
from tests.support.clock import FakeClock
from tests.support.killing import run_and_kill

pytestmark = pytest.mark.anyio

MEBIBYTE = 1_048_576


@pytest.fixture
def store(tmp_path):
    return FileBlobs(tmp_path / "primary", FakeClock())


async def stream(*chunks):
    for chunk in chunks:
        yield chunk


async def content(store, name):
    return b"".join([piece async for piece in store.get(name)])


def kept(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_files_and_folders_are_private(store, tmp_path):
    await store.put("ten_a/doc/1", stream(b"x"))
    paths = [tmp_path / "primary", *(tmp_path / "primary").rglob("*")]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert modes == {
        "primary": 0o700,
        ".incoming": 0o700,
        "ten_a": 0o700,
        "doc": 0o700,
        "1=": 0o600,
    }


async def test_an_object_has_the_time_of_the_clock(tmp_path):
    clock = FakeClock()
    store = FileBlobs(tmp_path, clock)
    clock.advance(12.345678)
    await store.put("doc", stream(b"x"))
    assert (await store.head("doc")).modified_at == clock.now()


async def test_content_is_durable_before_it_is_visible_and_visible_before_it_is_told(
    store, tmp_path, monkeypatch
):
    await store.put("other", stream(b"x"))
    steps = []
    fsync, link, mkdir, unlink = os.fsync, os.link, os.mkdir, os.unlink

    def what(descriptor):
        return os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path / "primary")

    def noted_fsync(descriptor):
        path = what(descriptor)
        steps.append(("fsync", "draft" if path.startswith(".incoming") else path))
        fsync(descriptor)

    def noted_link(source, target, *, dst_dir_fd, follow_symlinks):
        link(source, target, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)
        steps.append(("link", f"{what(dst_dir_fd)}/{target}"))

    def noted_mkdir(name, mode, *, dir_fd):
        mkdir(name, mode, dir_fd=dir_fd)
        steps.append(("mkdir", os.path.normpath(f"{what(dir_fd)}/{name}")))

    def noted_unlink(path, *, dir_fd=None):
        unlink(path, dir_fd=dir_fd)
        if dir_fd is None:
            steps.append(("unlink", "draft"))

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    monkeypatch.setattr(os, "mkdir", noted_mkdir)
    monkeypatch.setattr(os, "unlink", noted_unlink)
    await store.put("ten_a/doc/1", stream(b"x" * 3 * MEBIBYTE))
    assert steps == [
        ("fsync", "draft"),
        ("mkdir", "ten_a"),
        ("fsync", "."),
        ("mkdir", "ten_a/doc"),
        ("fsync", "ten_a"),
        ("link", "ten_a/doc/1="),
        ("unlink", "draft"),
        ("fsync", "ten_a/doc"),
    ]
    steps.clear()
    await store.put("ten_a/doc/2", stream(b"x"))
    assert steps == [
        ("fsync", "draft"),
        ("link", "ten_a/doc/2="),
        ("unlink", "draft"),
        ("fsync", "ten_a/doc"),
    ]
    steps.clear()
    await store.delete("ten_a/doc/2")
    assert steps == [("fsync", "ten_a/doc")]


@pytest.fixture
def synced(monkeypatch):
    """The paths of what was synced."""
    paths = []
    fsync = os.fsync

    def noted_fsync(descriptor):
        paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    return paths


async def test_a_folder_that_another_process_made_is_made_durable_too(store, tmp_path, synced):
    (tmp_path / "primary" / "ten_a").mkdir(parents=True)
    await store.put("ten_a/1", stream(b"x"))
    assert str(tmp_path / "primary") in synced


@pytest.mark.parametrize("failing", ["draft", "folder"])
async def test_a_failed_fsync_is_never_success(store, tmp_path, monkeypatch, failing):
    await store.put("ten_a/0", stream(b"x"))
    fsync = os.fsync

    def broken(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == (failing == "folder"):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(Unavailable):
            await store.put("ten_a/1", stream(b"x"))
    assert list((tmp_path / "primary" / ".incoming").iterdir()) == []
    if failing == "draft":
        assert [info.name async for info in store.list()] == ["ten_a/0"]


async def test_no_draft_stays_behind(store, tmp_path):
    async def broken():
        yield b"x" * 2 * MEBIBYTE
        raise ValueError

    with pytest.raises(ValueError):
        await store.put("doc", broken())
    await store.put("doc", stream(b"x" * 2 * MEBIBYTE))
    with pytest.raises(Conflict):
        await store.put("doc", stream(b"y" * 2 * MEBIBYTE))
    assert kept(tmp_path / "primary") == ["doc="]


async def test_drafts_of_dead_writers_go_and_those_of_living_ones_stay(store, tmp_path):
    incoming = tmp_path / "primary" / ".incoming"
    incoming.mkdir(parents=True)
    (incoming / "torn").write_bytes(b"half of a cont")
    half_way, go_on = asyncio.Event(), asyncio.Event()

    async def slow():
        yield b"x" * 2 * MEBIBYTE
        half_way.set()
        await go_on.wait()

    putting = asyncio.create_task(store.put("slow", slow()))
    await half_way.wait()
    assert not (incoming / "torn").exists()
    (incoming / "torn").write_bytes(b"half of a cont")
    other = FileBlobs(tmp_path / "primary", FakeClock())
    await other.put("quick", stream(b"x"))
    assert len(list(incoming.iterdir())) == 1
    go_on.set()
    assert await putting == 2 * MEBIBYTE
    assert kept(tmp_path / "primary") == ["quick=", "slow="]


async def test_symbolic_links_are_not_followed(store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret=").write_bytes(b"secret")
    await store.put("ten_a/doc", stream(b"x"))
    (tmp_path / "primary" / "linked").symlink_to(outside)
    (tmp_path / "primary" / "ten_a" / "secret=").symlink_to(outside / "secret=")
    for name in ("linked/secret", "ten_a/secret"):
        with pytest.raises((NotFound, Unavailable)):
            await content(store, name)
    with pytest.raises((NotFound, Unavailable)):
        await store.head("ten_a/secret")
    with pytest.raises(Unavailable):
        await store.put("linked/new", stream(b"x"))
    with pytest.raises(Conflict):
        await store.put("ten_a/secret", stream(b"x"))
    assert [info.name async for info in store.list()] == ["ten_a/doc"]
    assert kept(outside) == ["secret="]
    assert (outside / "secret=").read_bytes() == b"secret"


@pytest.fixture
def irregular(tmp_path):
    """Puts a pipe or a socket at a path."""
    with contextlib.ExitStack() as opened:

        def put(kind: str, path: Path) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "pipe":
                os.mkfifo(path)
                # With a writer, or a reader that waited for one would hang, and the test with it.
                opened.callback(os.close, os.open(path, os.O_RDWR))
            else:
                bound = opened.enter_context(socket.socket(socket.AF_UNIX))
                with contextlib.chdir(path.parent):  # the path of a socket has few bytes
                    bound.bind(path.name)

        yield put


@pytest.mark.parametrize("kind", ["pipe", "socket"])
async def test_what_is_no_file_is_no_object_and_nothing_waits_for_it(
    store, tmp_path, irregular, kind
):
    await store.put("ten_a/doc", stream(b"x"))
    irregular(kind, tmp_path / "primary" / "ten_a" / "odd=")
    with pytest.raises(NotFound):
        await content(store, "ten_a/odd")
    with pytest.raises(NotFound):
        await store.head("ten_a/odd")
    with pytest.raises(Conflict):
        await store.put("ten_a/odd", stream(b"x"))
    assert [info.name async for info in store.list()] == ["ten_a/doc"]
    await store.delete("ten_a/odd")
    await store.put("ten_a/odd", stream(b"x"))
    assert await content(store, "ten_a/odd") == b"x"


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "socket"])
async def test_what_is_no_file_does_not_keep_a_store_from_starting(
    tmp_path, irregular, kind, forgets
):
    root = tmp_path / "primary"
    irregular(kind, root / ".incoming" / "odd")
    irregular(kind, root / ".erased" / "odd")
    store = FileBlobs(root, FakeClock(), forgets=forgets)
    await store.put("doc", stream(b"x"))
    assert await content(store, "doc") == b"x"
    assert not (root / ".incoming" / "odd").exists()


async def test_a_folder_that_was_removed_by_hand_is_made_again(store, tmp_path):
    await store.put("ten_a/1", stream(b"x"))
    (tmp_path / "primary" / "ten_a" / "1=").unlink()
    (tmp_path / "primary" / "ten_a").rmdir()
    await store.put("ten_a/1", stream(b"again"))
    assert await content(store, "ten_a/1") == b"again"


async def test_reading_makes_nothing(store, tmp_path):
    with pytest.raises(NotFound):
        await content(store, "ten_a/1")
    await store.delete("ten_a/1")
    assert [info async for info in store.list()] == []
    assert list(tmp_path.iterdir()) == []


async def test_a_cancelled_reader_leaves_no_descriptor_open(store):
    await store.put("doc", stream(b"x" * 4 * MEBIBYTE))
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(20):
        reading = asyncio.create_task(content(store, "doc"))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert set(os.listdir("/proc/self/fd")) == before


async def test_a_store_without_grants_gives_none(store):
    expires_at = FakeClock().now() + timedelta(hours=1)
    with pytest.raises(Forbidden):
        await store.grant_upload("doc", max_size=1, expires_at=expires_at)


PUTTER = """
import asyncio, sys
from pathlib import Path
from shared.adapters.embedded.blobs import FileBlobs
from shared.adapters.embedded.drafts import Draft
from shared.ports.clock import SystemClock

async def main():
    store = FileBlobs(Path(sys.argv[1]), SystemClock())
    async def worker(name):
        for number in range(100_000):
            async def content():
                for _ in range(3):
                    yield bytes([number % 256]) * 700_000
            await store.put(f"{name}/{number:06}", content())
            print(f"{name}/{number:06}", flush=True)
    await asyncio.gather(*(worker(f"w{n}") for n in range(4)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 7, 30, 61])
async def test_kill_9_loses_no_object_and_shows_none_half_written(tmp_path, lines):
    root = tmp_path / "primary"
    told = run_and_kill(PUTTER, root, lines)
    assert len(told) >= lines
    store = FileBlobs(root, FakeClock())
    await store.put("after", stream(b"x"))
    assert list((root / ".incoming").iterdir()) == []
    visible = {info.name: info.size async for info in store.list("w")}
    assert set(told) <= set(visible)
    assert set(visible.values()) == {2_100_000}
    for name in visible:
        assert await content(store, name) == bytes([int(name[3:]) % 256]) * 2_100_000
