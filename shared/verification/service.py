"""Verification: everything that the backups hold is read and checked, over a time that policy names.

A walk looks at all sets, at each version in the backup, in the primary and in the replica store, and at the
key pages. A new one begins when half of the policy's time has passed since the last one began, so that one
that takes as long still looks at each object in time. Anyone who may can have all sets, or one, verified
at once. The timer works on all that are under way, a piece of each in turn, and puts off what it does not
get done in one run to the next.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from shared.access.principal import Principal
from shared.backup.retention import look_due
from shared.base import telemetry
from shared.base.errors import Conflict, NotFound, StrongroomError
from shared.base.partitions import Partition
from shared.journal.agenda import Agenda, AgendaItem, Task
from shared.journal.collections import Collection, Stored
from shared.journal.entries import Action
from shared.journal.idempotency import Idempotency, IdempotencyKey
from shared.journal.journal import Journal
from shared.policy.service import Policies
from shared.ports.clock import Runtime
from shared.verification.findings import (
    BY_TIMER,
    RUNNING,
    Verification,
    verifications_of,
)
from shared.verification.recording import VerificationRecord
from shared.verification.walking import Walk, WalkTools

RUN_SECONDS: Final = 240.0
RUN_BYTES: Final = 32 << 30
"""What one run of the timer does; the piece that it has begun is always finished."""

_log = logging.getLogger("strongroom.backup")


@dataclass(slots=True)
class Verifications:
    """Verifies the backups of tenants.

    Attributes:
        journal: Commits the start of each with its audit entry.
        agenda: Knows which tenants are to be looked at.
        policies: Say within which time everything is read.
        idempotency: Remembers requests.
        tools: Check and repair.
        runtime: Time.
    """

    journal: Journal
    agenda: Agenda
    policies: Policies
    idempotency: Idempotency
    tools: WalkTools
    runtime: Runtime
    _verifications: Collection[Verification] = field(init=False)

    def __post_init__(self) -> None:
        self._verifications = verifications_of(self.tools.contents.store.records)

    async def start(
        self, principal: Principal, set: str | None, key: IdempotencyKey | None = None
    ) -> Verification:
        """Have the backups of the caller's tenant verified; the timer begins soon.

        A repeated request returns the verification as it was when it began.

        Args:
            principal: Who asks.
            set: The only set to verify; None: all, and the primary and the replica store too.
            key: Of the request.

        Raises:
            Conflict: One that somebody asked for is running.
            IdempotencyKeyReused: The key belongs to a different request.
            NotFound: There is no such set, or none at all.
        """
        partition, request = Partition(principal.tenant), {"set": set}
        made = await self.idempotency.replayed(key, request, partition)
        if made is not None:
            first = await self.read(principal, made)
            return Verification(
                id=first.id, set=first.set, origin=first.origin, started_at=first.started_at
            )
        sets = await self.tools.sets.reader.sets(principal.tenant)
        if not sets or (set is not None and set not in sets):
            raise NotFound("There is no such backup set in your tenant.")
        async for stored in self._verifications.scan(partition, where=RUNNING):
            if stored.value.origin == "request":
                raise Conflict("A verification is running; wait until it is done.")
        now = self.runtime.now()
        value = Verification(
            id=self.runtime.new_id("ver", now), set=set, origin="request", started_at=now
        )
        entry = self.journal.entry(
            Action.BACKUP_VERIFICATION_CREATE, value.id, by=principal, details={"set": set or ""}
        )
        await self.agenda.announce(Task.VERIFY_BACKUP, partition)
        await self.journal.commit(
            entry,
            [
                self._verifications.create(partition, value),
                *self.idempotency.remember(key, request, value.id, partition),
            ],
        )
        return value

    async def read(self, principal: Principal, id: str) -> Verification:
        """A verification of the caller's tenant.

        Raises:
            NotFound: There is none of this id.
        """
        found = await self._verifications.get(Partition(principal.tenant), id)
        await self.journal.commit(
            self.journal.entry(Action.BACKUP_VERIFICATION_READ, id, by=principal)
        )
        return found.value

    async def run(self, *, seconds: float = RUN_SECONDS, max_bytes: int = RUN_BYTES) -> int:
        """Work on the verifications that are under way or due; return how many ended.

        A tenant for which something fails stays on the agenda, and the next run goes on there.

        Args:
            seconds: No piece is begun later than that.
            max_bytes: No piece is begun once so much was read.
        """
        until = self.runtime.now() + timedelta(seconds=seconds)
        items: defaultdict[str, list[Stored[AgendaItem]]] = defaultdict(list)
        async for item in self.agenda.due(Task.VERIFY_BACKUP):
            items[Partition.parse(item.value.partition).tenant].append(item)
        waiting: deque[Walk] = deque()
        left: defaultdict[str, int] = defaultdict(int)
        for tenant in items:
            walks = await self._walks_of(tenant)
            waiting.extend(walks or ())
            left[tenant] = 1 if walks is None else len(walks)
        read = ended = 0
        while waiting and read < max_bytes and self.runtime.now() < until:
            walk = waiting.popleft()
            before = walk.read
            more = await self._step(walk)
            read += walk.read - before
            if more:
                waiting.append(walk)
            elif more is not None:
                ended += 1
                left[walk.tenant] -= 1
        for tenant, theirs in items.items():
            if left[tenant] == 0:
                due = look_due(tenant, self.runtime.now())
                await self.agenda.add(Task.VERIFY_BACKUP, Partition(tenant), due)
                await self.agenda.remove(Task.VERIFY_BACKUP, theirs)
        return ended

    async def _step(self, walk: Walk) -> bool | None:
        """Do one piece; whether there are more. None: not in this run."""
        try:
            return await walk.step()
        except Conflict:
            _log.info("backup.under-way %s, verification", walk.tenant)
        except StrongroomError as error:
            _log.error("backup.failed %s, verification: %s", walk.tenant, error.slug)
            telemetry.BACKUP_FAILURES.add(1)
        return None

    async def _walks_of(self, tenant: str) -> list[Walk] | None:
        """The verifications of a tenant that are under way or due; None: that could not be found out."""
        try:
            partition = Partition(tenant)
            running = [one async for one in self._verifications.scan(partition, where=RUNNING)]
            if not any(one.value.origin == "timer" for one in running):
                running += await self._begin_due(partition)
        except Conflict:
            return None
        except StrongroomError as error:
            _log.error("backup.failed %s, verification: %s", tenant, error.slug)
            telemetry.BACKUP_FAILURES.add(1)
            return None
        # What somebody waits for comes first.
        running.sort(key=lambda one: one.value.origin)
        return [
            Walk(
                self.tools,
                VerificationRecord(self.journal, self.runtime, self._verifications, one),
            )
            for one in running
        ]

    async def _begin_due(self, partition: Partition) -> list[Stored[Verification]]:
        """Begin the tenant's next verification if it is due."""
        now = self.runtime.now()
        page = await self._verifications.page(
            partition, where=BY_TIMER, order="descending", limit=1
        )
        policy = await self.policies.of(partition.tenant)
        every = timedelta(days=policy.verification_days) / 2
        if any(one.value.started_at + every > now for one in page.items):
            return []
        if (await self.tools.contents.newest.state(partition.tenant)).last is None:
            return []
        value = Verification(
            id=self.runtime.new_id("ver", now), set=None, origin="timer", started_at=now
        )
        await self._verifications.records.commit(
            partition, [self._verifications.create(partition, value)]
        )
        return [await self._verifications.get(partition, value.id)]
