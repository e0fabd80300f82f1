"""A sealer and an opener of contents over stores in memory."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from shared.adapters.memory.blobs import MemoryBlobs
from shared.adapters.memory.records import MemoryRecords
from shared.base.buffers import Buffer
from shared.documents.models import Description
from shared.documents.opening import ContentOpener
from shared.documents.sealing import ContentSealer, Incoming
from shared.documents.store import DocumentRecords
from shared.journal.agenda import Agenda
from shared.keys.models import EpochKey
from shared.ports.clock import Runtime
from tests.support.clock import FakeClock
from tests.support.keys import TENANT
from tests.support.sealing import stream

PAPER = Description(name="paper.txt")


@dataclass
class FakeEpochs:
    """Epoch keys in memory; counts how often they are asked for."""

    epoch: str = "epo_1"
    keys: dict[str, EpochKey] = field(default_factory=dict)
    loads: list[set[str]] = field(default_factory=list)

    async def current(self, tenant: str) -> EpochKey:
        return await self.of(tenant, self.epoch)

    async def of(self, _tenant: str, epoch: str) -> EpochKey:
        return self.keys.setdefault(epoch, EpochKey(epoch, os.urandom(32)))

    async def of_all(self, tenant: str, epochs: Collection[str]) -> Mapping[str, EpochKey]:
        self.loads.append(set(epochs))
        return {epoch: await self.of(tenant, epoch) for epoch in epochs}


class Content:
    """A sealer and an opener over stores in memory."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.runtime = Runtime(clock, os.urandom)
        records = MemoryRecords(clock)
        self.agenda = Agenda(records, self.runtime)
        self.primary, self.replica = MemoryBlobs(clock), MemoryBlobs(clock)
        self.epochs = FakeEpochs()
        self.document = self.runtime.new_id("doc")
        self.sealer = ContentSealer(
            self.primary,
            self.epochs,  # type: ignore[arg-type]
            DocumentRecords(records, self.agenda),
            "development",
            self.runtime,
        )
        self.opener = ContentOpener(
            self.primary,
            self.replica,
            self.epochs,  # type: ignore[arg-type]
            "development",
        )

    def incoming(
        self, *chunks: Buffer, number: int = 1, max_size: int = 1 << 30, sha256: bytes | None = None
    ) -> Incoming:
        return Incoming(
            TENANT, self.document, number, "usr_1", PAPER, stream(chunks), max_size, sha256
        )

    async def stored(self) -> list[str]:
        return [info.name async for info in self.primary.list()]
