"""FileBlobs with ``forgets``: the disk keeps nothing of what is deleted, whenever the process dies.

A file that is open shows what is in its blocks, after its name is gone too.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.adapters.embedded import blobs
from shared.adapters.embedded.blobs import FileBlobs
from shared.adapters.embedded.drafts import Draft, remove_unless_in_use
from shared.adapters.embedded.pieces import read_at
from shared.base.errors import Conflict, NotFound, Unavailable
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

MEBIBYTE = 1_048_576
KEY = b"a wrapped key"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def store(root):
    return FileBlobs(root, FakeClock(), forgets=True)


async def stream(*chunks):
    for chunk in chunks:
        yield chunk


async def content(store, name):
    return b"".join([piece async for piece in store.get(name)])


@pytest.fixture
def watch():
    """Open a file; what is in its blocks whenever it is asked, whatever its name has become."""
    opened: list[int] = []

    def watched(path: Path) -> Callable[[], bytes]:
        descriptor = os.open(path, os.O_RDONLY)
        opened.append(descriptor)
        return lambda: os.pread(descriptor, 10 * MEBIBYTE, 0)

    yield watched
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.parametrize("size", [1, 5_000, 2 * MEBIBYTE + 1])
async def test_what_is_deleted_is_overwritten(store, root, watch, size):
    whole = (KEY * (size // len(KEY) + 1))[:size]
    await store.put("ten_a/page", stream(whole))
    blocks = watch(root / "ten_a" / "page=")
    assert blocks() == whole
    await store.delete("ten_a/page")
    assert blocks() == bytes(size)
    assert list((root / ".erased").iterdir()) == list((root / ".incoming").iterdir()) == []


async def test_a_store_that_does_not_forget_only_removes_the_name(root, watch):
    store = FileBlobs(root, FakeClock())
    await store.put("page", stream(KEY))
    blocks = watch(root / "page=")
    await store.delete("page")
    assert blocks() == KEY


async def test_the_name_goes_for_good_before_the_content(store, root, monkeypatch):
    """Else a crash could leave an object of zeros, or a content that nothing overwrites any more."""
    await store.put("ten_a/page", stream(KEY))
    steps: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}")).relative_to(root)
        steps.append(path.parts[0] if path.parts[0] != ".erased" else "/".join(path.parts[:2])[:8])
        steps.append(str((root / "ten_a" / "page=").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    await store.delete("ten_a/page")
    assert steps == [".erased", "False", "ten_a", "False", ".erased/", "False"]


async def test_what_a_dead_process_had_begun_to_erase_is_erased_at_the_next_start(
    store, root, watch, monkeypatch
):
    await store.put("page", stream(KEY))
    blocks = watch(root / "page=")

    def killed(_path: Path) -> None:
        raise OSError(5, "as if the process had died here")

    with monkeypatch.context() as patch:
        patch.setattr(blobs, "erase", killed)
        with pytest.raises(Unavailable):
            await store.delete("page")
    assert blocks() == KEY
    again = FileBlobs(root, FakeClock(), forgets=True)
    assert [info.name async for info in again.list()] == []
    await again.put("other", stream(b"x"))
    assert blocks() == bytes(len(KEY))
    assert list((root / ".erased").iterdir()) == []


async def test_a_draft_of_a_dead_writer_is_overwritten(root, watch):
    incoming = root / ".incoming"
    incoming.mkdir(parents=True)
    (incoming / "torn").write_bytes(KEY)
    (incoming / "published").write_bytes(b"an object's")
    os.link(incoming / "published", root / "page=")
    blocks = watch(incoming / "torn")
    store = FileBlobs(root, FakeClock(), forgets=True)
    await store.put("other", stream(b"x"))
    assert blocks() == bytes(len(KEY))
    assert list(incoming.iterdir()) == []
    assert await content(store, "page") == b"an object's"


@pytest.mark.parametrize("reason", ["the stream raises", "the name is taken", "it is cancelled"])
async def test_content_that_becomes_no_object_is_overwritten(store, root, watch, reason):
    await store.put("taken", stream(b"x"))
    half_way, go_on = asyncio.Event(), asyncio.Event()

    async def slow():
        yield KEY * 200_000
        half_way.set()
        await go_on.wait()
        if reason == "the stream raises":
            raise ConnectionResetError

    putting = asyncio.create_task(store.put("taken", slow()))
    await half_way.wait()
    [draft] = (root / ".incoming").iterdir()
    blocks = watch(draft)
    assert KEY in blocks()
    if reason == "it is cancelled":
        putting.cancel()
    go_on.set()
    with pytest.raises((ConnectionResetError, Conflict, asyncio.CancelledError)):
        await putting
    assert set(blocks()) == {0}
    assert list((root / ".incoming").iterdir()) == []


async def test_a_reader_never_gets_what_a_deletion_overwrites_with(store, monkeypatch):
    await store.put("page", stream(KEY))

    def overtaken(descriptor: int, start: int, size: int) -> bytes:
        store.remove("page")
        return read_at(descriptor, start, size)

    monkeypatch.setattr("shared.adapters.embedded.blobs.read_at", overtaken)
    with pytest.raises(NotFound):
        await content(store, "page")
    await store.put("page", stream(KEY))
    assert await store.get_all([("page", len(KEY))]) == [None]


async def test_a_reader_whose_object_was_deleted_and_put_again_gets_neither_of_them(store):
    whole = KEY * 200_000
    await store.put("page", stream(whole))
    reading = store.get("page")
    first = await anext(reading)
    assert first == whole[: len(first)]
    await store.delete("page")
    await store.put("page", stream(bytes(len(whole))))
    with pytest.raises(NotFound):
        await anext(reading)


async def test_an_object_that_was_made_while_leftovers_are_looked_for_stays(
    root, store, monkeypatch
):
    """Its draft is found, then loses its name and its lock to the object, and only then is locked."""
    await store.put("first", stream(KEY))
    draft = Draft(root / ".incoming", erased=True)
    draft.write(KEY)
    lock = fcntl.flock

    def lock_late(descriptor, how):
        if how & fcntl.LOCK_NB:
            with open_folder(root) as folder:
                draft.link(folder, "second=")
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    remove_unless_in_use(Path(draft.path), erased=True)
    assert await content(store, "second") == KEY


async def test_a_disk_that_refuses_everything_leaves_no_descriptor_open(store, monkeypatch):
    await store.put("first", stream(KEY))
    before = len(os.listdir("/proc/self/fd"))

    def refuse(_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(Unavailable):
            await store.put_all([(f"more/{number}", KEY) for number in range(5)])
    assert len(os.listdir("/proc/self/fd")) == before


@contextmanager
def open_folder(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
