"""The audit log of each tenant: entries get a position and a place in a Merkle tree, in order.

An entry is durable from the commit that made it, as a record that waits for its position; the audit
function then appends whatever waits. So appending twice, late or out of order changes nothing.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from shared.access.principal import Principal
from shared.audit.models import LoggedEntry, TreeHead
from shared.base.errors import Conflict, Damaged, NotFound, Unavailable
from shared.crypto import merkle
from shared.journal.entries import Action, canonical
from shared.journal.journal import ENTRY_KIND, PENDING, Journal
from shared.ports.records import MAX_CHANGES, Change, Create, Record, RecordStore, Replace

LEAF_KIND: Final = "audit-leaf"
HEAD_KIND: Final = "audit-head"
HEAD_ID: Final = "head"

# Each entry takes two changes, and the head takes one.
BATCH: Final = (MAX_CHANGES - 1) // 2
ATTEMPTS: Final = 20


_log = logging.getLogger("strongroom.audit")


class AuditLog:
    """Appends to and reads the audit logs.

    Args:
        records: Where entries wait and logs are kept.
        journal: Makes the entries about reading the log itself.
    """

    def __init__(self, records: RecordStore, journal: Journal) -> None:
        self._records = records
        self._journal = journal

    async def append_pending(self, tenant: str) -> int:
        """Give every waiting entry of the tenant its position; return how many there were.

        Raises:
            Damaged: The log's head was changed by somebody else; nothing is appended to it.
            Unavailable: Others were appending to the same log all the time; try again.
        """
        appended = 0
        conflicts = 0
        while conflicts < ATTEMPTS:
            page = await self._records.query(ENTRY_KIND, tenant=tenant, where=PENDING, limit=BATCH)
            if not page.records:
                return appended
            try:
                await self._append(tenant, list(page.records))
            except Conflict:
                conflicts += 1
                continue
            appended += len(page.records)
            if page.cursor is None:
                # What was committed since then comes with an event of its own.
                return appended
        raise Unavailable("The audit log is being appended to from elsewhere; try again.")

    async def head(self, tenant: str) -> TreeHead:
        """The log's present size and root."""
        return _tree_head(await self._head_record(tenant))

    async def entries(
        self, principal: Principal, *, resource: str | None, limit: int, cursor: str | None
    ) -> tuple[list[LoggedEntry], str | None, TreeHead]:
        """A page of the caller's log, newest first, a cursor for the next page, and the tree head.

        Args:
            principal: Who asks; their tenant's log is read.
            resource: Only what was done to this id.
            limit: Entries at most.
            cursor: From the page before.

        Raises:
            InvalidInput: The cursor is not one of ours.
        """
        page = await self._records.query(
            ENTRY_KIND,
            tenant=principal.tenant,
            where={"resource": resource} if resource else None,
            order="descending",
            limit=limit,
            cursor=cursor,
        )
        head = await self.head(principal.tenant)
        await self._journal.commit(
            self._journal.entry(
                Action.AUDIT_READ,
                resource or "",
                by=principal,
                details={"entries": len(page.records)},
            )
        )
        return [LoggedEntry.model_validate(r.body) for r in page.records], page.cursor, head

    async def _append(self, tenant: str, waiting: list[Record]) -> None:
        head_record = await self._head_record(tenant)
        head = _tree_head(head_record)
        frontier = tuple(bytes.fromhex(node) for node in head.frontier)
        if merkle.root(frontier).hex() != head.root:
            # The operators' alert looks for this line.
            _log.error("audit.difference in the log of %s at size %d", tenant, head.size)
            raise Damaged("The audit log's head does not agree with itself.")
        changes: list[Change] = []
        for position, record in enumerate(waiting, start=head.size):
            leaf = merkle.leaf_hash(canonical(record.body["entry"]))
            frontier = merkle.append(frontier, position, leaf)
            changes.append(Replace(_logged(record, position)))
            changes.append(
                Create(
                    Record(
                        tenant,
                        LEAF_KIND,
                        f"{position:016d}",
                        {"entry": record.id, "leaf_hash": leaf.hex()},
                    )
                )
            )
        grown = TreeHead(
            size=head.size + len(waiting),
            root=merkle.root(frontier).hex(),
            frontier=tuple(node.hex() for node in frontier),
        )
        body = grown.model_dump(mode="json")
        if head_record is None:
            changes.append(Create(Record(tenant, HEAD_KIND, HEAD_ID, body)))
        else:
            changes.append(Replace(replace(head_record, body=body)))
        await self._records.commit(tenant, changes)

    async def _head_record(self, tenant: str) -> Record | None:
        try:
            return await self._records.get(tenant, HEAD_KIND, HEAD_ID)
        except NotFound:
            return None


def _tree_head(record: Record | None) -> TreeHead:
    if record is None:
        return TreeHead(size=0, root=merkle.EMPTY_ROOT.hex(), frontier=())
    return TreeHead.model_validate(record.body)


def _logged(record: Record, position: int) -> Record:
    index = {field: value for field, value in record.index.items() if field not in PENDING}
    return replace(record, body=record.body | {"position": position}, index=index)
