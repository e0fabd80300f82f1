"""The adapters in memory, as the contract suites want them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.adapters.memory.records import MemoryRecords
from tests.support.clock import FakeClock
from tests.support.contract.harness import RecordsHarness


@asynccontextmanager
async def records(_folder: Path) -> AsyncIterator[RecordsHarness]:
    clock = FakeClock()
    store = MemoryRecords(clock)

    async def reopen() -> MemoryRecords:
        return store  # memory lives as long as its object

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    yield RecordsHarness(store, clock.now, advance, reopen)
