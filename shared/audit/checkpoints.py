"""Checkpoints: a timer puts what was appended to the logs into tiles, and signs each log's size and root.

A log's index is its only line of appends, and tiles and checkpoints follow from it: two processes that
publish at once write the same tiles, and whatever is killed when, no two checkpoints disagree.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from shared.audit.index import index_of, log_checkpoints, log_index, parts_of
from shared.audit.integration import Integration
from shared.audit.log import EMPTY, AuditLog
from shared.audit.models import CHECKPOINT_ID, LogCheckpoint, TreeHead
from shared.audit.recovery import LogRecovery
from shared.audit.signing import CheckpointKeys
from shared.audit.storage import LogStore
from shared.base.concurrency import at_once
from shared.base.errors import Damaged, StrongroomError
from shared.base.partitions import Partition
from shared.base.telemetry import record_checkpoint_age
from shared.crypto.checkpoints import Checkpoint
from shared.crypto.notes import Note
from shared.journal.agenda import Agenda, AgendaItem, Task, end_of_window
from shared.journal.collections import Collection, Stored
from shared.journal.contention import retry_conflicts
from shared.ports.records import MAX_CHANGES, Change, RecordStore, Replace

TENANTS_AT_ONCE: Final = 8

MONITORED_WITHIN: Final = timedelta(hours=1)
"""The monitor looks once at all that happened in a time window of this length."""

Announce = Callable[[str], Awaitable[None]]
"""Told whose log is about to get a checkpoint."""


async def nobody_waits(_tenant: str) -> None:
    """An ``Announce`` where nobody follows the logs."""


_log = logging.getLogger("strongroom.audit")


@dataclass(slots=True)
class Checkpoints:
    """Publishes checkpoints.

    Attributes:
        records: Where the newest one of each log is.
        log: The logs.
        store: Where tiles and checkpoints are.
        keys: Sign.
        recovery: Completes the index from the tiles.
        agenda: Says which logs have grown.
        announce: Told before each checkpoint, so that what follows the log is looked at after it.
    """

    records: RecordStore
    log: AuditLog
    store: LogStore
    keys: CheckpointKeys
    recovery: LogRecovery
    agenda: Agenda
    announce: Announce = nobody_waits
    integration: Integration = field(init=False)
    _checkpoints: Collection[LogCheckpoint] = field(init=False)

    def __post_init__(self) -> None:
        self.integration = Integration(self.records, self.store, self.log.part_entries)
        self._checkpoints = log_checkpoints(self.records)

    async def run(self) -> None:
        """Publish the checkpoints that are due. One log that fails holds up no other."""
        items: dict[str, list[Stored[AgendaItem]]] = {}
        async for item in self.agenda.due(Task.CHECKPOINT):
            items.setdefault(Partition.parse(item.value.partition).tenant, []).append(item)

        late: list[datetime] = []

        async def publish(tenant: str) -> None:
            try:
                await self.publish(tenant)
            except StrongroomError as error:
                _log.error("audit.checkpoint-failed in the log of %s: %s", tenant, error.slug)
                late.extend(item.value.due for item in items[tenant])  # they stay on the agenda
            else:
                await self.agenda.remove(Task.CHECKPOINT, items[tenant])

        await at_once(publish, items, TENANTS_AT_ONCE)
        now = self.log.runtime.now()
        record_checkpoint_age((now - min(late, default=now)).total_seconds())

    async def newest(self, tenant: str) -> LogCheckpoint | None:
        """The newest checkpoint of a log; None before its first."""
        found = await self._checkpoints.find(Partition(tenant), CHECKPOINT_ID)
        return found.value if found else None

    async def publish(self, tenant: str) -> None:
        """Put what a log's index has appended into tiles, and sign the tree, if it has grown.

        Raises:
            Damaged: Index, tiles and checkpoints do not agree; nothing is signed.
            Unavailable: A store or the key vault does not respond.
        """
        await retry_conflicts(lambda: self._publish(tenant), self.log.runtime)

    async def _publish(self, tenant: str) -> None:
        stored = await self._checkpoints.find(Partition(tenant), CHECKPOINT_ID)
        if stored is None:
            before = await self._first(tenant)
        else:
            before = stored.value.tree
        head = await self.log.head(tenant)
        if head.size < before.size:
            raise Damaged("The index of the audit log is behind its checkpoint.")
        if stored is not None and head.size == before.size:
            return
        due = end_of_window(self.log.runtime.now(), MONITORED_WITHIN)
        await self.agenda.add(Task.MONITOR_LOG, Partition(tenant), due)
        await self.integration.grow(tenant, before, head)
        if head.size:
            await self._sign(tenant, head, stored)

    async def _sign(
        self, tenant: str, tree: TreeHead, stored: Stored[LogCheckpoint] | None
    ) -> None:
        origin = await self.keys.origin(tenant)
        text = Checkpoint(origin, tree.size, bytes.fromhex(tree.root)).encode()
        note = Note(text, tuple(await self.keys.sign(origin, text))).encode()
        # Before it is published: then whoever has seen it can find it here.
        note = await self.store.write_checkpoint(tenant, tree.size, note)
        checkpoint = LogCheckpoint(tree=tree, note=note.decode(), signed_at=self.log.runtime.now())
        partition = Partition(tenant)
        await self.announce(tenant)
        await self.records.commit(
            partition,
            [self._checkpoints.put(partition, stored, checkpoint)],
        )

    async def _first(self, tenant: str) -> TreeHead:
        """The tree in the tiles of a log of which the records know no checkpoint."""
        known = await self.recovery.complete(self.log, tenant)
        if known is None:
            await self._index_anew(tenant)
        else:
            await self.integration.restore_spans(tenant, known.size)
        return known or EMPTY

    async def _index_anew(self, tenant: str) -> None:
        """Give what a release before tiles has appended the fields by which it can be found."""
        logged = log_index(self.records)
        size = (await self.log.head(tenant)).size
        for part in parts_of(tenant, 0, size, self.log.part_entries):
            changes: list[Change] = []
            async for stored in logged.scan(part):
                if stored.record.index != (
                    index := index_of(stored.record.body["entry"], stored.value.position)
                ):
                    changes.append(Replace(replace(stored.record, index=index)))
                if len(changes) == MAX_CHANGES:
                    await self.records.commit(part, changes)
                    changes = []
            if changes:
                await self.records.commit(part, changes)
