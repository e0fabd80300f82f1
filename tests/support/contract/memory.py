"""The adapters in memory, as the contract suites want them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.adapters.memory.blobs import MemoryBlobs
from shared.adapters.memory.bus import MemoryBus
from shared.adapters.memory.keys import MemoryKeyVault
from shared.adapters.memory.records import MemoryRecords
from shared.adapters.memory.write_once import MemoryWriteOnce
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
async def records(_folder: Path) -> AsyncIterator[RecordsHarness]:
    clock = FakeClock()
    store = MemoryRecords(clock)

    async def reopen() -> MemoryRecords:
        return store  # memory lives as long as its object

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    yield RecordsHarness(store, clock.now, advance, reopen)


@asynccontextmanager
async def bus(_folder: Path) -> AsyncIterator[BusHarness]:
    clock = FakeClock()
    bus = MemoryBus(FAN_OUT, clock, system_entropy)

    async def reopen() -> MemoryBus:
        return bus

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    yield BusHarness(bus, clock.now, advance, reopen)


@asynccontextmanager
async def blobs(_folder: Path) -> AsyncIterator[BlobsHarness]:
    clock = FakeClock()
    store = MemoryBlobs(clock)

    async def reopen() -> MemoryBlobs:
        return store

    yield BlobsHarness(store, MemoryBlobs(clock), clock.now, reopen)


@asynccontextmanager
async def write_once(_folder: Path) -> AsyncIterator[WriteOnceHarness]:
    clock = FakeClock()
    store = MemoryWriteOnce(clock)

    async def reopen() -> MemoryWriteOnce:
        return store

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    yield WriteOnceHarness(store, MemoryBlobs(clock), clock.now, advance, reopen)


@asynccontextmanager
async def keys(_folder: Path) -> AsyncIterator[KeysHarness]:
    vault = MemoryKeyVault(system_entropy)

    async def reopen() -> MemoryKeyVault:
        return vault

    yield KeysHarness(vault, reopen)
