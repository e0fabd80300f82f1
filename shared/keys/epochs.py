"""Epoch keys: each wraps the data keys of at most 10,000 versions, or of a day's.

The key of an epoch is wrapped by the tenant's intermediate key, so a process that holds that one opens any
epoch of the tenant without asking the key vault.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.base import telemetry
from shared.base.errors import Damaged, NotFound
from shared.base.partitions import Partition
from shared.crypto.keys import KEY_SIZE
from shared.journal.collections import Collection
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.keys.gate import KeyGate
from shared.keys.intermediate import IntermediateKeys
from shared.keys.memory import KeyMemory
from shared.keys.models import Epoch, EpochKey, epochs_of
from shared.keys.names import tenant_key_name
from shared.ports.clock import Runtime
from shared.ports.keys import KeyVault, WrappedKey
from shared.ports.records import RecordStore

LIFETIME: Final = timedelta(hours=24)
CAPACITY: Final = 10_000
# Each process reserves room for this many versions at a time; what it does not use is lost, so an epoch
# may end early but never late.
RESERVATION: Final = 250

READ_AT_ONCE: Final = 16
"""Records of epochs that ``of_all`` reads at the same time."""


_log = logging.getLogger("strongroom.keys")


@dataclass(slots=True)
class _Room:
    """What is left of a reservation in the tenant's current epoch."""

    epoch: str
    until: datetime
    left: int


@dataclass(slots=True)
class EpochKeys:
    """Gives out epoch keys, keeping each in memory for a few minutes; to whom, the gate says each time."""

    records: RecordStore
    key_vault: KeyVault
    journal: Journal
    intermediates: IntermediateKeys
    runtime: Runtime
    gate: KeyGate = field(default_factory=KeyGate)
    _epochs: Collection[Epoch] = field(init=False, repr=False)
    _memory: KeyMemory[EpochKey] = field(init=False, repr=False)
    _rooms: dict[str, _Room] = field(init=False, repr=False, default_factory=dict)
    _any: dict[str, str] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._epochs = epochs_of(self.records)
        self._memory = KeyMemory(self.runtime)

    async def current(self, tenant: str) -> EpochKey:
        """The key under which to seal one more version of the tenant's documents.

        Raises:
            Damaged: A key above the epoch's is gone.
            Unavailable: The key vault or the record store does not respond.
        """
        while True:
            room = self._rooms.get(tenant)
            if room is not None and room.left > 0 and room.until > self.runtime.now():
                room.left -= 1
                return await self.of(tenant, room.epoch)
            await self._memory.once((tenant, ""), lambda: self._enter(tenant))

    async def any(self, tenant: str) -> EpochKey:
        """The key of an epoch of the tenant's, new or not: for what is not counted as versions are.

        Raises:
            Damaged: As for ``current``.
            Unavailable: As for ``current``.
        """
        if tenant not in self._any:
            page = await self._epochs.page(Partition(tenant), order="descending", limit=1)
            known = [stored.value.id for stored in page.items]
            self._any[tenant] = known[0] if known else (await self.current(tenant)).id
        return await self.of(tenant, self._any[tenant])

    async def of(self, tenant: str, epoch: str) -> EpochKey:
        """The key of one epoch.

        Raises:
            Damaged: The epoch, or a key that wraps it, is gone or not what it was.
            Forbidden: It is for an employee, and no live grant of theirs is for this tenant.
            Unavailable: The key vault or the record store does not respond.
        """
        await self.gate.admit(tenant)
        return await self._known(tenant, epoch)

    async def of_all(self, tenant: str, epochs: Iterable[str]) -> Mapping[str, EpochKey]:
        """The keys of many epochs, by their ids; the key vault is asked twice at most, the gate once.

        Those that are damaged are left out, and logged.

        Args:
            tenant: Whose they are.
            epochs: Their ids, in any order and as often as they come.

        Raises:
            Forbidden: As for ``of``.
            Unavailable: As for ``of``.
        """
        await self.gate.admit(tenant)
        places = asyncio.Semaphore(READ_AT_ONCE)

        async def load(epoch: str) -> EpochKey | None:
            async with places:
                try:
                    return await self._known(tenant, epoch)
                except Damaged:
                    _log.error("record.damaged kind=epoch id=%s", epoch)
                    telemetry.RECORDS_DAMAGED.add(1, {telemetry.RECORD: "epoch"})
                    return None

        tasks = [asyncio.create_task(load(epoch)) for epoch in dict.fromkeys(epochs)]
        try:
            return {key.id: key for key in await asyncio.gather(*tasks) if key is not None}
        finally:
            for task in tasks:
                task.cancel()

    async def _known(self, tenant: str, epoch: str) -> EpochKey:
        return await self._memory.get((tenant, epoch), lambda: self._unwrap(tenant, epoch))

    async def _unwrap(self, tenant: str, id: str) -> EpochKey:
        epoch: Epoch | None = None
        while True:
            found = await self._epochs.find(Partition(tenant), id)
            if found is None:
                raise Damaged("The epoch of this content is gone; the content cannot be opened.")
            before, epoch = epoch, found.value
            if before is not None and before.intermediate == epoch.intermediate:
                raise Damaged("The key of this content is gone; the content cannot be opened.")
            try:
                key = await unwrap_epoch(tenant, epoch, self.intermediates, self.key_vault)
            except NotFound:
                # A rotation has rewrapped the epoch since it was read, or else the key is gone.
                continue
            return EpochKey(id, key)

    async def _enter(self, tenant: str) -> EpochKey:
        """Make room in the newest epoch, or begin another one, and return its key."""
        epoch = await retry_conflicts(lambda: self._reserve(tenant), self.runtime)
        key = await self.of(tenant, epoch.id)
        self._rooms[tenant] = _Room(epoch.id, epoch.created_at + LIFETIME, RESERVATION)
        return key

    async def _reserve(self, tenant: str) -> Epoch:
        partition, now = Partition(tenant), self.runtime.now()
        newest = await self._epochs.page(partition, order="descending", limit=1)
        for stored in newest.items:
            epoch = stored.value
            reserved = epoch.reserved + RESERVATION
            if epoch.created_at + LIFETIME > now and reserved <= CAPACITY:
                grown = epoch.model_copy(update={"reserved": reserved})
                await self.records.commit(partition, [self._epochs.replace(stored, grown)])
                return grown
        return await self._begin(tenant, now)

    async def _begin(self, tenant: str, now: datetime) -> Epoch:
        current = await self.intermediates.current(tenant)
        key = EpochKey(self.runtime.new_id("epo", now), self.runtime.random(KEY_SIZE))
        epoch = Epoch(
            id=key.id,
            created_at=now,
            intermediate=current.key.id,
            wrapped_key=current.key.wrap(key.key),
            reserved=RESERVATION,
        )
        entry = self.journal.entry(Action.KEY_CREATE, epoch.id, tenant=tenant)
        create = self._epochs.create(Partition(tenant), epoch)
        await self.journal.commit(entry, [create, current.unchanged])
        self._memory.hold((tenant, epoch.id), key)
        return epoch


async def unwrap_epoch(
    tenant: str, epoch: Epoch, intermediates: IntermediateKeys, key_vault: KeyVault
) -> bytes:
    """The key of an epoch as it is kept, in its present or its former form.

    Raises:
        NotFound: Its intermediate key is not kept any more; the epoch has been rewrapped since.
        Damaged: A key that wraps it is gone, or it is not what was wrapped.
        Unavailable: The key vault does not respond.
    """
    if epoch.intermediate is not None:
        return (await intermediates.of(tenant, epoch.intermediate)).unwrap(epoch.wrapped_key)
    wrapped = WrappedKey(tenant_key_name(tenant), epoch.key_version or "", epoch.wrapped_key)
    try:
        return await key_vault.unwrap(wrapped)
    except NotFound:
        raise Damaged("The tenant's key is gone; nothing under it can be opened.") from None
