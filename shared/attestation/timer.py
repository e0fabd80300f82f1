"""The timer of attestations: several logs side by side, for a while; and what it has got, to be read."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.attestation.models import (
    TIMESTAMP_ID,
    WITNESSED_ID,
    StampedLog,
    stamped_logs,
    witnessed_logs,
)
from shared.attestation.stamps import Stamps
from shared.attestation.witnesses import Witnesses
from shared.audit.checkpoints import Checkpoints
from shared.base.concurrency import at_once
from shared.base.errors import Conflict, NotFound, StrongroomError
from shared.base.partitions import Partition
from shared.journal.agenda import Agenda, AgendaItem, Task, end_of_window
from shared.journal.collections import Stored
from shared.ports.records import RecordStore

TENANTS_AT_ONCE: Final = 8

RUN: Final = timedelta(seconds=40)
"""No log is begun later in a run; those that are left stay on the agenda."""

_SECOND: Final = timedelta(seconds=1)

_log = logging.getLogger("strongroom.audit")


@dataclass(frozen=True, slots=True)
class Attestations:
    """Gets attestations, and gives them out.

    Attributes:
        records: Where they are kept.
        checkpoints: What is attested.
        agenda: Says which logs have grown.
        witnesses: Cosign; None: the operator names none.
        stamps: From an authority; None: the operator names none.
    """

    records: RecordStore
    checkpoints: Checkpoints
    agenda: Agenda
    witnesses: Witnesses | None
    stamps: Stamps | None

    async def run(self) -> None:
        """Ask about the logs that are due. One that fails holds up no other."""
        if self.witnesses is None and self.stamps is None:
            return
        items: dict[str, list[Stored[AgendaItem]]] = {}
        async for item in self.agenda.due(Task.ATTEST_LOG):
            items.setdefault(Partition.parse(item.value.partition).tenant, []).append(item)
        runtime = self.checkpoints.log.runtime
        until = runtime.now() + RUN
        silent: set[str] = set()

        async def attest(tenant: str) -> None:
            if runtime.now() >= until:
                return
            try:
                again = await self._take(tenant, silent)
                if again is not None:
                    # In whole seconds, as items are named: one that is about to be taken off is another.
                    due = end_of_window(max(again, runtime.now()), _SECOND)
                    await self.agenda.add(Task.ATTEST_LOG, Partition(tenant), due)
                await self.agenda.remove(Task.ATTEST_LOG, items[tenant])
            except StrongroomError as error:  # it stays on the agenda
                _log.error("audit.attestation-failed of the log of %s: %s", tenant, error.slug)

        await at_once(attest, items, TENANTS_AT_ONCE)

    async def witnessed(self, tenant: str) -> bytes:
        """The newest checkpoint of a log that a quorum of witnesses has cosigned.

        Raises:
            NotFound: There is none.
        """
        found = await witnessed_logs(self.records).find(Partition(tenant), WITNESSED_ID)
        if found is None or not found.value.note:
            raise NotFound("No checkpoint of the log has been cosigned by a quorum of witnesses.")
        return found.value.note.encode()

    async def stamped(self, tenant: str) -> StampedLog:
        """The newest time stamp of a log, and the checkpoint that it is of.

        Raises:
            NotFound: There is none.
        """
        found = await stamped_logs(self.records).find(Partition(tenant), TIMESTAMP_ID)
        if found is None or not found.value.note:
            raise NotFound("No checkpoint of the log has a time stamp.")
        return found.value

    async def _take(self, tenant: str, silent: set[str]) -> datetime | None:
        newest = await self.checkpoints.newest(tenant)
        if newest is None:
            return None
        times = []
        for each in (self.witnesses, self.stamps):
            try:
                if each is not None:
                    times.append(await each.take(tenant, newest, silent))
            except Conflict:
                times.append(self.checkpoints.log.runtime.now())  # another process has asked
        return min((time for time in times if time is not None), default=None)


@dataclass(frozen=True, slots=True)
class AttestationAgenda:
    """Puts logs on the agenda before they get a checkpoint, where someone is to state something of it.

    Attributes:
        agenda: The agenda.
        is_asked: Whether the operator names witnesses or an authority.
    """

    agenda: Agenda
    is_asked: bool

    async def announce(self, tenant: str) -> None:
        """Before a log gets a checkpoint."""
        if self.is_asked:
            await self.agenda.announce(Task.ATTEST_LOG, Partition(tenant))
