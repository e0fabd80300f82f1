"""The keys of one tenant, used by several processes over the same records and key vault."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.adapters.memory.records import MemoryRecords
from shared.base.errors import NotFound, Unavailable
from shared.base.ids import new_id
from shared.base.partitions import OPERATOR, Partition
from shared.journal.agenda import Agenda
from shared.journal.journal import Journal
from shared.journal.outbox import Outbox
from shared.keys.epochs import EpochKeys
from shared.keys.intermediate import IntermediateKeys
from shared.keys.models import Epoch, WrappedIntermediateKey, epochs_of, intermediate_keys_of
from shared.keys.names import tenant_key_name
from shared.keys.rotation import KeyRotation
from shared.ports.clock import Runtime
from shared.ports.keys import WrappedKey
from shared.ports.records import Change, Delete, RecordStore
from tests.support.clock import FakeClock
from tests.support.records import waiting

TENANT = new_id("ten", FakeClock().now(), bytes)
EMPLOYEE = Principal(OPERATOR, "usr_operator", (Role.OPERATOR,))


class KilledError(Exception):
    """The process ended here."""


class Steps:
    """Counts the steps of a process, and ends it at one of them."""

    def __init__(self) -> None:
        self.taken = 0
        self.last: int | None = None

    def take(self) -> None:
        self.taken += 1
        if self.last is not None and self.taken >= self.last:
            raise KilledError


class CountingVault:
    """A key vault with versions that wraps by reversing, counts, and can be down."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.down = False
        self.versions = {tenant_key_name(TENANT): 1}
        self.steps = Steps()

    async def public_key(self, name: str, _version: str | None = None) -> bytes:
        await self._called("public_key", name)
        return b""

    async def wrap(self, name: str, plaintext: bytes) -> WrappedKey:
        await self._called("wrap", name)
        version = str(self.versions[name])
        self.steps.take()
        return WrappedKey(name, version, version.encode() + plaintext[::-1])

    async def unwrap(self, wrapped: WrappedKey) -> bytes:
        await self._called("unwrap", wrapped.name)
        assert wrapped.ciphertext[:-32].decode() == wrapped.version
        self.steps.take()
        return wrapped.ciphertext[-32:][::-1]

    async def rotate(self, name: str) -> str:
        await self._called("rotate", name)
        self.versions[name] += 1
        self.steps.take()
        return str(self.versions[name])

    async def _called(self, what: str, name: str) -> None:
        self.calls[what] += 1
        await asyncio.sleep(0)
        if self.down:
            raise Unavailable("The key vault does not answer.")
        if name not in self.versions:
            raise NotFound("There is no such key.")


class SteppedRecords(MemoryRecords):
    """Each commit is a step, except those that forget published events."""

    def __init__(self, clock: FakeClock, steps: Steps) -> None:
        super().__init__(clock)
        self._steps = steps

    async def commit(self, partition: Partition, changes: Sequence[Change]) -> None:
        await super().commit(partition, changes)
        if not all(isinstance(c, Delete) and c.kind == "outbox" for c in changes):
            self._steps.take()


class DeafBus:
    async def publish(self, _: object) -> None: ...


@dataclass
class KeyProcess:
    """What a process has of the keys; nothing is unwrapped yet."""

    intermediates: IntermediateKeys
    epochs: EpochKeys
    rotation: KeyRotation
    agenda: Agenda


class TenantKeys:
    """The keys of ``TENANT``, and those who use them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.vault = CountingVault()
        self.steps = self.vault.steps
        self.records: RecordStore = SteppedRecords(self.clock, self.steps)
        self._outboxes: list[Outbox] = []

    def process(self, every: timedelta = timedelta(days=365)) -> KeyProcess:
        """A process that has just started."""
        runtime = Runtime(self.clock, os.urandom)
        agenda = Agenda(self.records, runtime)
        outbox = Outbox(self.records, DeafBus(), agenda, "development", runtime)  # type: ignore[arg-type]
        self._outboxes.append(outbox)
        journal = Journal(self.records, outbox, "development", runtime)
        vault: Any = self.vault
        intermediates = IntermediateKeys(self.records, vault, journal, runtime)
        return KeyProcess(
            intermediates,
            EpochKeys(self.records, vault, journal, intermediates, runtime),
            KeyRotation(self.records, vault, agenda, journal, intermediates, runtime, every),
            agenda,
        )

    async def close(self) -> None:
        for outbox in self._outboxes:
            await outbox.close()

    async def epochs(self) -> dict[str, Epoch]:
        """As they are stored."""
        found = epochs_of(self.records).scan(Partition(TENANT))
        return {epoch.value.id: epoch.value async for epoch in found}

    async def intermediate_keys(self) -> list[WrappedIntermediateKey]:
        """As they are stored."""
        found = intermediate_keys_of(self.records).scan(Partition(TENANT))
        return [key.value async for key in found]

    async def entries(self, action: str) -> list[dict[str, Any]]:
        """What the tenant's audit log will say about an action."""
        page = await self.records.query(Partition(TENANT), "audit", limit=1_000)
        assert page.cursor is None
        found = [waiting(record.body) for record in page.records]
        return [entry for entry in found if entry["action"] == action]

    async def begin_epochs(self, number: int) -> dict[str, bytes]:
        """Use one epoch a day, and return their keys by id."""
        epochs, keys = self.process().epochs, {}
        for _ in range(number):
            key = await epochs.current(TENANT)
            keys[key.id] = key.key
            self.clock.advance(24 * 3600)
        return keys

    async def begin_former_epochs(self, number: int) -> dict[str, bytes]:
        """The same in the form of releases before 0.2."""
        keys = {}
        for _ in range(number):
            key = os.urandom(32)
            wrapped = await self.vault.wrap(tenant_key_name(TENANT), key)
            epoch = Epoch(
                id=new_id("epo", self.clock.now(), os.urandom),
                created_at=self.clock.now(),
                key_version=wrapped.version,
                wrapped_key=wrapped.ciphertext,
                reserved=250,
            )
            create = epochs_of(self.records).create(Partition(TENANT), epoch)
            del create.record.body["intermediate"]
            await self.records.commit(Partition(TENANT), [create])
            keys[epoch.id] = key
            self.clock.advance(24 * 3600)
        return keys

    async def opened(self, ids: Iterable[str]) -> Mapping[str, bytes]:
        """The keys of epochs as a fresh process opens them."""
        opened = await self.process().epochs.of_all(TENANT, ids)
        return {name: key.key for name, key in opened.items()}
