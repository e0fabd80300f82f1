"""Targets, as a tenant's administrators see them: set up, described, changed, probed, deleted."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from shared.access.principal import Principal
from shared.base import telemetry
from shared.base.errors import Damaged, InvalidInput, PreconditionFailed, StrongroomError
from shared.base.listing import Listing
from shared.base.partitions import Partition
from shared.journal.collections import Stored
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Action, Entry
from shared.journal.idempotency import Idempotency, IdempotencyKey, Outcome
from shared.journal.journal import Journal
from shared.ports.records import Delete
from shared.ports.targets import ProbeResult
from shared.targets.configurations import TargetConfigurations
from shared.targets.created import as_created, facts_of, from_facts
from shared.targets.errors import TargetChangedError, TargetUnusableError
from shared.targets.models import Target, TargetStatus
from shared.targets.places import Places
from shared.targets.requests import DescribedTarget, NewTarget, TargetChange
from shared.targets.setup import TargetSetup
from shared.targets.store import STATUS_KIND, Lag, TargetKey, TargetRecords

_log = logging.getLogger("strongroom.targets")


@dataclass(slots=True)
class Targets:
    """The targets of the tenants.

    Attributes:
        store: Finds and changes them.
        journal: Commits changes with their audit entries.
        setup: Tries addresses and credentials, and prepares places.
        places: Reserves places.
        idempotency: Remembers outcomes of POSTs.
        least_bytes_per_second: The lowest limit: the largest content must arrive within the time of a copy.
    """

    store: TargetRecords
    journal: Journal
    setup: TargetSetup
    places: Places
    idempotency: Idempotency
    least_bytes_per_second: int

    async def create(
        self, principal: Principal, new: NewTarget, key: IdempotencyKey | None
    ) -> DescribedTarget:
        """Probe a target and set it up; the documents that are there are copied from then on.

        Raises:
            Conflict: Another target has the address, there are too many, or the place is in use.
            IdempotencyKeyReused: The key belongs to a different request.
            InvalidInput: The address, the credentials, the recovery keys or the limit are not valid.
            TargetUnusableError: A step of the probe failed.
        """
        partition = Partition(principal.tenant)
        outcome = await self.idempotency.outcome(key, new.request(), partition)
        if outcome is not None:
            return await self._repeated(principal, new, outcome)
        target = TargetKey(principal.tenant, self.store.runtime.new_id("tgt"))
        self._check_rate(new.bytes_per_second)
        if new.recovery is not None:
            new.recovery.check()
        await self.places.reserve(target, new.address)
        try:
            return await self._create(principal, target, new, key)
        finally:
            await self.places.release(target)  # nothing, once the target has it

    async def all(self, principal: Principal) -> Listing[DescribedTarget]:
        """The targets of the caller's tenant, oldest first."""
        tenant = principal.tenant
        found = await self.store.of_tenant(tenant)
        await self.journal.commit(self.journal.entry(Action.TARGET_LIST, by=principal))
        lags = await self.store.lags(tenant) if found.items else {}
        items: list[DescribedTarget] = []
        damaged = list(found.damaged)
        for stored in found.items:
            target = stored.value.id
            try:
                items.append(await self._described(tenant, stored, lags.get(target, Lag())))
            except Damaged:
                _log.error("record.damaged kind=target id=%s", target)
                telemetry.RECORDS_DAMAGED.add(1, {telemetry.RECORD: "target"})
                damaged.append(target)
        return Listing(items, None, damaged)

    async def read(self, principal: Principal, target: str) -> DescribedTarget:
        """A target of the caller's tenant.

        Raises:
            NotFound: There is no such target.
        """
        stored = await self.store.get(TargetKey(principal.tenant, target))
        await self.journal.commit(self.journal.entry(Action.TARGET_READ, target, by=principal))
        return await self._measured(principal.tenant, stored)

    async def change(
        self, principal: Principal, target: str, change: TargetChange, if_match: str | None
    ) -> DescribedTarget:
        """Change a target; new credentials are probed before they are kept.

        Raises:
            InvalidInput: The credentials or the limit are not valid.
            NotFound: There is no such target.
            PreconditionFailed: The target's etag is not ``if_match``.
            TargetChangedError: The credentials lead to another place; nothing was changed.
            TargetUnusableError: A step of the probe failed; nothing was changed.
            Unavailable: The target was concurrently modified all the time; nothing was changed.
        """
        key = TargetKey(principal.tenant, target)
        steps: Sequence[ProbeResult] = ()
        update: dict[str, object] = {
            name: getattr(change, name)
            for name in change.changed
            if name in {"name", "bytes_per_second"}
        }
        self._check_rate(change.bytes_per_second or 0)
        stored = await self.store.get(key)
        _check_match(stored, if_match)
        if change.credentials is not None:
            opened = await self._configurations.open(key.tenant, stored.value)
            renewed = opened.model_copy(update={"credentials": change.credentials})
            async with self._audited(principal, Action.TARGET_CHANGE, target):
                steps = await self.setup.verify(key.tenant, renewed)
                await principal.confirm()  # a probe takes long
            sealed = await self._configurations.seal(key.tenant, target, renewed)
            update |= {"epoch": sealed.epoch, "configuration": sealed.sealed}
        changed = await self._apply(
            key,
            self.journal.entry(
                Action.TARGET_CHANGE, target, by=principal, details={"changed": change.changed}
            ),
            lambda value: value.model_copy(
                update=update | {"state": change.state_after(value.state)}
            ),
            if_match,
            revive=change.credentials is not None or change.paused is False,
        )
        return replace(await self._measured(key.tenant, changed), steps=steps)

    async def probe(self, principal: Principal, target: str) -> DescribedTarget:
        """Probe a target now; if all is well, what waits for it is tried again soon.

        Raises:
            NotFound: There is no such target.
            TargetChangedError: There is something else now where the target was.
            TargetUnusableError: A step failed.
            Unavailable: The target was concurrently modified all the time.
        """
        key = TargetKey(principal.tenant, target)
        stored = await self.store.get(key)
        configuration = await self._configurations.open(key.tenant, stored.value)
        async with self._audited(principal, Action.TARGET_PROBE, target):
            steps = await self.setup.verify(key.tenant, configuration)
            await principal.confirm()
        probed = await self._apply(
            key,
            self.journal.entry(Action.TARGET_PROBE, target, by=principal),
            lambda value: value.model_copy(
                update={"state": "active" if value.state == "failing" else value.state}
            ),
            revive=True,
        )
        return replace(await self._measured(key.tenant, probed), steps=steps)

    async def delete(self, principal: Principal, target: str) -> None:
        """Delete a target and its credentials. The copies that are there stay.

        Raises:
            NotFound: There is no such target.
            Unavailable: The targets were concurrently modified all the time; nothing was done.
        """
        key = TargetKey(principal.tenant, target)
        await self.store.get(key)
        await self.store.prepare(key)  # the timer removes what waits for it

        async def attempt() -> None:
            stored = await self.store.get(key)
            await self.journal.commit(
                self.journal.entry(Action.TARGET_DELETE, target, by=principal),
                [
                    self.store.targets.delete(stored),
                    Delete(STATUS_KIND, target),
                    *await self.places.give_up(key),
                ],
            )

        await retry_conflicts(attempt, self.store.runtime)

    @property
    def _configurations(self) -> TargetConfigurations:
        return self.setup.connections.configurations

    async def _create(
        self, principal: Principal, target: TargetKey, new: NewTarget, key: IdempotencyKey | None
    ) -> DescribedTarget:
        async with self._audited(principal, Action.TARGET_CREATE):
            prepared = await self.setup.prepare(target.tenant, new.configuration, new.recovery)
        configuration = prepared.configuration
        try:
            await principal.confirm()  # a probe takes long
            sealed = await self._configurations.seal(target.tenant, target.id, configuration)
            value = Target(
                id=target.id,
                name=new.name,
                epoch=sealed.epoch,
                configuration=sealed.sealed,
                bytes_per_second=new.bytes_per_second,
                created_at=self.store.runtime.now(),
                created_by=principal.user,
            )
            entry = self.journal.entry(
                Action.TARGET_CREATE,
                target.id,
                by=principal,
                details={
                    "kind": configuration.address.kind,
                    "quorum": configuration.quorum,
                    "holders": configuration.holders,
                },
            )
            await self.store.prepare(target)

            async def attempt() -> None:
                await self.journal.commit(
                    entry,
                    [
                        self.store.targets.create(target.partition, value),
                        self.store.statuses.create(target.partition, TargetStatus(id=target.id)),
                        await self.places.keep(target),
                        *self.idempotency.remember(
                            key,
                            new.request(),
                            target.id,
                            target.partition,
                            facts_of(value, prepared),
                        ),
                    ],
                )

            await retry_conflicts(attempt, self.store.runtime)
        except StrongroomError:
            if await self.store.find(target) is None:
                with suppress(StrongroomError):
                    await self.setup.withdraw(target.tenant, configuration)
            raise
        return as_created(value, value.tag, prepared)

    async def _repeated(
        self, principal: Principal, new: NewTarget, outcome: Outcome
    ) -> DescribedTarget:
        """The target as the first request under a key made it, whatever has become of it."""
        if not outcome.facts:  # a release before 0.2 made it
            return await self.read(principal, outcome.made)
        await self.journal.commit(
            self.journal.entry(Action.TARGET_READ, outcome.made, by=principal)
        )
        return from_facts(principal, new, outcome)

    @asynccontextmanager
    async def _audited(
        self, principal: Principal, action: Action, target: str = ""
    ) -> AsyncIterator[None]:
        """Put into the audit log that a target cannot be used, beside what was asked for."""
        try:
            yield
        except (TargetChangedError, TargetUnusableError) as error:
            await self.journal.record_failure(error, action, target, by=principal)
            raise

    async def _apply(
        self,
        target: TargetKey,
        entry: Entry,
        change: Callable[[Target], Target],
        if_match: str | None = None,
        *,
        revive: bool,
    ) -> Stored[Target]:
        """Change a target; ``revive``: and forget its failures, and look at all that waits for it."""

        async def attempt() -> None:
            stored = await self.store.get(target)
            _check_match(stored, if_match)
            changed = self.store.targets.replace(stored, change(stored.value))
            await self.journal.commit(entry, [changed])

        if revive:
            await self.store.prepare(target)
        await retry_conflicts(attempt, self.store.runtime)
        if revive:
            now = self.store.runtime.now()
            await self.store.update_status(target, lambda status: status.revived(now))
        return await self.store.get(target)

    async def _measured(self, tenant: str, stored: Stored[Target]) -> DescribedTarget:
        lags = await self.store.lags(tenant)
        return await self._described(tenant, stored, lags.get(stored.value.id, Lag()))

    async def _described(self, tenant: str, stored: Stored[Target], lag: Lag) -> DescribedTarget:
        return DescribedTarget(
            stored.value,
            stored.value.tag,
            await self._configurations.open(tenant, stored.value),
            await self.store.status(TargetKey(tenant, stored.value.id)),
            lag,
        )

    def _check_rate(self, bytes_per_second: int) -> None:
        if 0 < bytes_per_second < self.least_bytes_per_second:
            raise InvalidInput(
                f"The limit is 0, for none, or at least {self.least_bytes_per_second} bytes per"
                " second: with less, the largest content would not arrive in the time of one copy."
            )


def _check_match(stored: Stored[Target], if_match: str | None) -> None:
    if if_match is not None and if_match != stored.value.tag:
        raise PreconditionFailed("The target was changed since you read it; read it again.")
