"""A tenant that has uploaded so many documents, all through the services, on a clock that is moved.

The embedded adapters on a disk, with every call counted. The tenant uploads ``A_STEP`` documents in an
hour, then the timers run. Each call of the audit handler appends everything that waits, so of the
deliveries that come together one is handled and the others are acknowledged.
"""

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench.vault import AT_ONCE, SimulatedClock, settle
from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.adapters.memory.targets import MemoryTargets
from shared.base.concurrency import at_once
from shared.base.errors import Unavailable
from shared.base.events import Event
from shared.base.partitions import OPERATOR
from shared.base.streams import single
from shared.base.topology import load_topology
from shared.documents.models import Description
from shared.handlers import AUDIT
from shared.ports.bus import DeadLetter, Delivery, EventBus
from shared.ports.clock import Runtime
from shared.wiring.counting import counted_adapters
from shared.wiring.services import Services, build, profile_adapters
from shared.wiring.settings import Settings

A_STEP = 1_000
STEP_SECONDS = 3_600.0
SETTLED_SECONDS = 12 * 3_600.0
"""After which the sweep has looked at all that was uploaded."""

CONTENT = b"a small document of a tenant that has many of them, 100 bytes long; only their number counts\n"


@dataclass
class SilentBus:
    """A bus that can be made to take nothing for a while, so that there is something to relay."""

    inner: EventBus
    silent: bool = False

    async def publish(self, events: Sequence[Event]) -> None:
        if self.silent:
            raise Unavailable("The bus is silent.")
        await self.inner.publish(events)

    async def dead_letters(self, subscription: str, *, limit: int = 100) -> Sequence[DeadLetter]:
        return await self.inner.dead_letters(subscription, limit=limit)

    async def replay(self, subscription: str, message_ids: Sequence[str]) -> int:
        return await self.inner.replay(subscription, message_ids)


@dataclass
class Tenant:
    """A tenant with documents, and the services that serve it.

    Attributes:
        services: Over adapters that count.
        clock: Theirs.
        calls: What was asked of the ports, under ``port.method``.
        bus: The sending side.
        by: Its administrator.
        documents: The ids of the documents, oldest first.
        chosen: The id of one that is not among them any more, because it is about to be deleted.
    """

    services: Services
    clock: SimulatedClock
    calls: Counter[str]
    bus: SilentBus
    by: Principal
    documents: list[str] = field(default_factory=list)
    chosen: str = ""

    async def upload(self, name: str) -> str:
        """A new document; its id."""
        made = await self.services.documents.create(
            self.by, Description(name=name), single(CONTENT), None, None
        )
        self.documents.append(made.document.id)
        return made.document.id

    async def fill(self, size: int) -> None:
        """Upload until there are so many documents."""
        while (have := len(self.documents)) < size:
            numbers = range(have, min(have + A_STEP, size))
            await at_once(lambda number: self.upload(f"{number:07d}.txt"), numbers, AT_ONCE)
            self.documents.sort()  # as their ids say when they were made
            await self.settle()
            self.clock.advance(STEP_SECONDS)
            await self.run_timers()

    async def run_timers(self) -> None:
        """What runs every few seconds or minutes."""
        await self.services.outbox.relay()
        await self.services.sweep.run()
        await self.services.audit.checkpoints.run()
        await self.settle()

    async def settle(self) -> None:
        """Let every event take effect."""
        await settle(self.services, self._take)

    async def _take(self, subscription: str, deliveries: Sequence[Delivery]) -> None:
        handled = deliveries[:1] if subscription == AUDIT else deliveries
        handle = partial(self.services.handlers.handle, subscription)
        await at_once(lambda delivery: handle(delivery.body), handled, AT_ONCE)
        await at_once(self.services.adapters.source.complete, deliveries, AT_ONCE)


@contextlib.asynccontextmanager
async def opened(data: Path, now: datetime, like: Tenant | None = None) -> AsyncIterator[Tenant]:
    """The services on a data folder, with a new tenant or one that is there already.

    Args:
        data: The folder.
        now: What the clock says.
        like: Whose tenant and documents the folder has; None: it is empty.
    """
    settings = Settings(
        data_dir=data, public_base_url="http://bench.test", bootstrap_secret_sha256="0" * 64
    )
    clock, calls = SimulatedClock(now), Counter[str]()
    runtime = Runtime(clock, os.urandom)
    adapters = counted_adapters(profile_adapters(settings, load_topology(), runtime), calls)
    bus = SilentBus(adapters.bus)
    adapters = replace(adapters, bus=bus, targets=MemoryTargets(runtime))
    services = build(settings, clock, os.urandom, adapters)
    try:
        await services.start()
        if like:
            tenant = Tenant(services, clock, calls, bus, like.by, list(like.documents))
        else:
            operator = Principal(OPERATOR, "usr_" + "0" * 26, (Role.OPERATOR,))
            made = await services.tenants.create(operator, "bench", "admin", None)
            by = Principal(made.tenant.id, "usr_" + "1" * 26, (Role.ADMINISTRATOR,))
            tenant = Tenant(services, clock, calls, bus, by)
        yield tenant
    finally:
        await services.close()


async def filled(folder: Path, sizes: Sequence[int]) -> list[tuple[Path, Tenant]]:
    """Data folders with so many documents each: one that grows, and copies of what it was.

    The tenants that come with them are closed: they say whose the documents are, for ``opened``.
    """
    found: list[tuple[Path, Tenant]] = []
    growing, now, like = folder / "growing", datetime(2026, 1, 1, tzinfo=UTC), None
    growing.mkdir()
    for size in sizes:
        async with opened(growing, now, like) as like:
            await like.fill(size)
            like.clock.advance(SETTLED_SECONDS)
            await like.run_timers()
            now = like.clock.now()
        kept = folder / f"{size}"
        if size == sizes[-1]:
            growing.rename(kept)
        else:
            shutil.copytree(growing, kept)
        found.append((kept, like))
    return found
