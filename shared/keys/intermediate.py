"""Intermediate keys: between a tenant's key in the key vault and the keys of its epochs.

The tenant key wraps one intermediate key, which wraps the keys of all epochs of the tenant. So a process
asks the key vault once a tenant, however many epochs it opens, and twice while a rotation is under way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.base.errors import Damaged, NotFound
from shared.base.partitions import OPERATOR, Partition
from shared.crypto.keys import KEY_SIZE
from shared.journal.collections import Collection, Stored
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.keys.gate import KeyGate
from shared.keys.memory import KeyMemory
from shared.keys.models import (
    STATE_ID,
    IntermediateKey,
    RotationState,
    WrappedIntermediateKey,
    intermediate_keys_of,
    rotation_states_of,
)
from shared.keys.names import tenant_key_name
from shared.ports.clock import Runtime
from shared.ports.keys import KeyVault, WrappedKey
from shared.ports.records import Change, RecordStore


@dataclass(frozen=True, slots=True)
class CurrentKey:
    """A tenant's current intermediate key.

    Attributes:
        key: Wraps the keys of new epochs.
        unchanged: Belongs into each commit that wraps something under ``key``: a conflict if the key was
            replaced since it was read.
    """

    key: IntermediateKey
    unchanged: Change


@dataclass(slots=True)
class IntermediateKeys:
    """Gives out the intermediate keys of tenants, keeping each in memory for a few minutes."""

    records: RecordStore
    key_vault: KeyVault
    journal: Journal
    runtime: Runtime
    gate: KeyGate = field(default_factory=KeyGate)
    _keys: Collection[WrappedIntermediateKey] = field(init=False, repr=False)
    _states: Collection[RotationState] = field(init=False, repr=False)
    _memory: KeyMemory[IntermediateKey] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._keys = intermediate_keys_of(self.records)
        self._states = rotation_states_of(self.records)
        self._memory = KeyMemory(self.runtime)

    async def current(self, tenant: str) -> CurrentKey:
        """The key under which to wrap the key of a new epoch; the tenant's first is made here.

        Raises:
            Damaged: The tenant key or the intermediate key is gone.
            Unavailable: The key vault does not respond.
        """
        state = await self.state(tenant)
        while True:
            try:
                key = await self.of(tenant, state.value.intermediate)
            except NotFound:
                before, state = state, await self.state(tenant)
                if state.value.intermediate == before.value.intermediate:
                    raise Damaged("The tenant's intermediate key is gone.") from None
            else:
                return CurrentKey(key, self._states.touch(state))

    async def of(self, tenant: str, id: str) -> IntermediateKey:
        """One intermediate key.

        Raises:
            NotFound: It is not kept any more: a rotation has replaced it.
            Forbidden: It is for an employee, and no live grant of theirs is for this tenant.
            Damaged: The tenant key that wraps it is gone, or it is not what was wrapped.
            Unavailable: The key vault does not respond.
        """
        await self.gate.admit(tenant)  # memory may have what the key vault would refuse
        return await self._memory.get((tenant, id), lambda: self._unwrap(tenant, id))

    async def state(self, tenant: str) -> Stored[RotationState]:
        """Which intermediate key is current, as last committed; the tenant's first is made here.

        Raises:
            Damaged: The tenant key is gone.
            Unavailable: The key vault does not respond.
        """
        found = await self._states.find(Partition(tenant), STATE_ID)
        if found is not None:
            return found
        return await retry_conflicts(lambda: self._create_first(tenant), self.runtime)

    async def _create_first(self, tenant: str) -> Stored[RotationState]:
        partition = Partition(tenant)
        found = await self._states.find(partition, STATE_ID)
        if found is not None:
            return found
        now = self.runtime.now()
        key = IntermediateKey(self.runtime.new_id("int", now), self.runtime.random(KEY_SIZE))
        name = tenant_key_name(tenant)
        try:
            if tenant == OPERATOR:
                # The directory creates tenants with their keys; the operator is there before it.
                await self.key_vault.create(name, "wrap")
            wrapped = await self.key_vault.wrap(name, key.key)
        except NotFound:
            raise Damaged("The tenant's key is gone; nothing can be sealed under it.") from None
        kept = WrappedIntermediateKey.of(key.id, now, wrapped)
        entry = self.journal.entry(Action.KEY_CREATE, key.id, tenant=tenant)
        await self.journal.commit(
            entry,
            [
                self._keys.create(partition, kept),
                self._states.create(partition, RotationState(intermediate=key.id)),
            ],
        )
        self._memory.hold((tenant, key.id), key)
        return await self._states.get(partition, STATE_ID)

    async def _unwrap(self, tenant: str, id: str) -> IntermediateKey:
        kept = (await self._keys.get(Partition(tenant), id)).value
        try:
            key = await self.key_vault.unwrap(
                WrappedKey(tenant_key_name(tenant), kept.key_version, kept.wrapped_key)
            )
        except NotFound:
            raise Damaged("The tenant's key is gone; nothing under it can be opened.") from None
        return IntermediateKey(id, key)
