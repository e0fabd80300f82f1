"""Targets of a tenant in memory, used by several processes over the same records and stores."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyrage
from pydantic import SecretStr

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.adapters.memory.targets import MemoryTargets
from shared.base.errors import StrongroomError
from shared.base.events import EventType
from shared.base.partitions import Partition
from shared.journal.idempotency import Idempotency
from shared.journal.months import DOCUMENT_MONTHS, Months
from shared.ports.clock import Runtime
from shared.ports.targets import ProbeStep, TargetAddress, TargetCredentials
from shared.targets.models import TargetStatus, WaitingCopy
from shared.targets.requests import DescribedTarget, NewTarget, Recovery
from shared.targets.store import TargetKey
from shared.targets.timer import LOOK_AGAIN_SECONDS
from shared.wiring.targets import TargetServices, build_targets
from tests.support.clock import FakeClock
from tests.support.documents import MAX_BYTES, DocumentData, DocumentProcess
from tests.support.keys import TENANT

ADMINISTRATOR = Principal(TENANT, "usr_" + "1" * 26, (Role.ADMINISTRATOR,))
SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"
CREDENTIALS = TargetCredentials(
    access_key_id=SecretStr("AKIAIOSFODNN7EXAMPLE"), secret_access_key=SecretStr(SECRET)
)
HOLDERS = [pyrage.x25519.Identity.generate() for _ in range(3)]
RECIPIENTS = tuple(str(holder.to_public()) for holder in HOLDERS)


def new_target(bucket: str = "copies", *, quorum: int = 1, rate: int = 0) -> NewTarget:
    """A target to set up, with three holders of recovery keys."""
    return NewTarget(
        name="Our own storage",
        address=TargetAddress(kind="s3", bucket=bucket, prefix="strongroom/", region="eu-west-1"),
        credentials=CREDENTIALS,
        recovery=Recovery(recipients=RECIPIENTS, quorum=quorum),
        bytes_per_second=rate,
    )


async def short_sleep(seconds: float) -> None:
    """Waits for others between attempts; the timer's own pauses end when something happens."""
    await (asyncio.Event().wait() if seconds == LOOK_AGAIN_SECONDS else asyncio.sleep(0))


@dataclass
class TargetProcess:
    """One process with documents and targets."""

    clock: FakeClock
    documents: DocumentProcess
    services: TargetServices

    async def create(self, new: NewTarget | None = None) -> TargetKey:
        """A new target, for which the documents that are there wait from now on."""
        described = await self.services.targets.create(ADMINISTRATOR, new or new_target(), None)
        return TargetKey(TENANT, described.target.id)

    async def set_up(self, new: NewTarget | None = None) -> TargetKey:
        """A new target that has what was there before."""
        target = await self.create(new)
        self.clock.advance(120)
        await self.services.timer.run()
        assert (await self.status(target)).backfilled
        return target

    async def described(self, target: TargetKey) -> DescribedTarget:
        """A target as its administrators see it."""
        return await self.services.targets.read(ADMINISTRATOR, target.id)

    async def status(self, target: TargetKey) -> TargetStatus:
        """How copying fares."""
        return await self.services.targets.store.status(target)


@dataclass
class TargetData(DocumentData):
    """What outlives a process, targets included.

    Attributes:
        connector: The targets.
    """

    connector: MemoryTargets = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.connector = MemoryTargets(Runtime(self.clock, os.urandom, self._advance))
        self._noted = 0

    def start(self) -> TargetProcess:
        """A process that has just started."""
        process = self.process()
        runtime = Runtime(self.clock, os.urandom, short_sleep)
        services = build_targets(
            process.store,
            process.replication.opener,
            process.journal,
            Idempotency(self.records, runtime),
            self.connector,
            runtime,
            max_bytes=MAX_BYTES,
        )
        return TargetProcess(self.clock, process, services)

    async def note(self, process: TargetProcess) -> None:
        """Let the events that were published since the last call take effect."""
        for outbox in self._outboxes:
            await outbox.close()
        handlers = {
            EventType.DOCUMENT_SEALED: process.services.queue.copy,
            EventType.DOCUMENT_DELETED: process.services.queue.erase,
        }
        while self._noted < len(self.bus.published):
            event = self.bus.published[self._noted]
            self._noted += 1
            if event.type in handlers:
                await handlers[event.type](event)

    async def work(self, process: TargetProcess, minutes: float = 2) -> int:
        """Let events take effect and some time pass, then let the timer run."""
        await self.note(process)
        self.clock.advance(minutes * 60)
        return await process.services.timer.run()

    def objects(self, bucket: str = "copies") -> dict[str, bytes]:
        """What a target holds, by names below its prefix."""
        found = self.connector.buckets.get(bucket, {})
        return {info.name: content for content, info in found.values()}

    @contextmanager
    def outage(
        self, step: ProbeStep, error: StrongroomError, bucket: str = "copies"
    ) -> Iterator[None]:
        """Let a target fail for a while."""
        outages = self.connector.outages.setdefault(bucket, {})
        outages[step] = error
        try:
            yield
        finally:
            del outages[step]

    async def waiting(self) -> list[WaitingCopy]:
        """What waits for any target, by months and ids."""
        store = self.start().services.targets.store
        return [
            stored.value
            for month in await Months(store.records, DOCUMENT_MONTHS).of(TENANT)
            async for stored in store.copies.scan(Partition(TENANT, month))
        ]

    async def _advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(0)


def opened(file: bytes, *identities: Any) -> dict[str, Any]:
    """The JSON in an age file."""
    found: dict[str, Any] = json.loads(pyrage.decrypt(file, list(identities) or HOLDERS[:1]))
    return found
