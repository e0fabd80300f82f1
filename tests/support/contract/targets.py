"""Targets of every kind, as their contract suite wants them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import SecretStr

from shared.adapters.external.targets import ExternalTargets
from shared.adapters.memory.targets import MemoryTargets
from shared.ports.clock import Runtime, SystemClock, system_entropy
from shared.ports.targets import TargetAddress, TargetCredentials, TargetStore

RUNTIME = Runtime(SystemClock(), system_entropy)


@dataclass
class TargetsHarness:
    """``beside`` opens a target of the same bucket with another prefix."""

    store: TargetStore
    now: Callable[[], datetime]
    beside: Callable[[str], TargetStore]


@asynccontextmanager
async def folder(path: Path) -> AsyncIterator[TargetsHarness]:
    connector = ExternalTargets(RUNTIME, path)

    def beside(prefix: str) -> TargetStore:
        address = TargetAddress(kind="folder", bucket="box", prefix=prefix)
        return connector.open("ten_a", address, TargetCredentials())

    yield TargetsHarness(beside("strongroom/"), RUNTIME.now, beside)
    await connector.close()


@asynccontextmanager
async def memory(_path: Path) -> AsyncIterator[TargetsHarness]:
    connector = MemoryTargets(RUNTIME)
    credentials = TargetCredentials(
        access_key_id=SecretStr("id"), secret_access_key=SecretStr("key")
    )

    def beside(prefix: str) -> TargetStore:
        address = TargetAddress(kind="s3", bucket="box", prefix=prefix, region="eu-central-1")
        return connector.open("ten_a", address, credentials)

    yield TargetsHarness(beside("strongroom/"), RUNTIME.now, beside)
    await connector.close()
