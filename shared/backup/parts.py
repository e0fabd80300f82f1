"""The backup of one partition: what changed since the set before, in a new segment and in new packs.

First the versions that the backup does not have yet are packed, and a record says where each lies. Then
the records are written. Where the newest segments are small beside what changed, their records are read
anew from the record store and merged with it, as in a log-structured merge tree (O'Neil et al., 1996): a
partition has few segments, and each record is written a few times however often sets are made.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from shared.backup.contents import ContentBackup, Ledger
from shared.backup.feed import feed
from shared.backup.models import PartIndex, SegmentLine, SegmentRef
from shared.backup.scope import is_kept, is_news, without_erasable
from shared.backup.segments import Segments
from shared.backup.state import Attempt
from shared.base import telemetry
from shared.base.concurrency import BoundedTasks
from shared.base.partitions import Partition
from shared.ports.records import UNREADABLE, RecordStore

PASSES: Final = 3
"""How often the feed is followed to its end before the records are written."""

PACKS_AT_ONCE: Final = 2
"""Packs that are written at the same time: one is read while the other is made durable."""

_log = logging.getLogger("strongroom.backup")


@dataclass(frozen=True, slots=True)
class UpdatedPart:
    """A partition whose backup was brought up to date, and what was written for it, bytes."""

    index: PartIndex
    new_bytes: int


@dataclass(slots=True)
class PartBackup:
    """Brings the backup of one partition up to date.

    Attributes:
        records: What is backed up.
        segments: Takes the records.
        contents: Takes the content.
    """

    records: RecordStore
    segments: Segments
    contents: ContentBackup

    async def update(self, attempt: Attempt, part: str, before: PartIndex | None) -> UpdatedPart:
        """Back up what changed in a partition.

        Args:
            attempt: For which set.
            part: The partition.
            before: What the set before has of it; None: nothing.

        Raises:
            Conflict: Another process backs up the same tenant.
            Unavailable: A store or the key vault does not respond.
        """
        partition = Partition(attempt.tenant, part)
        index = before or PartIndex(part=part)
        async with BoundedTasks(PACKS_AT_ONCE) as packing:
            ledger = Ledger.of(index, packing)
            await self.contents.retry_missing(attempt, partition, ledger)
            position, changed = index.position, 0
            for _ in range(PASSES):
                packed = ledger.new_contents
                async for page in feed(self.records, partition, position):
                    await self.contents.take(attempt, partition, ledger, page.records)
                    position, changed = page.position, changed + len(page.records)
                await self.contents.flush(attempt, partition, ledger)
                if ledger.new_contents == packed:
                    break
        kept = _unmerged(index.segments, changed)
        after = (
            index.position if len(kept) == len(index.segments) else index.segments[len(kept)].after
        )
        segment = await self.segments.write(
            attempt.tenant,
            self._lines(partition, after),
            attempt.under,
            after=after,
            retain_until=attempt.retain_until,
        )
        updated = ledger.index(part, position, (*kept, segment), changed)
        return UpdatedPart(updated, ledger.new_bytes + segment.size)

    async def has_news(self, partition: Partition, before: PartIndex | None) -> bool:
        """Whether anything changed that belongs into a set, or is missing in the last one."""
        if before is not None and before.missing:
            return True
        async for page in feed(self.records, partition, before.position if before else None):
            if any(is_news(record) for record in page.records):
                return True
        return False

    async def _lines(
        self, partition: Partition, after: str | None
    ) -> AsyncIterator[Sequence[SegmentLine]]:
        async for page in feed(self.records, partition, after):
            lines: list[SegmentLine] = []
            for record in page.records:
                if record.body is UNREADABLE:
                    # An earlier set has it as it was; the set of all others must not wait for it.
                    _log.error("record.damaged kind=%s id=%s", record.kind, record.id)
                    telemetry.RECORDS_DAMAGED.add(1, {telemetry.RECORD: record.kind})
                elif is_kept(record.kind):
                    lines.append(SegmentLine.of(record, without_erasable(record)))
            yield lines


def _unmerged(segments: Sequence[SegmentRef], changed: int) -> Sequence[SegmentRef]:
    """The segments that stay as they are; what comes after them is written as one."""
    kept, merged = list(segments), changed
    while kept and kept[-1].records <= merged:
        merged += kept.pop().records
    return kept
