"""Restoring records: users, keys, settings, and audit logs; what exists is left as it is."""

from __future__ import annotations

from collections.abc import Collection as Container
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from shared.audit.index import HEAD_ID, HEAD_KIND, LOGGED_KIND, log_part, newest_log_part
from shared.audit.models import LoggedEntry, PartHead
from shared.backup.models import SegmentLine
from shared.backup.snapshot import LOG_PART, PartState, Snapshot
from shared.backup.state import LOCATION_KIND
from shared.base.concurrency import at_once
from shared.base.errors import Conflict
from shared.base.partitions import Partition
from shared.documents.store import DOCUMENT_KIND, VERSION_KIND
from shared.grants.models import GRANT_KIND
from shared.grants.store import as_restored
from shared.journal.collections import Collection
from shared.journal.waiting import ENTRY_KIND
from shared.ports.records import Create, Record, RecordStore
from shared.restore.assessing import Run
from shared.restore.outcomes import Outcome

BATCH: Final = 90
BATCHES_AT_ONCE: Final = 8

TARGETS: Final = "target"
"""What the kinds of all records about targets begin with."""


@dataclass(slots=True)
class RecordRestorer:
    """Makes records again that the service lacks.

    Attributes:
        records: Where they are kept.
    """

    records: RecordStore
    _logged: Collection[LoggedEntry] = field(init=False)
    _heads: Collection[PartHead] = field(init=False)

    def __post_init__(self) -> None:
        self._logged = Collection(self.records, LoggedEntry, LOGGED_KIND)
        self._heads = Collection(self.records, PartHead, HEAD_KIND)

    async def restore(self, run: Run, state: PartState, existing: Container[str]) -> None:
        """Make the records of a partition again that are no documents and no versions.

        Where the backup has a version is restored with the document alone: what there is of documents that
        exist is right, or the next set makes it so.

        A target that a tenant has deleted since does not come back with its credentials: targets are
        restored with all of the service alone. A grant of staff is over when it comes back.

        Args:
            run: From which set; learns what was done.
            state: The partition in the set.
            existing: The ids of the documents that there are records of, erased ones included.

        Raises:
            Unavailable: The record store does not respond; repeat it.
        """
        partition = Partition(run.tenant, state.part)
        lines: list[SegmentLine] = []
        for (kind, _), line in sorted(state.lines.items()):
            if kind in {DOCUMENT_KIND, VERSION_KIND, HEAD_KIND}:
                continue
            if kind == LOCATION_KIND and line.body["document"] in existing:
                continue
            if kind.startswith(TARGETS) and not run.whole:
                continue
            if kind == ENTRY_KIND and await self._is_logged(run.snapshot, line.id):
                continue  # it was on its way into the log
            if kind == GRANT_KIND:
                made_at = run.snapshot.manifest.made_at
                line = replace(line, body=as_restored(line.body, made_at))
            lines.append(line)
        await self._create_all(partition, lines, run.outcome)

    async def restore_log(self, snapshot: Snapshot, part: str, outcome: Outcome) -> None:
        """Make a part of an audit log again, unless the service has begun that part.

        Its head comes last, so that an append finds all of the part or nothing.

        Raises:
            Unavailable: The record store does not respond; repeat it.
        """
        partition = Partition(snapshot.manifest.tenant, part)
        state = await snapshot.part(part)
        head = state.lines.get((HEAD_KIND, HEAD_ID))
        if head is None:
            return
        wanted = PartHead.model_validate(head.body)
        live = await self._heads.find(partition, HEAD_ID)
        if live is not None:
            if live.value.tree.size < wanted.tree.size:
                outcome.add("conflict")
            return
        async for lines in snapshot.logged(part):
            await self._create_all(partition, lines, outcome)
        others = [line for line in state.lines.values() if line is not head]
        await self._create_all(partition, others, outcome)
        await self._create_all(partition, [head], outcome)

    async def _is_logged(self, snapshot: Snapshot, entry: str) -> bool:
        """Whether an entry that waited is in the log, from the part before the set's newest one on."""
        tenant = snapshot.manifest.tenant
        parts = sum(part.part.startswith(LOG_PART) for part in snapshot.manifest.parts)
        newest = max(parts - 1, await newest_log_part(self.records, tenant))
        for number in range(max(0, parts - 2), newest + 1):
            if await self._logged.find(log_part(tenant, number), entry) is not None:
                return True
        return False

    async def _create_all(
        self, partition: Partition, lines: Sequence[SegmentLine], outcome: Outcome
    ) -> None:
        async def create(batch: Sequence[SegmentLine]) -> None:
            creates = [_create(partition, line) for line in batch]
            try:
                await self.records.commit(partition, creates)
                outcome.records += len(creates)
            except Conflict:
                for each in creates:
                    with suppress(Conflict):
                        await self.records.commit(partition, [each])
                        outcome.records += 1

        starts = range(0, len(lines), BATCH)
        batches = [lines[start : start + BATCH] for start in starts]
        await at_once(create, batches, BATCHES_AT_ONCE)


def _create(partition: Partition, line: SegmentLine) -> Create:
    return Create(
        Record(
            partition,
            line.kind,
            line.id,
            line.body,
            index=line.index,
            expires_at=line.expires_at,
        )
    )
