"""The embedded adapters, as the contract suites want them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from shared.adapters.embedded.blobs import FileBlobs
from shared.adapters.embedded.bus import SqliteBus
from shared.adapters.embedded.by_size import BlobsBySize
from shared.adapters.embedded.grants import UploadGrants
from shared.adapters.embedded.keys import FileKeyVault
from shared.adapters.embedded.records import SqliteRecords
from shared.adapters.embedded.roots import RootKeyFile
from shared.adapters.embedded.sealed import SealedBlobs
from shared.adapters.embedded.write_once import FileWriteOnce
from shared.ports.clock import system_entropy
from tests.support.clock import FakeClock
from tests.support.contract.harness import (
    BlobsHarness,
    BusHarness,
    KeysHarness,
    RecordsHarness,
    WriteOnceHarness,
)
from tests.support.topology import FAN_OUT


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


@asynccontextmanager
async def bus(folder: Path) -> AsyncIterator[BusHarness]:
    clock = FakeClock()
    async with AsyncExitStack() as stack:

        async def reopen() -> SqliteBus:
            bus = SqliteBus(folder / "bus" / "bus.sqlite", FAN_OUT, clock, system_entropy)
            stack.push_async_callback(bus.close)
            return bus

        async def advance(seconds: float) -> None:
            clock.advance(seconds)

        yield BusHarness(await reopen(), clock.now, advance, reopen)


@asynccontextmanager
async def blobs(folder: Path) -> AsyncIterator[BlobsHarness]:
    clock = FakeClock()
    grants = UploadGrants("http://127.0.0.1:7071/staged", bytes(range(32)), clock)

    async def reopen() -> FileBlobs:
        return FileBlobs(folder / "vault", clock, grants)

    other = FileBlobs(folder / "other", clock, grants)
    yield BlobsHarness(await reopen(), other, clock.now, reopen)


@asynccontextmanager
async def blobs_by_size(folder: Path) -> AsyncIterator[BlobsHarness]:
    clock = FakeClock()
    grants = UploadGrants("http://127.0.0.1:7071/staged", bytes(range(32)), clock)
    async with AsyncExitStack() as stack:

        async def opened(name: str) -> BlobsBySize:
            store = BlobsBySize(folder / name, clock, grants)
            stack.push_async_callback(store.close)
            return store

        async def reopen() -> BlobsBySize:
            return await opened("vault")

        yield BlobsHarness(await reopen(), await opened("other"), clock.now, reopen)


@asynccontextmanager
async def forgetting_blobs(folder: Path) -> AsyncIterator[BlobsHarness]:
    async with blobs(folder) as kept:
        clock = FakeClock()
        grants = UploadGrants("http://127.0.0.1:7071/staged", bytes(range(32)), clock)

        async def reopen() -> FileBlobs:
            return FileBlobs(folder / "keys", clock, grants, forgets=True)

        yield BlobsHarness(await reopen(), kept.other, clock.now, reopen)


@asynccontextmanager
async def sealed_blobs(folder: Path) -> AsyncIterator[BlobsHarness]:
    async with blobs_by_size(folder) as plain:

        async def reopen() -> SealedBlobs:
            return SealedBlobs(await plain.reopen(), bytes(32), system_entropy)

        yield BlobsHarness(await reopen(), plain.other, plain.now, reopen)


@asynccontextmanager
async def write_once(folder: Path) -> AsyncIterator[WriteOnceHarness]:
    clock = FakeClock()

    async def reopen() -> FileWriteOnce:
        return FileWriteOnce(folder / "sets", clock)

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    other = FileBlobs(folder / "other", clock)
    yield WriteOnceHarness(await reopen(), other, clock.now, advance, reopen)


@asynccontextmanager
async def keys(folder: Path) -> AsyncIterator[KeysHarness]:
    async def reopen() -> FileKeyVault:
        root = RootKeyFile(folder / "root.key")
        return FileKeyVault(folder / "vault", root, FakeClock(), system_entropy)

    yield KeysHarness(await reopen(), reopen)
