"""The timer that says in the audit logs which grants and requests are over."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from shared.base.errors import Conflict, StrongroomError
from shared.base.partitions import Partition
from shared.grants.deciding import GrantDecisions
from shared.grants.models import State
from shared.journal.agenda import Agenda, AgendaItem, Task
from shared.journal.collections import Stored

_log = logging.getLogger("strongroom.grants")


@dataclass(frozen=True, slots=True)
class GrantTimer:
    """Ends grants whose time is over. They let do nothing from then on, whether this runs or not.

    Attributes:
        decisions: Writes down that one is over.
        agenda: Says in which months some are over.
    """

    decisions: GrantDecisions
    agenda: Agenda

    async def run(self) -> None:
        """Look through the months that are due. One that fails is looked at again."""
        items: dict[str, list[Stored[AgendaItem]]] = {}
        async for item in self.agenda.due(Task.END_GRANTS):
            items.setdefault(item.value.partition, []).append(item)
        for partition, due in items.items():
            try:
                await self._look_through(Partition.parse(partition))
            except StrongroomError as error:
                _log.error("grants.expiry-failed in %s: %s", partition, error.slug)
            else:
                await self.agenda.remove(Task.END_GRANTS, due)

    async def _look_through(self, partition: Partition) -> None:
        store, now = self.decisions.grants.store, self.decisions.runtime.now()
        found = [stored async for stored in store.grants.scan(partition, where={"open": "yes"})]
        for stored in found:
            if stored.value.state(now) is State.EXPIRED and now >= stored.value.over_at:
                try:
                    await self.decisions.expire(stored)
                except Conflict:
                    continue  # it has just ended otherwise
