"""Memory goes back to the operating system: cycles are broken, and the C library is asked to trim."""

from __future__ import annotations

import asyncio
import gc
import weakref

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


def test_trimming_is_possible_or_left_out() -> None:
    trim()
