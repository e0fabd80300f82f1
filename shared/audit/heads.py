"""The heads of a log's parts and the spans of its bundles, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.audit.findings import Difference, Finding, Piece, Read
from shared.audit.index import (
    HEAD_ID,
    LOGGED_KIND,
    bundle_spans,
    index_of,
    log_heads,
    log_index,
    log_part,
    newest_log_part,
    parts_of,
)
from shared.audit.models import LoggedEntry, PartHead
from shared.audit.rows import leaf_of
from shared.audit.tree import tree_head
from shared.base.errors import Damaged
from shared.base.partitions import Partition
from shared.crypto import merkle
from shared.crypto.tiles import WIDTH
from shared.ports.records import MAX_PAGE, RecordStore

UNSIGNED_BUNDLES: Final = 64
"""Bundles of entries without a checkpoint that are looked at. Another alert says if there are more."""


@dataclass(frozen=True, slots=True)
class HeadCheck:
    """Checks what lies in the parts of an index beside the rows.

    Attributes:
        records: Where the index is.
        part_entries: Entries of one part.
    """

    records: RecordStore
    part_entries: int

    async def newest(self, tenant: str) -> tuple[Partition, PartHead | None, list[Finding]]:
        """The head of the part that is appended to, its part, and what is wrong if there is none."""
        try:
            number = await newest_log_part(self.records, tenant)
        except Damaged:
            return Partition(tenant), None, [_head("malformed", Partition(tenant))]
        part = log_part(tenant, number)
        try:
            found = await log_heads(self.records).find(part, HEAD_ID)
            if found is None and number:  # the pointer goes ahead of the part's first entry
                part = log_part(tenant, number - 1)
                found = await log_heads(self.records).find(part, HEAD_ID)
        except Damaged:
            return part, None, [_head("malformed", part)]
        if found is None:
            return part, None, [_head("missing", part)]
        return part, found.value, []

    async def rows_ahead(self, tenant: str, later: Mapping[str, int]) -> list[Finding]:
        """Name rows with positions that the log does not have.

        Args:
            tenant: Whose log.
            later: Rows of entries that no signed tree holds, and their positions; seen before this.

        Raises:
            Unavailable: The record store does not respond.
        """
        if not later:
            return []
        _, head, _ = await self.newest(tenant)
        if head is None:
            return []
        return [_row("extra", row, at) for row, at in later.items() if at >= head.tree.size]

    async def check_full(self, piece: Piece, read: Read) -> list[Finding]:
        """Check the head of the part of the index that ends with a piece.

        Raises:
            Unavailable: The record store does not respond.
        """
        part = log_part(piece.tenant, piece.end // self.part_entries - 1)
        try:
            found = await log_heads(self.records).find(part, HEAD_ID)
        except Damaged:
            return [_head("malformed", part)]
        if found is None:
            return [_head("missing", part)]
        ids = [entry.id if entry else "" for entry in read.entries]
        return self._compared(part, found.value, piece.end, read.frontiers[-1], ids)

    async def check_newest(
        self,
        piece: Piece,
        read: Read,
        part: Partition,
        head: PartHead,
    ) -> list[Finding]:
        """Check the log's head, and the rows of entries that no signed tree holds yet.

        Args:
            piece: The last one; it ends with the signed tree.
            read: The piece, read.
            part: Of the head.
            head: Of the log, read after everything else.

        Raises:
            Unavailable: The record store does not respond.
        """
        size = head.tree.size
        if size < piece.end:
            return [_head("changed", part)]
        if size > piece.end + UNSIGNED_BUNDLES * WIDTH:
            return []
        frontier = read.frontiers[-1]
        ids = [entry.id if entry else "" for entry in read.entries]
        rows = await self._rows(piece.tenant, piece.end, size)
        for position in range(piece.end, size):
            here = rows.get(position, [])
            if len(here) > 1:  # nothing says yet which of them is right
                return [_row("extra", logged.entry.id, position) for logged in here]
            leaf = leaf_of(here[0].entry) if here else None
            if leaf is None:
                return [_row("missing", str(part), position)]
            frontier = merkle.append(frontier, position, leaf)
            ids.append(here[0].entry.id)
        return self._compared(part, head, size, frontier, ids)

    async def check_spans(self, piece: Piece, read: Read, part: Partition) -> list[Finding]:
        """Check the spans of the full bundles of a piece.

        Raises:
            Unavailable: The record store does not respond.
        """
        spans = bundle_spans(self.records)
        first = piece.bundles[0]
        full = range(first, piece.end // WIDTH)
        if not full:
            return []
        page = await spans.page(
            part, first=f"{first:012d}", before=f"{full[-1] + 1:012d}", tolerant=True
        )
        findings = [_span("malformed", name) for name in page.damaged]
        kept = {item.record.id: item.value for item in page.items}
        for bundle in full:
            name = f"{bundle:012d}"
            span = kept.pop(name, None)
            start = bundle * WIDTH - piece.start
            entries = read.entries[start : start + WIDTH]
            ids = [entry.id for entry in entries if entry is not None]
            if name in page.damaged:
                continue
            if span is None:
                findings.append(_span("missing", name))
            elif len(ids) == WIDTH and (span.id, span.first, span.last) != (
                name,
                min(ids),
                max(ids),
            ):
                findings.append(_span("changed", name))
        return findings + [_span("extra", name) for name in kept]

    async def spans_ahead(self, part: Partition, log_size: int) -> list[Finding]:
        """Name spans of bundles that the log does not have.

        Args:
            part: The last one of the index.
            log_size: Entries of the log.
        """
        end = f"{log_size // WIDTH:012d}"
        page = await bundle_spans(self.records).page(part, first=end, tolerant=True)
        names = [*(item.record.id for item in page.items), *page.damaged]
        return [_span("extra", name) for name in names]

    async def _rows(self, tenant: str, start: int, end: int) -> dict[int, list[LoggedEntry]]:
        """The rows at positions from ``start`` on, before ``end``, as the index finds them."""
        logged = log_index(self.records)
        rows: dict[int, list[LoggedEntry]] = {}
        for bundle in range(start // WIDTH, -(-end // WIDTH)):
            bounds = max(start, bundle * WIDTH), min(end, (bundle + 1) * WIDTH)
            for part in parts_of(tenant, *bounds, self.part_entries):
                page = await self.records.query(
                    part, LOGGED_KIND, where={"bundle": str(bundle)}, limit=MAX_PAGE
                )
                for record in page.records:
                    try:
                        value = logged.stored(record).value
                    except Damaged:
                        continue
                    is_whole = value.entry.id == record.id and record.index == index_of(
                        record.body["entry"], value.position
                    )
                    if is_whole and bounds[0] <= value.position < bounds[1]:
                        rows.setdefault(value.position, []).append(value)
        return rows

    def _compared(
        self,
        part: Partition,
        head: PartHead,
        size: int,
        frontier: tuple[bytes, ...],
        ids: Sequence[str],
    ) -> list[Finding]:
        """Compare a head with the tree, and with the ids of the last entries."""
        appended = list(head.appended[-len(ids) :]) if ids else []
        last = list(ids[len(ids) - len(appended) :])
        same = all(one == other or not other for one, other in zip(appended, last, strict=True))
        of_tenant = not head.source or head.source.startswith(f"{part.tenant}/")
        if head.tree != tree_head(size, frontier) or not same or not of_tenant:
            return [_head("changed", part)]
        return []


def _row(difference: Difference, object: str, position: int) -> Finding:
    return Finding(kind="row", difference=difference, object=object, position=position)


def _head(difference: Difference, part: Partition) -> Finding:
    return Finding(kind="head", difference=difference, object=str(part))


def _span(difference: Difference, id: str) -> Finding:
    return Finding(kind="span", difference=difference, object=id)
