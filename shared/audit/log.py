"""The audit log of each tenant: entries get a position and a place in a Merkle tree, in order.

An entry is durable from the commit that made it, in the partition of what it is about, where it waits.
The audit function moves what waits into the log. The log lies in parts of ``PART_ENTRIES`` entries, so
that no partition grows without bound. Moving takes two commits: the first appends to the log and notes in
the part's head what it appended; the second removes it from where it waited. The next append
completes an interrupted second commit before it looks at what waits, so appending twice, late or out of
order changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from shared.access.principal import Principal
from shared.audit.models import LoggedEntry, LogPointer, PartHead, TreeHead
from shared.base.errors import Conflict, Damaged
from shared.base.ids import PREFIXES, is_id
from shared.base.listing import Listing
from shared.base.partitions import Partition
from shared.crypto import merkle
from shared.journal.collections import Collection, Stored, page_across
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Action, Entry, canonical
from shared.journal.journal import ENTRY_KIND, Journal, entries_waiting
from shared.ports.clock import Runtime
from shared.ports.records import MAX_CHANGES, Change, Delete, RecordStore

LOGGED_KIND: Final = "audit-logged"
HEAD_KIND: Final = "audit-head"
HEAD_ID: Final = "head"
POINTER_KIND: Final = "audit-log"
POINTER_ID: Final = "log"

PART_ENTRIES: Final = 1 << 18
"""Entries of one part of a log: a power of two, so that parts end where subtrees of the tree end."""

BATCH: Final = MAX_CHANGES - 1
"""Entries of one commit, next to the head."""

EMPTY: Final = TreeHead(size=0, root=merkle.EMPTY_ROOT.hex(), frontier=())

_log = logging.getLogger("strongroom.audit")


@dataclass(frozen=True, slots=True)
class LogPage(Listing[LoggedEntry]):
    """A page of the log, and the head of its tree."""

    head: TreeHead


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of a log that is being appended to; ``stored`` is None before its first entry."""

    number: int
    head: PartHead
    stored: Stored[PartHead] | None


@dataclass(slots=True)
class AuditLog:
    """Appends to and reads the audit logs.

    Attributes:
        records: Where entries wait and logs are kept.
        journal: Makes the entries about reading the log itself.
        runtime: Waits between attempts where several processes append to one log.
        part_entries: Entries of one part; the same in every process and release.
    """

    records: RecordStore
    journal: Journal
    runtime: Runtime
    part_entries: int = PART_ENTRIES
    _waiting: Collection[Entry] = field(init=False)
    _logged: Collection[LoggedEntry] = field(init=False)
    _heads: Collection[PartHead] = field(init=False)
    _pointers: Collection[LogPointer] = field(init=False)

    def __post_init__(self) -> None:
        self._waiting = entries_waiting(self.records)
        self._logged = Collection(
            self.records,
            LoggedEntry,
            LOGGED_KIND,
            lambda logged: logged.entry.id,
            index_of=lambda logged: (
                {"resource": logged.entry.resource} if logged.entry.resource else {}
            ),
        )
        self._heads = Collection(self.records, PartHead, HEAD_KIND, lambda _: HEAD_ID)
        self._pointers = log_pointers(self.records)

    async def append_pending(self, partition: Partition) -> int:
        """Append every entry that waits in a partition to its tenant's log; return how many there were.

        Raises:
            Damaged: The log's head does not agree with itself; nothing is appended to it.
            Unavailable: Others were appending to the same log all the time; try again.
        """
        appended = 0
        while moved := await retry_conflicts(lambda: self._move(partition), self.runtime):
            appended += moved
        return appended

    async def head(self, tenant: str) -> TreeHead:
        """The log's present size and root."""
        return (await self._current_part(tenant)).head.tree

    async def entries(
        self, principal: Principal, *, resource: str | None, limit: int, cursor: str | None
    ) -> LogPage:
        """A page of the caller's log, newest first, with the tree head.

        Args:
            principal: Who asks; their tenant's log is read.
            resource: Only entries about this id.
            limit: Entries at most.
            cursor: From the page before.

        Raises:
            InvalidInput: The cursor does not belong to this query.
        """
        part = await self._current_part(principal.tenant)
        page = await page_across(
            self._logged,
            [log_part(principal.tenant, number) for number in range(part.number, -1, -1)],
            where={"resource": resource} if resource else None,
            order="descending",
            limit=limit,
            cursor=cursor,
        )
        await self.journal.commit(
            self.journal.entry(
                Action.AUDIT_READ,
                # Any other text is the client's own, and the log repeats none of it.
                resource if resource and is_id(resource, *PREFIXES) else "",
                by=principal,
                details={"entries": len(page.items)},
            )
        )
        return LogPage(
            [item.value for item in page.items], page.cursor, page.damaged, part.head.tree
        )

    async def _move(self, partition: Partition) -> int:
        """Move one batch; return how many entries that was."""
        part = await self._current_part(partition.tenant)
        await self._complete(part.head)
        waiting = await self._waiting.page(partition, limit=BATCH)
        entries = [item.value for item in waiting.items]
        # A part takes its last entry before the next one begins.
        entries = entries[: self.part_entries - part.head.tree.size % self.part_entries]
        if part.stored is None and part.number > 0:
            before = log_part(partition.tenant, part.number - 1)
            entries = [one for one in entries if not await self._logged.find(before, one.id)]
        if not entries:
            return 0
        head = await self._append(partition, part, entries)
        await self._complete(head)
        return len(entries)

    async def _append(self, source: Partition, part: _Part, entries: Sequence[Entry]) -> PartHead:
        tree = part.head.tree
        frontier = tuple(bytes.fromhex(node) for node in tree.frontier)
        if merkle.root(frontier).hex() != tree.root:
            # The operators' alert looks for this line.
            _log.error("audit.difference in the log of %s at size %d", source.tenant, tree.size)
            raise Damaged("The audit log's head does not agree with itself.")
        into = log_part(source.tenant, part.number)
        changes: list[Change] = []
        for position, entry in enumerate(entries, start=tree.size):
            leaf = merkle.leaf_hash(canonical(entry.model_dump(mode="json")))
            frontier = merkle.append(frontier, position, leaf)
            changes.append(self._logged.create(into, LoggedEntry(entry=entry, position=position)))
        head = PartHead(
            tree=TreeHead(
                size=tree.size + len(entries),
                root=merkle.root(frontier).hex(),
                frontier=tuple(node.hex() for node in frontier),
            ),
            source=str(source),
            appended=tuple(entry.id for entry in entries),
        )
        if part.stored is None:
            await self._point_at(source.tenant, part.number)
            changes.append(self._heads.create(into, head))
        else:
            changes.append(self._heads.replace(part.stored, head))
        await self.records.commit(into, changes)
        return head

    async def _complete(self, head: PartHead) -> None:
        """Remove what was appended last from where it waited, unless that was done."""
        if not head.appended:
            return
        source = Partition.parse(head.source)
        # They were removed in one commit, so one of them speaks for all.
        if await self._waiting.find(source, head.appended[0]) is None:
            return
        with suppress(Conflict):  # another process was first
            await self.records.commit(
                source, [Delete(ENTRY_KIND, entry) for entry in head.appended]
            )

    async def _current_part(self, tenant: str) -> _Part:
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
        return _Part(number, stored.value, stored)

    async def _point_at(self, tenant: str, number: int) -> None:
        partition = Partition(tenant)
        found = await self._pointers.find(partition, POINTER_ID)
        if found is not None and found.value.part >= number:
            return
        pointer = LogPointer(part=number)
        change: Change = (
            self._pointers.create(partition, pointer)
            if found is None
            else self._pointers.replace(found, pointer)
        )
        await self.records.commit(partition, [change])


async def newest_log_part(records: RecordStore, tenant: str) -> int:
    """The number of the last part of a tenant's log that is known to have begun."""
    pointer = await log_pointers(records).find(Partition(tenant), POINTER_ID)
    return 0 if pointer is None else pointer.value.part


def log_pointers(records: RecordStore) -> Collection[LogPointer]:
    """Where each tenant's log goes on, in its main partition."""
    return Collection(records, LogPointer, POINTER_KIND, lambda _: POINTER_ID)


def log_part(tenant: str, number: int) -> Partition:
    """The partition of one part of a tenant's log."""
    return Partition(tenant, f"log-{number:06d}")
