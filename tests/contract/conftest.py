"""The ports' contract suites, and the adapters they run against.

To hold another adapter to the contracts, write one factory a port, an async context manager that
yields the port's harness, and add it to that port's table below.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.support.contract import azure, embedded, memory
from tests.support.contract.harness import (
    BlobsHarness,
    BusHarness,
    KeysHarness,
    RecordsHarness,
    WriteOnceHarness,
)

Factory = Callable[[Path], AbstractAsyncContextManager[Any]]

RECORDS: Mapping[str, Factory] = {
    "azure": azure.records,
    "embedded": embedded.records,
    "memory": memory.records,
}
BUS: Mapping[str, Factory] = {"azure": azure.bus, "embedded": embedded.bus, "memory": memory.bus}
BLOBS: Mapping[str, Factory] = {
    "azure": azure.blobs,
    "embedded": embedded.blobs,
    "embedded, by size": embedded.blobs_by_size,
    "embedded, forgetting": embedded.forgetting_blobs,
    "embedded, sealed": embedded.sealed_blobs,
    "memory": memory.blobs,
}
WRITE_ONCE: Mapping[str, Factory] = {
    "azure": azure.write_once,
    "embedded": embedded.write_once,
    "memory": memory.write_once,
}
KEYS: Mapping[str, Factory] = {
    "azure": azure.keys,
    "embedded": embedded.keys,
    "memory": memory.keys,
}


def _note(request: pytest.FixtureRequest, port: str) -> None:
    request.node.user_properties.append(("contract", f"{port} x {request.param}"))


@pytest.fixture(params=sorted(RECORDS))
async def records(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RecordsHarness]:
    _note(request, "RecordStore")
    async with RECORDS[request.param](tmp_path) as harness:
        yield harness


@pytest.fixture(params=sorted(BUS))
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BusHarness]:
    _note(request, "EventBus")
    async with BUS[request.param](tmp_path) as harness:
        yield harness


@pytest.fixture(params=sorted(BLOBS))
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobsHarness]:
    _note(request, "BlobStore")
    async with BLOBS[request.param](tmp_path) as harness:
        yield harness


@pytest.fixture(params=sorted(WRITE_ONCE))
async def write_once(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[WriteOnceHarness]:
    _note(request, "WriteOnceStore")
    async with WRITE_ONCE[request.param](tmp_path) as harness:
        yield harness


@pytest.fixture(params=sorted(KEYS))
async def keys(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KeysHarness]:
    _note(request, "KeyVault")
    async with KEYS[request.param](tmp_path) as harness:
        yield harness
