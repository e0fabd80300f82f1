"""The audit log of each tenant: entries get a position and a place in a Merkle tree, in order.

An entry is durable from the commit that made it, in the partition of what it is about, where it waits.
The audit function moves what waits into the log's index, with its position. The index lies in parts of
``PART_ENTRIES`` entries, so that no partition grows without bound. Moving takes two commits: the first
appends to the log and notes in the part's head what it appended; the second removes it from where it
waited. The next append completes an interrupted second commit before it looks at what waits, so
appending twice, late or out of order changes nothing. Before the first commit, the events that wait with
the entries are published: nothing else keeps them. ``shared.audit.checkpoints`` puts what was appended into
tiles and signs it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from shared.audit.index import (
    HEAD_ID,
    POINTER_ID,
    log_checkpoints,
    log_heads,
    log_index,
    log_part,
    log_pointers,
    logged_record,
    newest_log_part,
)
from shared.audit.models import CHECKPOINT_ID, LoggedEntry, LogPointer, PartHead, TreeHead
from shared.audit.recovery import LogRecovery
from shared.audit.sealing import EntrySealer
from shared.audit.tree import tree_head
from shared.base.concurrency import at_once
from shared.base.errors import Conflict, Damaged
from shared.base.models import JsonObject
from shared.base.partitions import OPERATOR, Partition, partition_of
from shared.crypto import merkle
from shared.crypto.canonical import canonical_json
from shared.journal.agenda import Agenda, Task
from shared.journal.collections import Collection, Stored, remove_all
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Entry
from shared.journal.journal import Journal
from shared.journal.waiting import ENTRY_KIND, WaitingEntry, entries_waiting, read_waiting
from shared.ports.clock import Runtime
from shared.ports.records import MAX_CHANGES, Change, Create, Delete, RecordStore

PART_ENTRIES: Final = 1 << 18
"""Entries of one part of a log: a power of two, so that parts end where subtrees of the tree end."""

BATCH: Final = MAX_CHANGES - 1
"""Entries of one commit, next to the head."""

LOOKED_UP_AT_ONCE: Final = 16

TAKEN_UP: Final = 100_000
"""Tenants and appends that a process remembers."""

EMPTY: Final = TreeHead(size=0, root=merkle.EMPTY_ROOT.hex(), frontier=())

_log = logging.getLogger("strongroom.audit")


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of a log that is being appended to; ``stored`` is None before its first entry."""

    number: int
    head: PartHead
    stored: Stored[PartHead] | None


@dataclass(slots=True)
class AuditLog:
    """Appends to the audit logs.

    Attributes:
        records: Where entries wait and logs have their index.
        agenda: Where each log that has grown is put, for its checkpoint.
        sealer: Seals the personal data of entries.
        journal: Copies entries into another log.
        runtime: Waits between attempts where several processes append to one log.
        index_days: How long the index keeps an entry; the tiles keep it longer.
        checkpoint_seconds: What is appended in a time window of this length gets one checkpoint.
        recovery: Completes a log from its tiles before the first append; None: there are no tiles.
        part_entries: Entries of one part; the same in every process and release.
    """

    records: RecordStore
    agenda: Agenda
    sealer: EntrySealer
    journal: Journal
    runtime: Runtime
    index_days: int
    checkpoint_seconds: int
    recovery: LogRecovery | None = None
    part_entries: int = PART_ENTRIES
    _waiting: Collection[WaitingEntry] = field(init=False)
    _logged: Collection[LoggedEntry] = field(init=False)
    _heads: Collection[PartHead] = field(init=False)
    _pointers: Collection[LogPointer] = field(init=False)
    _taken_up: set[str] = field(init=False, default_factory=set)
    _removed: set[tuple[str, str]] = field(init=False, default_factory=set)
    _parts: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._waiting = entries_waiting(self.records)
        self._logged = log_index(self.records)
        self._heads = log_heads(self.records)
        self._pointers = log_pointers(self.records)

    async def append_pending(self, partition: Partition) -> int:
        """Append the entries that wait in a partition to its tenant's log; return how many there were.

        Raises:
            Damaged: The log's head does not agree with itself; nothing is appended to it.
            Unavailable: Others were appending to the same log all the time; try again.
        """
        appended, more = 0, True
        while more:
            # What comes meanwhile has events of its own: nobody is to be held up by others' haste.
            moved, more = await retry_conflicts(lambda: self._move(partition), self.runtime)
            appended += moved
        return appended

    async def head(self, tenant: str) -> TreeHead:
        """The log's present size and root."""
        return (await self._current_part(tenant)).head.tree

    async def append_again(self, tenant: str, entries: Sequence[JsonObject]) -> None:
        """Append entries that the tiles have and the index has lost, in their order.

        Raises:
            Conflict: The log has grown since.
            Damaged: As for ``append_pending``.
        """
        main = Partition(tenant)
        while entries:
            part = await self._current_part(tenant)
            count = min(BATCH, self.part_entries - part.head.tree.size % self.part_entries)
            # Before they are appended: who is killed in between gives them back again, as the tiles have
            # them; afterwards nobody would know of those that wait.
            await self._let_wait_no_more(tenant, entries[:count])
            await self._append(main, part, entries[:count], waited=False)
            entries = entries[count:]

    async def _let_wait_no_more(self, tenant: str, entries: Sequence[JsonObject]) -> None:
        """Of entries that the tiles have: where records were restored they may wait as well."""
        by_partition: dict[Partition, list[str]] = {}
        for entry in entries:
            for partition in {Partition(tenant), partition_of(tenant, entry["resource"])}:
                by_partition.setdefault(partition, []).append(entry["id"])
        for partition, ids in by_partition.items():
            scan = self._waiting.scan(
                partition, first=min(ids), before=f"{max(ids)}~", tolerant=True
            )
            waiting = [each.value async for each in scan if each.record.id in ids]
            if waiting:
                # Their effects may have been lost with the records.
                await self.journal.ensure_published(
                    partition, [event for each in waiting for event in each.events]
                )
                deletes = [Delete(ENTRY_KIND, each.entry.id) for each in waiting]
                await remove_all(self.records, partition, deletes)

    async def _take_up(self, tenant: str) -> None:
        """Before this process appends to a log for the first time, make sure that the index has it all."""
        if self.recovery is None or tenant in self._taken_up:
            return
        checkpoints = log_checkpoints(self.records)
        if await checkpoints.find(Partition(tenant), CHECKPOINT_ID) is None:
            await self.recovery.complete(self, tenant)
        if len(self._taken_up) >= TAKEN_UP:
            self._taken_up.clear()
        self._taken_up.add(tenant)

    async def _move(self, partition: Partition) -> tuple[int, bool]:
        """Move one batch; return how many entries that was, and whether there were more."""
        await self._take_up(partition.tenant)
        part = await self._current_part(partition.tenant)
        await self._complete(part.head)
        # Not as models: an entry is the bytes that were committed, and thousands come a second.
        waiting = await self.records.query(partition, ENTRY_KIND, limit=BATCH)
        found = [read_waiting(record) for record in waiting.records]
        await self.journal.ensure_published(
            partition, [event for each in found for event in each.events]
        )
        entries: Sequence[JsonObject] = [each.entry for each in found]
        # A part takes its last entry before the next one begins.
        entries = entries[: self.part_entries - part.head.tree.size % self.part_entries]
        more = waiting.cursor is not None or len(entries) < len(waiting.records)
        if part.stored is None and part.number > 0:
            entries = await self._without_logged(partition, part.number, entries)
        if not entries:
            return 0, more
        within = timedelta(seconds=self.checkpoint_seconds)
        await self.agenda.announce(Task.CHECKPOINT, Partition(partition.tenant), within)
        # Before they are appended: whatever is killed when, no entry is in one of the two logs alone.
        for entry in entries:
            await self._copy(entry)
        sealed = await self.sealer.seal(partition.tenant, entries)
        try:
            head = await self._append(partition, part, sealed)
        except Conflict:
            await self._without_logged(partition, part.number, entries)
            raise
        await self._remove_appended(head)
        return len(entries), more

    async def _copy(self, entry: JsonObject) -> None:
        """What is about a staff grant is in the tenant's log and in the operator's."""
        if not entry.get("grant") or entry.get("source"):
            return
        to = entry["details"]["tenant"] if entry["tenant"] == OPERATOR else OPERATOR
        await self.journal.copy(Entry.model_validate(entry), to)

    async def _append(
        self,
        source: Partition,
        part: _Part,
        entries: Sequence[JsonObject],
        *,
        waited: bool = True,
    ) -> PartHead:
        tree = part.head.tree
        frontier = tuple(bytes.fromhex(node) for node in tree.frontier)
        if merkle.root(frontier).hex() != tree.root:
            # The operators' alert looks for this line.
            _log.error("audit.difference in the log of %s at size %d", source.tenant, tree.size)
            raise Damaged("The audit log's head does not agree with itself.")
        into = log_part(source.tenant, part.number)
        changes: list[Change] = []
        until = self.runtime.now() + timedelta(days=self.index_days)
        for position, entry in enumerate(entries, start=tree.size):
            leaf = merkle.leaf_hash(canonical_json(entry))
            frontier = merkle.append(frontier, position, leaf)
            changes.append(Create(logged_record(into, entry, position, until)))
        head = PartHead(
            tree=tree_head(tree.size + len(entries), frontier),
            source=str(source) if waited else "",
            appended=tuple(entry["id"] for entry in entries) if waited else (),
        )
        if part.stored is None:
            await self._point_at(source.tenant, part.number)
            changes.append(self._heads.create(into, head))
        else:
            changes.append(self._heads.replace(part.stored, head))
        await self.records.commit(into, changes)
        return head

    async def _without_logged(
        self, partition: Partition, number: int, entries: Sequence[JsonObject]
    ) -> Sequence[JsonObject]:
        """Entries that are not in the log yet; those that are wait no more.

        An entry is there, and waits, where the second commit of its append did not go through, or where
        records were restored and the tiles have given it back to the index.
        """
        parts = [log_part(partition.tenant, each) for each in (number, number - 1) if each >= 0]

        async def is_logged(entry: JsonObject) -> bool:
            return any([await self._logged.find(part, entry["id"]) is not None for part in parts])

        found = await at_once(is_logged, entries, LOOKED_UP_AT_ONCE)
        twice = [entry for entry, logged in zip(entries, found, strict=True) if logged]
        if twice:
            deletes = [Delete(ENTRY_KIND, entry["id"]) for entry in twice]
            await remove_all(self.records, partition, deletes)
        return [entry for entry, logged in zip(entries, found, strict=True) if not logged]

    async def _complete(self, head: PartHead) -> None:
        """Remove what was appended last from where it waited, unless that was done."""
        if not head.appended or (head.source, head.appended[0]) in self._removed:
            return
        source = Partition.parse(head.source)
        # They were removed in one commit, so one of them speaks for all.
        if await self._waiting.find(source, head.appended[0]) is not None:
            await self._remove_appended(head)

    async def _remove_appended(self, head: PartHead) -> None:
        with suppress(Conflict):  # another process was first
            await self.records.commit(
                Partition.parse(head.source),
                [Delete(ENTRY_KIND, entry) for entry in head.appended],
            )
        if len(self._removed) >= TAKEN_UP:
            self._removed.clear()
        self._removed.add((head.source, head.appended[0]))

    async def _current_part(self, tenant: str) -> _Part:
        known = self._parts.get(tenant)
        if known is not None:
            stored = await self._heads.find(log_part(tenant, known), HEAD_ID)
            if stored is not None and stored.value.tree.size < (known + 1) * self.part_entries:
                return _Part(known, stored.value, stored)
        number = await newest_log_part(self.records, tenant)
        stored = await self._heads.find(log_part(tenant, number), HEAD_ID)
        if stored is None:
            # The pointer goes ahead of the part's first entry.
            before = (
                await self._heads.find(log_part(tenant, number - 1), HEAD_ID) if number else None
            )
            return _Part(number, before.value if before else PartHead(tree=EMPTY), None)
        if stored.value.tree.size == (number + 1) * self.part_entries:
            return _Part(number + 1, stored.value, None)
        if len(self._parts) >= TAKEN_UP:
            self._parts.clear()
        self._parts[tenant] = number
        return _Part(number, stored.value, stored)

    async def _point_at(self, tenant: str, number: int) -> None:
        partition = Partition(tenant)
        found = await self._pointers.find(partition, POINTER_ID)
        if found is not None and found.value.part >= number:
            return
        pointer = LogPointer(part=number)
        change = self._pointers.put(partition, found, pointer)
        await self.records.commit(partition, [change])
