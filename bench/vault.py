"""The services over the embedded adapters in this process, on a clock that can be moved ahead."""

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.corpus import Corpus
from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.adapters.memory.targets import MemoryTargets
from shared.base.concurrency import at_once
from shared.base.partitions import OPERATOR
from shared.base.streams import single
from shared.base.topology import load_topology
from shared.documents.models import Description
from shared.documents.reading import content_etag
from shared.ports.bus import Delivery
from shared.ports.clock import Runtime
from shared.wiring.counting import counted_adapters
from shared.wiring.services import Services, build, profile_adapters
from shared.wiring.settings import Settings

AT_ONCE = 16
SUBSCRIPTIONS = ("encryption", "replication", "targets", "audit")
UNTIL_DUE = 240.0
"""Seconds after which a change is due for the next set."""


class RunningClock:
    """The machine's clock, moved ahead."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)


class SimulatedClock:
    """Stands still but for ``advance``."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, 10, tzinfo=UTC)) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass
class Vault:
    """The services, the clock that they go by, and the calls that they made (``counted_adapters``)."""

    services: Services
    clock: Any
    calls: Counter[str]

    async def tenant(self, slug: str) -> Principal:
        """A new tenant; its administrator."""
        operator = Principal(OPERATOR, "usr_operator", (Role.OPERATOR,))
        created = await self.services.tenants.create(operator, slug, "admin", None)
        return Principal(created.tenant.id, "usr_administrator", (Role.ADMINISTRATOR,))

    async def upload(self, by: Principal, name: str, content: bytes) -> str:
        """A new document; its id."""
        made = await self.services.documents.create(
            by, Description(name=name), single(content), None, None
        )
        return made.document.id

    async def update(self, by: Principal, document: str, content: bytes) -> None:
        """A new version of a document."""
        stored = await self.services.documents.store.document(by.tenant, document)
        tag = content_etag(document, stored.current)
        description = Description(name="changed.bin")
        await self.services.documents.update(by, document, tag, description, single(content), None)

    async def fill(self, by: Principal, corpus: Corpus) -> list[str]:
        """Upload the first revision of a corpus; the documents' ids in the order of the files."""
        numbers = range(len(corpus.sizes))
        return await at_once(
            lambda number: self.upload(by, f"{number:06d}.bin", corpus.content(number)),
            numbers,
            AT_ONCE,
        )

    async def change(self, by: Principal, corpus: Corpus, documents: list[str]) -> None:
        """Upload the second revision."""
        await at_once(
            lambda number: self.update(by, documents[number], corpus.content(number, 1)),
            corpus.changed(),
            AT_ONCE,
        )

    async def sha256(self, by: Principal, document: str) -> bytes:
        """Of the content that a reader gets; fails unless it comes from the first copy that is tried."""
        found = await self.services.documents.reader.find(by, document)
        size, digest = found.version.size, hashlib.sha256()
        opener = self.services.documents.reader.opener
        opened = await opener.open(by.tenant, document, found.version, 0, size, _is_damaged)
        async for piece in opened:
            digest.update(piece)
        return digest.digest()

    async def settle(self) -> None:
        """Let every event take effect."""
        await settle(self.services, self._take)

    async def until_due(self) -> None:
        """Let everything that was committed be due for the next set."""
        await self.settle()
        self.clock.advance(UNTIL_DUE)
        await self.services.outbox.relay()

    async def _take(self, subscription: str, deliveries: Sequence[Delivery]) -> None:
        async def handle(delivery: Delivery) -> None:
            await self.services.handlers.handle(subscription, delivery.body)
            await self.services.adapters.source.complete(delivery)

        await at_once(handle, deliveries, AT_ONCE)


async def _is_damaged(place: str, name: str) -> str:
    raise RuntimeError(f"{place}/{name} is damaged")


@contextlib.asynccontextmanager
async def opened(data: Path, clock: Any) -> AsyncIterator[Vault]:
    """The services on a data folder, new or not."""
    settings = Settings(
        data_dir=data, public_base_url="http://bench.test", bootstrap_secret_sha256="0" * 64
    )
    calls: Counter[str] = Counter()
    adapters = profile_adapters(settings, load_topology(), runtime := Runtime(clock, os.urandom))
    adapters = replace(counted_adapters(adapters, calls), targets=MemoryTargets(runtime))
    services = build(settings, clock, os.urandom, adapters)
    try:
        await services.start()
        yield Vault(services, clock, calls)
    finally:
        await services.close()


async def settle(
    services: Services, take: Callable[[str, Sequence[Delivery]], Awaitable[object]]
) -> None:
    """Let every event take effect.

    Args:
        services: Over the bus that has the events.
        take: Handles and completes what was received of a subscription.
    """
    busy = True
    while busy:
        busy = False
        await services.outbox.close()
        for subscription in SUBSCRIPTIONS:
            while deliveries := await services.adapters.source.receive(subscription, limit=50):
                busy = True
                await take(subscription, deliveries)
