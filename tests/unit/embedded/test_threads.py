"""Disk work beside the event loop: nobody waits for it without end, and nothing is closed under it."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from shared.adapters.embedded import threads
from shared.adapters.embedded.blobs import FileBlobs
from shared.adapters.embedded.drafts import Draft
from shared.adapters.embedded.threads import DiskHangs, on_disk
from shared.base.errors import Unavailable
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def responds():
    """Set when the disk responds, which it does at the end of the test at the latest."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_disk_that_hangs_is_not_waited_for_without_end(monkeypatch, responds):
    monkeypatch.setattr(threads, "DISK_SECONDS", 0)
    with pytest.raises(Unavailable):
        await on_disk(responds.wait)


async def test_who_is_cancelled_while_the_disk_hangs_leaves(monkeypatch, responds):
    waiting = asyncio.create_task(on_disk(responds.wait))
    await asyncio.sleep(0)
    monkeypatch.setattr(threads, "DISK_SECONDS", 0)
    hanging = asyncio.create_task(on_disk(responds.wait))
    await asyncio.sleep(0)
    hanging.cancel()
    with pytest.raises(DiskHangs):
        await hanging
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done(), "the thread may still use what the caller would close"
    responds.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_a_thread_hangs_in_stays_open(tmp_path, monkeypatch, responds):
    opened: list[int] = []

    def hang(draft: Draft, _: bytes) -> None:
        opened.append(draft._open())
        responds.wait()

    monkeypatch.setattr(Draft, "write", hang)
    monkeypatch.setattr(threads, "DISK_SECONDS", 0.2)

    async def content():
        yield bytes(2_000_000)

    with pytest.raises(Unavailable):
        await FileBlobs(tmp_path / "primary", FakeClock()).put("doc", content())
    # Closed, its number would be that of another file next, into which the thread would write.
    assert os.path.samestat(
        os.fstat(opened[0]), next((tmp_path / "primary/.incoming").iterdir()).stat()
    )
    os.close(opened[0])
