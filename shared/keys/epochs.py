"""Epoch keys: the middle of the three key levels.

A tenant's key in Key Vault wraps an epoch key, and an epoch key wraps the data keys of at most 10,000
contents or a day's worth. So Key Vault is asked once a tenant and epoch, not once a document.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from shared.base.errors import Conflict, Damaged, NotFound, Unavailable
from shared.base.ids import new_id
from shared.base.models import Base64UrlBytes, Model, UtcDatetime
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.ports.clock import Clock, Entropy
from shared.ports.keys import KeyVault, WrappedKey
from shared.ports.records import Create, Record, RecordStore, Replace

KIND: Final = "epoch"
KEY_SIZE: Final = 32
LIFETIME: Final = timedelta(hours=24)
CAPACITY: Final = 10_000
# Each process reserves room for this many contents at a time; what it does not use is lost, so an epoch
# may end early but never late.
RESERVATION: Final = 250
IN_MEMORY: Final = timedelta(minutes=5)
ATTEMPTS: Final = 20


def tenant_key_name(tenant: str) -> str:
    """The name of a tenant's key in Key Vault."""
    return tenant.replace("_", "-")


class Epoch(Model):
    """An epoch as it is kept.

    Attributes:
        id: Sorts by time.
        created_at: When it began.
        key_version: The version of the tenant's key that wraps the epoch key.
        wrapped_key: The epoch key under the tenant's key.
        reserved: How many contents may have been sealed in it so far.
    """

    id: str
    created_at: UtcDatetime
    key_version: str
    wrapped_key: Base64UrlBytes
    reserved: int


@dataclass(frozen=True, slots=True)
class EpochKey:
    """An unwrapped epoch key and the epoch's id."""

    id: str
    key: bytes


@dataclass(slots=True)
class _Room:
    """What is left of a reservation in the tenant's current epoch."""

    epoch: str
    until: datetime
    left: int


class EpochKeys:
    """Gives out epoch keys, keeping each for a few minutes.

    Args:
        records: Where wrapped epoch keys are kept.
        key_vault: Holds the tenants' keys.
        journal: For the audit entry of each new epoch.
        clock: Time.
        entropy: Randomness.
    """

    def __init__(
        self,
        records: RecordStore,
        key_vault: KeyVault,
        journal: Journal,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._records = records
        self._key_vault = key_vault
        self._journal = journal
        self._clock = clock
        self._entropy = entropy
        self._unwrapped: dict[tuple[str, str], tuple[datetime, EpochKey]] = {}
        self._rooms: dict[str, _Room] = {}
        self._under_way: dict[tuple[str, str], asyncio.Task[EpochKey]] = {}

    async def current(self, tenant: str) -> EpochKey:
        """The key under which to seal one more content of the tenant."""
        while True:
            room = self._rooms.get(tenant)
            if room is not None and room.left > 0 and room.until > self._clock.now():
                room.left -= 1
                return await self.of(tenant, room.epoch)
            await self._once((tenant, ""), lambda: self._reserve(tenant))

    async def of(self, tenant: str, epoch: str) -> EpochKey:
        """The key of one epoch.

        Raises:
            Damaged: The epoch or the key that wraps it is gone or not what it was.
        """
        until, held = self._unwrapped.get((tenant, epoch), (None, None))
        if until is not None and held is not None and until > self._clock.now():
            return held
        return await self._once((tenant, epoch), lambda: self._unwrap(tenant, epoch))

    async def _once(
        self, name: tuple[str, str], work: Callable[[], Coroutine[None, None, EpochKey]]
    ) -> EpochKey:
        # A thousand requests at once must ask Key Vault once; one of them being cancelled must not
        # cancel the work for the others.
        task = self._under_way.get(name)
        if task is None:
            task = asyncio.create_task(work())
            self._under_way[name] = task
            task.add_done_callback(lambda _: self._under_way.pop(name, None))
        return await asyncio.shield(task)

    async def _unwrap(self, tenant: str, epoch: str) -> EpochKey:
        try:
            record = await self._records.get(tenant, KIND, epoch)
            stored = Epoch.model_validate(record.body)
            key = await self._key_vault.unwrap(
                WrappedKey(tenant_key_name(tenant), stored.key_version, stored.wrapped_key)
            )
        except NotFound:
            raise Damaged(
                "The key of this content is gone; the content cannot be opened."
            ) from None
        return self._hold(tenant, EpochKey(epoch, key))

    async def _reserve(self, tenant: str) -> EpochKey:
        for _ in range(ATTEMPTS):
            now = self._clock.now()
            page = await self._records.query(KIND, tenant=tenant, order="descending", limit=1)
            if page.records:
                record = page.records[0]
                epoch = Epoch.model_validate(record.body)
                if epoch.created_at + LIFETIME > now and epoch.reserved + RESERVATION <= CAPACITY:
                    grown = epoch.model_copy(update={"reserved": epoch.reserved + RESERVATION})
                    try:
                        await self._records.commit(
                            tenant, [Replace(replace(record, body=grown.model_dump(mode="json")))]
                        )
                    except Conflict:
                        continue
                    return await self._enter(tenant, epoch)
            return await self._begin(tenant)
        raise Unavailable("The epoch is being extended from elsewhere; try again.")

    async def _begin(self, tenant: str) -> EpochKey:
        now = self._clock.now()
        key = self._entropy(KEY_SIZE)
        wrapped = await self._key_vault.wrap(tenant_key_name(tenant), key)
        epoch = Epoch(
            id=new_id("epo", now, self._entropy),
            created_at=now,
            key_version=wrapped.version,
            wrapped_key=wrapped.ciphertext,
            reserved=RESERVATION,
        )
        entry = self._journal.entry(Action.KEY_CREATE, epoch.id, tenant=tenant)
        record = Record(tenant, KIND, epoch.id, epoch.model_dump(mode="json"))
        await self._journal.commit(entry, [Create(record)])
        self._hold(tenant, EpochKey(epoch.id, key))
        return await self._enter(tenant, epoch)

    async def _enter(self, tenant: str, epoch: Epoch) -> EpochKey:
        key = await self.of(tenant, epoch.id)
        self._rooms[tenant] = _Room(epoch.id, epoch.created_at + LIFETIME, RESERVATION)
        return key

    def _hold(self, tenant: str, key: EpochKey) -> EpochKey:
        name = (tenant, key.id)
        self._unwrapped[name] = (self._clock.now() + IN_MEMORY, key)
        # An idle process must let go as well, so the entry does not wait for the next look-up.
        asyncio.get_running_loop().call_later(
            IN_MEMORY.total_seconds(), self._unwrapped.pop, name, None
        )
        return key
