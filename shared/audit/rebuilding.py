"""Rebuilding the index of a log from its bundles, where rows were lost or changed.

Nothing here is done by itself: a difference is evidence, and an operator decides. Each bundle is proved
to be in the tree that was signed before a row is made from it, so what comes back is what was logged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from shared.audit.findings import Piece, Read
from shared.audit.index import logged_record
from shared.audit.log import AuditLog
from shared.audit.models import LoggedEntry
from shared.audit.reporting import MonitorRecord
from shared.audit.rows import RowCheck, RowDifference
from shared.audit.signed import CheckpointCheck
from shared.audit.storage import LogStore
from shared.audit.tree import StoredTree
from shared.base.errors import Damaged, InvalidInput, NotFound
from shared.base.partitions import OPERATOR
from shared.crypto import merkle
from shared.crypto.tiles import WIDTH, TilePath
from shared.journal.entries import Action, Entry
from shared.journal.journal import Journal
from shared.ports.records import MAX_CHANGES, Change, Create, Delete, Record, Replace

PIECE: Final = 10 * WIDTH
"""Entries whose rows are compared together."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild has done.

    Attributes:
        created: Rows that were missing.
        replaced: Rows that were changed.
        removed: Rows of no entry.
    """

    created: int = 0
    replaced: int = 0
    removed: int = 0

    def __add__(self, other: Rebuilt) -> Rebuilt:
        """The sum of both."""
        return Rebuilt(
            self.created + other.created,
            self.replaced + other.replaced,
            self.removed + other.removed,
        )


@dataclass(slots=True)
class IndexRebuilder:
    """Makes rows of the index equal to the bundles.

    Attributes:
        log: The logs and their index.
        store: Their bundles.
        checkpoints: Checks the newest checkpoint.
        journal: Puts it into the audit logs.
    """

    log: AuditLog
    store: LogStore
    checkpoints: CheckpointCheck
    journal: Journal

    async def rebuild(self, tenant: str, start: int = 0, end: int | None = None) -> Rebuilt:
        """Make the rows of a range of entries what the bundles say; it can be repeated.

        Rows that the index may have forgotten stay forgotten.

        Args:
            tenant: Whose log.
            start: The first position; the rows of its whole bundle are compared.
            end: The position after the last one; None: to the end of what is signed.

        Raises:
            InvalidInput: There is no such range.
            NotFound: The log has no checkpoint.
            Damaged: A bundle is not what was signed; rows of bundles before it were rebuilt.
            Conflict: A row was changed at the same time; repeat it.
            Unavailable: A store does not respond.
        """
        record = MonitorRecord(self.log.records, self.journal, self.log.runtime, tenant)
        await record.load()
        verifiers = await self.checkpoints.verifiers(tenant)
        newest = await self.checkpoints.newest(tenant, record.value, verifiers)
        if newest is None:
            raise NotFound("The log has no checkpoint to compare with.")
        size = newest.checkpoint.size
        end = size if end is None else min(end, size)
        if not 0 <= start < end:
            raise InvalidInput(f"The log has {size} signed entries; name positions within these.")
        record.value = record.value.with_days(self.log.index_days, size)
        rebuilt = Rebuilt()
        position = start // WIDTH * WIDTH
        while position < end:
            part_end = (position // self.log.part_entries + 1) * self.log.part_entries
            piece_end = min(position + PIECE, part_end, size)
            piece = Piece(tenant, position, piece_end, size, newest.checkpoint.root)
            read = await self._proved(piece)
            rows = RowCheck(
                self.log.records,
                self.store,
                piece,
                self.log.part_entries,
                record.value,
                self.log.runtime.now(),
            )
            after = await self._id_before(piece)
            differences = [each async for each in rows.differences(read, after)]
            rebuilt += await self._apply(rows, differences)
            position = piece_end
        await self._note(tenant, start, end, rebuilt)
        return rebuilt

    async def _proved(self, piece: Piece) -> Read:
        """The entries of a piece, each proved to be in the signed tree."""
        tree = StoredTree(self.store, piece.tenant, piece.size)
        read = Read()
        for bundle in piece.bundles:
            leaves = await tree.bundle(bundle)
            hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
            path = TilePath(0, bundle, len(hashes))
            try:
                if await self.store.read_tile(piece.tenant, path) != b"".join(hashes):
                    raise Damaged(f"The tile {path} of a log is not of its entries.")
                # Its hashes within the bundle are from that tile: it proves all of them.
                proof = await tree.inclusion(bundle * WIDTH)
                merkle.verify_inclusion(hashes[0], bundle * WIDTH, piece.size, proof, piece.root)
                read.entries += [Entry.model_validate_json(leaf) for leaf in leaves]
            except (NotFound, ValueError):
                raise Damaged(f"The bundle {bundle} of a log is not what was signed.") from None
            read.hashes += hashes
        return read

    async def _id_before(self, piece: Piece) -> str:
        """The highest id of the bundle before a piece: rows up to there belong to others."""
        if piece.start % self.log.part_entries == 0:
            return ""
        tree = StoredTree(self.store, piece.tenant, piece.size)
        before = await tree.bundle(piece.start // WIDTH - 1)
        return max(Entry.model_validate_json(leaf).id for leaf in before)

    async def _apply(self, rows: RowCheck, differences: Sequence[RowDifference]) -> Rebuilt:
        changes: list[Change] = []
        created = replaced = removed = 0
        for each in differences:
            if each.wanted is not None:
                row = self._row(rows, each.wanted)
                if each.record is None:
                    changes.append(Create(row))
                    created += 1
                else:
                    changes.append(Replace(replace(row, etag=each.record.etag)))
                    replaced += 1
            elif each.record is not None and each.difference == "extra":
                changes.append(Delete(each.record.kind, each.id, each.record.etag))
                removed += 1
        for start in range(0, len(changes), MAX_CHANGES):
            await self.log.records.commit(rows.part, changes[start : start + MAX_CHANGES])
        return Rebuilt(created, replaced, removed)

    def _row(self, rows: RowCheck, wanted: LoggedEntry) -> Record:
        """A row that the index forgets when it would have forgotten the one that it replaces."""
        until = wanted.entry.time + timedelta(days=rows.state.days_at(wanted.position))
        entry = wanted.entry.model_dump(mode="json")
        return logged_record(rows.part, entry, wanted.position, until)

    async def _note(self, tenant: str, start: int, end: int, rebuilt: Rebuilt) -> None:
        for whose in dict.fromkeys((OPERATOR, tenant)):
            entry = self.journal.entry(
                Action.AUDIT_REBUILD,
                tenant=whose,
                details={
                    "log": tenant,
                    "start": start,
                    "end": end,
                    "created": rebuilt.created,
                    "replaced": rebuilt.replaced,
                    "removed": rebuilt.removed,
                },
            )
            await self.journal.commit(entry)
