"""Memory goes back to the operating system: cycles are broken, and the C library is asked to trim."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref
from types import ModuleType

import pytest

from standalone import reclaiming
from standalone.reclaiming import EVERY_SECONDS, reclaim_memory, trim

pytestmark = pytest.mark.anyio


class Content:
    """Refers to itself, as an error does whose traceback leads to it."""

    def __init__(self) -> None:
        self.own = self


async def test_cycles_are_broken_and_pages_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[bool] = []
    monkeypatch.setattr(reclaiming, "trim", lambda: trimmed.append(True))
    stopping = asyncio.Event()
    found: list[weakref.ref[Content]] = []

    async def sleep(seconds: float) -> None:
        assert seconds == EVERY_SECONDS
        if found:
            stopping.set()
        else:
            found.append(weakref.ref(Content()))

    gc.disable()
    try:
        await reclaim_memory(stopping, sleep=sleep)
    finally:
        gc.enable()
    assert found[0]() is None
    assert trimmed


@pytest.mark.parametrize("imported", [True, False])
async def test_what_was_imported_since_is_looked_through_once(
    imported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reclaiming, "trim", lambda: None)
    stopping = asyncio.Event()
    modules: list[Content] = []
    rounds: list[bool] = []

    async def sleep(_: float) -> None:
        looked_through = {id(thing) for thing in gc.get_objects()}
        rounds.append(any(id(module) in looked_through for module in modules))
        if len(rounds) == 3:
            stopping.set()
        elif len(rounds) == 1:
            modules.extend(Content() for _ in range(100))
            if imported:
                monkeypatch.setitem(sys.modules, "imported_by_a_request", ModuleType("imported"))

    gc.disable()
    try:
        await reclaim_memory(stopping, sleep=sleep)
    finally:
        gc.enable()
    assert rounds == [False, not imported, not imported]


def test_trimming_is_possible_or_left_out() -> None:
    trim()


_THREAD = """
import asyncio, re
from pathlib import Path
from standalone.process import use_threads
from standalone.reclaiming import trim

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def work():
    bytearray(b"x") * 30_000_000  # freed at once: from now on, blocks up to this size come from pools
    held = [bytearray(b"x") * 1_000_000 for _ in range(60)]
    held.clear()
    trim()
    print(resident() - before)

async def main():
    use_threads()
    await asyncio.to_thread(work)

trim()
before = resident()
asyncio.run(main())
"""


def test_what_a_thread_has_freed_goes_back() -> None:
    """In a process of its own, with the threads of a server: KiB that are left of 60 MB."""
    command = [sys.executable, "-c", _THREAD]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(ended.stdout) < 6_000
