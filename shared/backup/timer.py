"""The timer of backups: makes the sets that are due, and prunes."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.backup.models import Manifest
from shared.backup.pruning import Pruning
from shared.backup.retention import look_due, next_due
from shared.backup.sets import BackupSets
from shared.backup.state import BackupState, states_of
from shared.base import telemetry
from shared.base.errors import Conflict, StrongroomError
from shared.base.partitions import OPERATOR, Partition
from shared.identity.models import Tenant
from shared.identity.tenants import DIRECTORY, TENANT_KIND
from shared.journal.agenda import Agenda, AgendaItem, Task, end_of_window
from shared.journal.collections import Collection, Stored
from shared.keys.tenants import TenantKeys
from shared.ports.clock import Runtime

TENANTS_AT_ONCE: Final = 4

LATE: Final = timedelta(minutes=15)
"""A change that is in no set for so long is late; the operators' alert has the same limit."""

PRUNE_WINDOW: Final = timedelta(days=1)
"""Sets that expire in the same window are removed together."""

FIRST_DRILL: Final = timedelta(days=1)
"""After a tenant's first set; from then on the drills put themselves on the agenda."""

_log = logging.getLogger("strongroom.backup")


@dataclass(slots=True)
class BackupTimer:
    """Makes sets and prunes, as far as the agenda says.

    Attributes:
        agenda: Knows which partitions changed, and which tenants are due.
        sets: Makes sets.
        pruning: Removes what no set needs.
        keys: Makes the operator's own key.
        mirror_keys: Puts a copy of the key vault beside the sets, where it is files.
        runtime: Time.
    """

    agenda: Agenda
    sets: BackupSets
    pruning: Pruning
    keys: TenantKeys
    mirror_keys: Callable[[], Awaitable[None]]
    runtime: Runtime
    _states: Collection[BackupState] = field(init=False)
    _tenants: Collection[Tenant] = field(init=False)
    _waiting: list[datetime] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        records = self.sets.parts.records
        self._states = states_of(records)
        self._tenants = Collection(records, Tenant, TENANT_KIND)

    async def run(self) -> int:
        """Make the sets that are due and prune; return how many sets were made.

        A tenant for which something fails stays on the agenda.
        """
        await self._begin()
        by_tenant: defaultdict[str, list[Stored[AgendaItem]]] = defaultdict(list)
        async for item in self.agenda.due(Task.BACK_UP):
            by_tenant[Partition.parse(item.value.partition).tenant].append(item)
        places = asyncio.Semaphore(TENANTS_AT_ONCE)

        async def back_up(tenant: str, items: list[Stored[AgendaItem]]) -> bool:
            async with places:
                return await self._back_up(tenant, items)

        if by_tenant:
            await self.mirror_keys()
        self._waiting.clear()
        made = await asyncio.gather(*(back_up(*each) for each in by_tenant.items()))
        now = self.runtime.now()
        ages = ((now - changed).total_seconds() for changed in self._waiting)
        # Each run says it: of a timer that does not run, the operators hear by the silence.
        telemetry.BACKUP_AGE.set(max(ages, default=0.0))
        await self._prune()
        return sum(made)

    async def _begin(self) -> None:
        """Once: put every tenant on the agenda that was there before, and make the operator's key."""
        if await self._states.find(Partition(OPERATOR), BackupState().id) is not None:
            return
        now = self.runtime.now()
        await self.keys.create(OPERATOR, now)
        async for stored in self._tenants.scan(DIRECTORY):
            await self.agenda.add(Task.BACK_UP, Partition(stored.value.id), now)
        await self.agenda.add(Task.BACK_UP, Partition(OPERATOR), now)

    async def _back_up(self, tenant: str, items: list[Stored[AgendaItem]]) -> bool:
        oldest = min(item.value.due for item in items)
        try:
            changed = {Partition.parse(item.value.partition).part for item in items}
            manifest = await self.sets.make(tenant, changed)
        except StrongroomError as error:
            if isinstance(error, Conflict):
                _log.info("backup.under-way %s", tenant)
            else:
                _log.error("backup.failed %s: %s", tenant, error.slug)
                telemetry.BACKUP_FAILURES.add(1)
            self._waiting.append(oldest)
            if self.runtime.now() - oldest > LATE:
                _log.error("backup.late %s, changed at %s", tenant, oldest.isoformat())
            return False
        if manifest is not None:
            await self._plan(manifest)
        await self.agenda.remove(Task.BACK_UP, items)
        return manifest is not None

    async def _plan(self, manifest: Manifest) -> None:
        """Put the tenant on the agenda for the set that is made in any case, and for what follows it."""
        partition = Partition(manifest.tenant)
        due = next_due(manifest.kind, manifest.made_at)
        await self.agenda.add(Task.BACK_UP, partition, due)
        pruned = end_of_window(manifest.retain_until, PRUNE_WINDOW)
        await self.agenda.add(Task.PRUNE_BACKUPS, partition, pruned)
        if manifest.sequence == 1:
            await self.agenda.add(Task.DRILL, partition, manifest.made_at + FIRST_DRILL)
        look = look_due(manifest.tenant, manifest.made_at)
        await self.agenda.add(Task.VERIFY_BACKUP, partition, look)

    async def _prune(self) -> None:
        async for item in self.agenda.due(Task.PRUNE_BACKUPS):
            tenant = Partition.parse(item.value.partition).tenant
            try:
                await self.pruning.prune(tenant)
            except StrongroomError as error:
                _log.error("backup.failed %s, pruning: %s", tenant, error.slug)
                telemetry.BACKUP_FAILURES.add(1)
                continue
            await self.agenda.remove(Task.PRUNE_BACKUPS, [item])
