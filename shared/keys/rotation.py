"""Rotation of tenant keys: a new version, a new intermediate key, and every epoch key rewrapped.

Documents are not touched. A rotation may end anywhere, and the next run of the timer goes on from there:

1. The key vault makes a new version of the tenant key, which wraps a new intermediate key. One commit
   makes that the current one; from it on, every new epoch hangs from it.
2. Epochs that hang from another intermediate key, or from the tenant key itself (the form of releases
   before 0.2), are rewrapped under the current one, many in one commit.
3. Once no epoch hangs from them, the replaced intermediate keys are deleted.
4. The next rotation is put on the agenda.

Whatever changes what hangs from what also changes the tenant's ``RotationState`` in the same commit. So
an epoch that is begun at the same time conflicts with step 1, and never hangs from a deleted key.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.access.principal import Principal
from shared.base.errors import Conflict, Damaged, NotFound, StrongroomError, Unavailable
from shared.base.ids import created_at
from shared.base.partitions import OPERATOR, Partition
from shared.crypto.keys import KEY_SIZE
from shared.journal.agenda import Agenda, Task
from shared.journal.collections import Collection, Stored
from shared.journal.contention import retry_conflicts
from shared.journal.entries import SYSTEM, Action, Actor
from shared.journal.journal import Journal
from shared.keys.epochs import unwrap_epoch
from shared.keys.intermediate import IntermediateKeys
from shared.keys.models import (
    Epoch,
    RotationState,
    WrappedIntermediateKey,
    epochs_of,
    intermediate_keys_of,
    rotation_states_of,
)
from shared.keys.names import tenant_key_name
from shared.ports.clock import Runtime
from shared.ports.keys import KeyVault
from shared.ports.records import Change, RecordStore

BATCH: Final = 90
"""Epochs that one commit rewraps; the state, the audit entry and its event fit beside them."""

_log = logging.getLogger("strongroom.keys")


@dataclass(frozen=True, slots=True)
class _Batch:
    """What became of a batch of epochs."""

    rewrapped: int
    damaged: int


@dataclass(slots=True)
class KeyRotation:
    """Rotates tenant keys: by the timer when they are old, and at once when an operator asks.

    Attributes:
        every: How old a tenant key gets before the timer rotates it.
    """

    records: RecordStore
    key_vault: KeyVault
    agenda: Agenda
    journal: Journal
    intermediates: IntermediateKeys
    runtime: Runtime
    every: timedelta = timedelta(days=365)
    _epochs: Collection[Epoch] = field(init=False, repr=False)
    _keys: Collection[WrappedIntermediateKey] = field(init=False, repr=False)
    _states: Collection[RotationState] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._epochs = epochs_of(self.records)
        self._keys = intermediate_keys_of(self.records)
        self._states = rotation_states_of(self.records)

    async def schedule(self, tenant: str, made_at: datetime) -> None:
        """Put the first rotation of a tenant's key on the agenda.

        Args:
            tenant: The tenant.
            made_at: When its key was made; the rotation is due ``every`` later.
        """
        await self.agenda.add(Task.ROTATE_TENANT_KEY, Partition(tenant), made_at + self.every)

    async def begin(self, principal: Principal, tenant: str) -> None:
        """Rotate a tenant's key now, whatever its age; the next run of the timer rewraps the epochs.

        Args:
            principal: The employee who asks, for the audit log of the tenant.
            tenant: Whose key.

        Raises:
            NotFound: There is no such tenant, or its key was destroyed.
            Conflict: A rotation of this key is under way.
            Unavailable: The key vault or the record store does not respond.
        """
        if not await self._has_key(tenant):
            raise NotFound("There is no such tenant.")
        await self.agenda.announce(Task.ROTATE_TENANT_KEY, Partition(tenant))
        state = await self.intermediates.state(tenant)
        if not await self._replace(tenant, state.value.intermediate, by=principal):
            raise Conflict("A rotation of this key is under way; try again when it has finished.")

    async def run(self) -> int:
        """Do what is due on the agenda; return for how many tenants it was done.

        A tenant whose key is younger than ``every`` keeps it: only what a rotation has left, and epochs
        of the former form, are rewrapped. A tenant for which something fails stays on the agenda.
        """
        done: set[str] = set()
        async for item in self.agenda.due(Task.ROTATE_TENANT_KEY):
            tenant = Partition.parse(item.value.partition).tenant
            try:
                if tenant not in done:
                    await self._run(tenant)
            except StrongroomError as error:
                _log.error("key-rotation.failed tenant=%s error=%s", tenant, error.slug)
                continue
            await self.agenda.remove(Task.ROTATE_TENANT_KEY, [item])
            done.add(tenant)
        return len(done)

    async def _run(self, tenant: str) -> None:
        if not await self._has_key(tenant):
            _log.warning("key-rotation.no-key tenant=%s", tenant)
            return
        await self._rewrap(tenant)
        state = await self.intermediates.state(tenant)
        if self._due(tenant, state) <= self.runtime.now():
            await self._replace(tenant, state.value.intermediate, by=SYSTEM)
            await self._rewrap(tenant)
        due = self._due(tenant, await self.intermediates.state(tenant))
        await self.agenda.add(Task.ROTATE_TENANT_KEY, Partition(tenant), due)

    def _due(self, tenant: str, state: Stored[RotationState]) -> datetime:
        # The operator's key is made for its first backup, and its name is no id that has a time.
        made_at = created_at(state.value.intermediate if tenant == OPERATOR else tenant)
        return (state.value.rotated_at or made_at) + self.every

    async def _has_key(self, tenant: str) -> bool:
        try:
            await self.key_vault.public_key(tenant_key_name(tenant))
        except NotFound:
            return False
        return True

    async def _replace(self, tenant: str, current: str, *, by: Principal | Actor) -> bool:
        """Step 1, once for each intermediate key.

        Returns:
            False: nothing was changed, because the key ``current`` has been replaced already, or because
            the epochs of an earlier rotation have yet to be rewrapped.
        """
        fresh = self.runtime.new_id("int")
        attempt = partial(self._try_to_replace, tenant, current, fresh, by=by)
        return await retry_conflicts(attempt, self.runtime)

    async def _try_to_replace(
        self, tenant: str, current: str, fresh: str, *, by: Principal | Actor
    ) -> bool:
        partition, name = Partition(tenant), tenant_key_name(tenant)
        state = await self.intermediates.state(tenant)
        if state.value.intermediate == fresh:
            return True  # the commit before had succeeded after all
        kept = (await self._keys.page(partition, limit=2)).items
        if state.value.intermediate != current or [key.value.id for key in kept] != [current]:
            return False
        version = kept[0].value.key_version
        key, now = self.runtime.random(KEY_SIZE), self.runtime.now()
        wrapped = await self.key_vault.wrap(name, key)
        if wrapped.version == version:
            # Otherwise an attempt that ended before its commit has made the new version.
            await self.key_vault.rotate(name)
            wrapped = await self.key_vault.wrap(name, key)
        if wrapped.version == version:
            raise Unavailable("The key vault does not use the new version of the key yet.")
        kept_key = WrappedIntermediateKey.of(fresh, now, wrapped)
        rotated = RotationState(intermediate=fresh, rotated_at=now)
        entry = self.journal.entry(
            Action.KEY_ROTATE,
            fresh,
            by=by,
            tenant=tenant,
            details={"key_version": wrapped.version, "replaces": current},
        )
        await self.journal.commit(
            entry, [self._keys.create(partition, kept_key), self._states.replace(state, rotated)]
        )
        return True

    async def _rewrap(self, tenant: str) -> None:
        """Steps 2 and 3.

        Raises:
            Damaged: The keys of some epochs cannot be opened; what wraps them stays where it is.
        """
        while left := await retry_conflicts(partial(self._delete_replaced, tenant), self.runtime):
            batches = [
                await retry_conflicts(
                    partial(self._rewrap_batch, tenant, left[start : start + BATCH]), self.runtime
                )
                for start in range(0, len(left), BATCH)
            ]
            damaged = sum(batch.damaged for batch in batches)
            if damaged and not any(batch.rewrapped for batch in batches):
                raise Damaged(f"The keys of {damaged} epochs cannot be rewrapped.")

    async def _rewrap_batch(self, tenant: str, ids: Sequence[str]) -> _Batch:
        partition = Partition(tenant)
        current = await self.intermediates.current(tenant)
        changes: list[Change] = []
        damaged = 0
        for epoch in ids:
            stored = await self._epochs.find(partition, epoch)
            if stored is None or stored.value.intermediate == current.key.id:
                continue
            try:
                key = await unwrap_epoch(tenant, stored.value, self.intermediates, self.key_vault)
            except (Damaged, NotFound):
                # Another run may have rewrapped it since, and deleted the key that it hung from.
                again = await self._epochs.find(partition, epoch)
                if again is not None and again.etag == stored.etag:
                    _log.error("key-rotation.damaged tenant=%s epoch=%s", tenant, epoch)
                    damaged += 1
                continue
            rewrapped = stored.value.model_copy(
                update={
                    "intermediate": current.key.id,
                    "key_version": None,
                    "wrapped_key": current.key.wrap(key),
                }
            )
            changes.append(self._epochs.replace(stored, rewrapped))
        if changes:
            entry = self.journal.entry(
                Action.KEY_REWRAP, current.key.id, tenant=tenant, details={"epochs": len(changes)}
            )
            await self.journal.commit(entry, [*changes, current.unchanged])
        return _Batch(len(changes), damaged)

    async def _delete_replaced(self, tenant: str) -> Sequence[str]:
        """Delete the replaced intermediate keys, or return the epochs that keep them from being deleted."""
        partition = Partition(tenant)
        state = await self.intermediates.state(tenant)
        current = state.value.intermediate
        left = [
            epoch.value.id
            async for epoch in self._epochs.scan(partition)
            if epoch.value.intermediate != current
        ]
        if left:
            return left
        replaced = [key async for key in self._keys.scan(partition) if key.value.id != current]
        if replaced:
            entry = self.journal.entry(
                Action.KEY_DELETE,
                current,
                tenant=tenant,
                details={"intermediate_keys": [key.value.id for key in replaced]},
            )
            deletes = [self._keys.delete(key) for key in replaced]
            await self.journal.commit(entry, [*deletes, self._states.touch(state)])
        return []
