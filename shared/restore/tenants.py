"""Restoring a whole tenant: its log first, then its keys and users, then its documents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from collections.abc import Collection as Container
from dataclasses import dataclass, field
from typing import Final

from shared.audit.log import AuditLog
from shared.backup.models import Manifest
from shared.backup.snapshot import LOG_PART, PartState
from shared.base.concurrency import at_once
from shared.base.errors import Damaged, NotFound
from shared.base.models import Model
from shared.base.partitions import MAIN, Partition
from shared.documents.store import DOCUMENT_KIND
from shared.restore.assessing import Run
from shared.restore.copying import TenantCopier
from shared.restore.creating import DocumentCreator
from shared.restore.documents import DocumentRestorer
from shared.restore.records import RecordRestorer

AT_ONCE: Final = 8
"""Documents that are restored at the same time."""

BATCH: Final = 99
"""Documents whose content is read and put together."""

BATCHES_AT_ONCE: Final = 3

PIECE_BYTES: Final = 64 << 20
PIECE_BATCHES: Final = 6
"""So many bytes and batches at most are restored between two checkpoints."""


class Cursor(Model):
    """How far a restore is: the partition, and the last document of which it is known that it is done."""

    part: str = ""
    document: str = ""


Checkpoint = Callable[[Cursor], Awaitable[bool]]
"""Called now and then with how far a restore is; False: stop here."""


@dataclass(slots=True)
class TenantRestorer:
    """Restores tenants.

    Attributes:
        records: Restores records.
        documents: Restores documents.
        copier: Copies into another tenant.
        audit_log: Appends the entries that waited.
    """

    records: RecordRestorer
    documents: DocumentRestorer
    copier: TenantCopier
    audit_log: AuditLog
    _creator: DocumentCreator = field(init=False)

    def __post_init__(self) -> None:
        self._creator = DocumentCreator(self.documents)

    async def restore(self, run: Run, cursor: Cursor, checkpoint: Checkpoint) -> bool:
        """Restore everything of a tenant that the service lacks, or copy it all into another tenant.

        Args:
            run: From which set; learns what was done.
            cursor: Where to go on.
            checkpoint: Keeps how far it is.

        Returns:
            Whether it is done; if not, it was stopped.

        Raises:
            Unavailable: A store or the key vault does not respond; repeat it.
        """
        parts = order_of_parts(run.snapshot.manifest)
        begun = [part for part in parts if part == cursor.part]
        for part in parts[parts.index(begun[0]) :] if begun else parts:
            try:
                if part.startswith(LOG_PART):
                    if not run.into:
                        await self.records.restore_log(run.snapshot, part, run.outcome)
                elif not await self.restore_part(run, part, cursor, checkpoint):
                    return False
            except (Damaged, NotFound) as error:
                # The rest of the set may be whole.
                run.outcome.add("damaged" if isinstance(error, Damaged) else "missing")
            if not await checkpoint(Cursor(part=part, document="~")):
                return False
        return True

    async def restore_part(
        self, run: Run, part: str, cursor: Cursor, checkpoint: Checkpoint
    ) -> bool:
        """Restore one partition that is no part of an audit log; the arguments are those of ``restore``.

        Raises:
            Damaged: Its records cannot be read.
            NotFound: An object of the set is missing.
            Unavailable: A store or the key vault does not respond; repeat it.
        """
        state = await run.snapshot.part(part)
        existing = set[str]()
        if run.into:
            await self.copier.copy_users(run, state)
        else:
            existing = await self._creator.existing(Partition(run.tenant, part))
            await self.records.restore(run, state, existing)
        after = cursor.document if part == cursor.part else ""
        documents = [each for each in state.documents() if each > after]
        for piece in _pieces(state, documents):
            await self._restore_piece(run, state, piece, existing)
            if not await checkpoint(Cursor(part=part, document=piece[-1])):
                return False
        if existing or not documents:
            # Else the entries of the documents that were made again wait for it as well.
            await self.audit_log.append_pending(Partition(run.tenant, part))
        return True

    async def _restore_piece(
        self, run: Run, state: PartState, documents: Sequence[str], existing: Container[str]
    ) -> None:
        if run.into:
            await at_once(lambda each: self.copier.copy(run, state, each), documents, AT_ONCE)
            return
        new = [each for each in documents if each not in existing]
        batches = [new[start : start + BATCH] for start in range(0, len(new), BATCH)]
        await at_once(
            lambda batch: self._creator.create(run, state, batch), batches, BATCHES_AT_ONCE
        )
        there = [each for each in documents if each in existing]
        await at_once(lambda each: self.documents.restore(run, state, each), there, AT_ONCE)


def _pieces(state: PartState, documents: Sequence[str]) -> Iterator[Sequence[str]]:
    """The documents between two checkpoints."""
    piece: list[str] = []
    size = 0
    for each in documents:
        piece.append(each)
        current = state.lines[DOCUMENT_KIND, each].body.get("current")
        size += current.get("size", 0) if current else 0
        if size >= PIECE_BYTES or len(piece) == BATCH * PIECE_BATCHES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def order_of_parts(manifest: Manifest) -> list[str]:
    """The partitions of a set in the order of a restore.

    The log comes first, so that what the restore itself puts into it follows what was there; keys and users
    come before what needs them.
    """
    names = sorted(part.part for part in manifest.parts)
    logs = [name for name in names if name.startswith(LOG_PART)]
    main = [name for name in names if name == MAIN]
    return [*logs, *main, *(name for name in names if name not in logs and name != MAIN)]
