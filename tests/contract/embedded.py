"""The embedded adapters, as the contract suites want them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from shared.adapters.embedded.records import SqliteRecords
from tests.contract.harness import RecordsHarness
from tests.fakes import FakeClock


@asynccontextmanager
async def records(folder: Path) -> AsyncIterator[RecordsHarness]:
    clock = FakeClock()
    async with AsyncExitStack() as stack:

        async def reopen() -> SqliteRecords:
            store = SqliteRecords(folder / "records" / "records.sqlite", clock)
            stack.push_async_callback(store.close)
            return store

        async def advance(seconds: float) -> None:
            clock.advance(seconds)

        yield RecordsHarness(await reopen(), clock.now, advance, reopen)
