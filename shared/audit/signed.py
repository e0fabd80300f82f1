"""Checkpoints in the store and the record of the newest one, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from shared.audit.findings import (
    Difference,
    Finding,
    MonitorState,
    Piece,
    Read,
    SeenCheckpoints,
    seen_checkpoints,
)
from shared.audit.index import log_checkpoints
from shared.audit.models import CHECKPOINT_ID, LogCheckpoint
from shared.audit.signing import CheckpointKeys
from shared.audit.storage import CHECKPOINT_RETENTION, SIZE_DIGITS, LogStore, checkpoint_path
from shared.audit.tree import tree_head
from shared.base.errors import Damaged, NotFound
from shared.base.partitions import Partition
from shared.crypto import merkle
from shared.crypto.checkpoints import Checkpoint, parse_checkpoint
from shared.crypto.notes import SignatureType, VerifierKey, parse_note
from shared.crypto.tiles import WIDTH
from shared.journal.collections import Collection, Stored
from shared.ports.clock import Runtime
from shared.ports.records import MAX_CHANGES, Change, RecordStore

SIGNED_BY: Final = {SignatureType.ED25519, SignatureType.ML_DSA_44, SignatureType.ECDSA}
"""The kinds of signatures that every checkpoint of ours has."""

BEHIND: Final = timedelta(hours=1)
"""How long after a checkpoint the record may name one before it: a timer takes seconds."""

_RECORD_CHANGED: Final = Finding(
    kind="checkpoint-record", difference="changed", object=CHECKPOINT_ID
)

_DIGEST: Final = 16


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest checkpoint of a log.

    Attributes:
        checkpoint: What is signed.
        note: The whole.
        record: The record of it; None: it is missing or malformed, and the store has the checkpoint.
        findings: What is wrong with the record.
    """

    checkpoint: Checkpoint
    note: bytes
    record: LogCheckpoint | None
    findings: Sequence[Finding]


@dataclass(slots=True)
class CheckpointCheck:
    """Checks the checkpoints of logs.

    Attributes:
        records: Where the newest one of each log is, and what was seen.
        store: Where checkpoints are.
        keys: Tell whether a checkpoint is ours.
        runtime: Time.
    """

    records: RecordStore
    store: LogStore
    keys: CheckpointKeys
    runtime: Runtime
    _seen: Collection[SeenCheckpoints] = field(init=False)

    def __post_init__(self) -> None:
        self._seen = seen_checkpoints(self.records)

    async def verifiers(self, tenant: str) -> list[VerifierKey]:
        """Every key that ever signed checkpoints of a log."""
        known = await self.keys.verifiers(await self.keys.origin(tenant))
        return [key for _, keys in known for key in keys]

    async def newest(
        self, tenant: str, state: MonitorState, verifiers: Sequence[VerifierKey]
    ) -> Newest | None:
        """The newest checkpoint: what the record says or, where that is wrong, what the store has.

        Returns:
            None where the log has none yet.

        Raises:
            Unavailable: A store does not respond.
        """
        record: LogCheckpoint | None = None
        difference: Difference = "missing"
        try:
            found = await log_checkpoints(self.records).find(Partition(tenant), CHECKPOINT_ID)
            record = found.value if found else None
        except Damaged:
            difference = "malformed"
        if record is not None:
            difference = "changed"
            note = record.note.encode()
            checkpoint = await self._verified(tenant, note, verifiers)
            if checkpoint is not None and _agree(checkpoint, record):
                return Newest(checkpoint, note, record, ())
        elif difference == "missing" and not state.size:
            return None
        finding = Finding(kind="checkpoint-record", difference=difference, object=CHECKPOINT_ID)
        sizes = [size async for size in self.store.checkpoint_sizes(tenant)]
        for size in reversed(sizes):
            note = await self.store.read_checkpoint(tenant, size)
            checkpoint = await self._verified(tenant, note, verifiers)
            if checkpoint is not None and checkpoint.size == size:
                return Newest(checkpoint, note, None, [finding])
        raise Damaged("The log has no checkpoint that can be verified.")

    async def check_newest(
        self, tenant: str, newest: Newest, frontier: tuple[bytes, ...]
    ) -> list[Finding]:
        """Compare the newest checkpoint's record and object with each other and with the derived tree."""
        findings: list[Finding] = [*newest.findings]
        size = newest.checkpoint.size
        try:
            kept = await self.store.read_checkpoint(tenant, size)
        except NotFound:
            findings.append(_checkpoint("missing", size))
        except Damaged:
            findings.append(_checkpoint("malformed", size))
        else:
            if kept != newest.note and newest.record is not None:
                findings.append(_checkpoint("changed", size))
        record = newest.record
        if record is not None:
            derived = tree_head(size, frontier)
            if record.tree.root == derived.root and record.tree != derived:
                findings.append(_RECORD_CHANGED)
        return findings

    async def ahead(
        self, tenant: str, newest: Newest, log_size: int, *, thorough: bool
    ) -> list[Finding]:
        """Name checkpoints of more entries than the record's, or than the log has.

        Args:
            tenant: Whose log.
            newest: Its newest checkpoint.
            log_size: Its entries; it may have grown since the checkpoint.
            thorough: Look for such of any size, not only of those that the log has.

        Raises:
            Unavailable: The store does not respond.
        """
        findings = []
        size = newest.checkpoint.size
        end = 10**SIZE_DIGITS if thorough else log_size + 1
        async for each, info in self.store.checkpoints_between(tenant, size + 1, end):
            if each is None or each > log_size:
                findings.append(_finding("extra", info.name.removeprefix(f"{tenant}/")))
            elif info.modified_at < self.runtime.now() - BEHIND and newest.record is not None:
                findings.append(_RECORD_CHANGED)
        return findings

    async def check(
        self,
        piece: Piece,
        read: Read,
        part: Partition,
        verifiers: Sequence[VerifierKey],
        removed: int,
    ) -> list[Finding]:
        """Check the checkpoints of sizes within a piece, and remember them.

        Args:
            piece: Of the log.
            read: The piece, read.
            part: Of the index in which the piece lies.
            verifiers: The keys that signed.
            removed: Checkpoints of less than this size were removed when their date had come.

        Raises:
            Conflict: Another process remembered them at the same time.
            Unavailable: A store does not respond.
        """
        findings: list[Finding] = []
        seen = await self._seen_in(part, piece)
        notes: dict[int, str] = {}
        async for size, info in self.store.checkpoints_between(
            piece.tenant, piece.start + 1, piece.end + 1
        ):
            if size is None:
                findings.append(_finding("extra", info.name.removeprefix(f"{piece.tenant}/")))
                continue
            finding, digest = await self._check_one(piece, read, size, verifiers)
            known = _noted(seen, size)
            if finding is None and known and known != digest:
                finding = _checkpoint("changed", size)
            if finding is not None:
                findings.append(finding)
            notes[size] = known or ("" if finding else digest)
        for stored in seen.values():
            lost = [int(size) for size in stored.value.notes if int(size) not in notes]
            findings += [_checkpoint("missing", size) for size in lost if size >= removed]
        await self._remember(part, seen, notes)
        return findings

    async def _check_one(
        self, piece: Piece, read: Read, size: int, verifiers: Sequence[VerifierKey]
    ) -> tuple[Finding | None, str]:
        try:
            note = await self.store.read_checkpoint(piece.tenant, size)
        except (NotFound, Damaged):
            return _checkpoint("malformed", size), ""
        digest = hashlib.sha256(note).hexdigest()[:_DIGEST]
        checkpoint = await self._verified(piece.tenant, note, verifiers)
        if checkpoint is None or checkpoint.size != size:
            return _checkpoint("changed", size), digest
        derived = _root_at(piece, read, size)
        if derived is not None and derived != checkpoint.root:
            return Finding(kind="log", difference="changed", object="tree", position=size), digest
        return None, digest

    async def _verified(
        self, tenant: str, note: bytes, verifiers: Sequence[VerifierKey]
    ) -> Checkpoint | None:
        """What a note says that all kinds of our keys have signed for this log; None: they have not."""
        try:
            parsed = parse_note(note)
            signed = {key.type for key in parsed.verified_by(verifiers)}
            checkpoint = parse_checkpoint(parsed.text)
        except ValueError:
            return None
        if not signed >= SIGNED_BY or checkpoint.origin != await self.keys.origin(tenant):
            return None
        return checkpoint

    async def _seen_in(self, part: Partition, piece: Piece) -> dict[int, Stored[SeenCheckpoints]]:
        first, end = piece.bundles[0], piece.bundles[-1] + 1
        page = await self._seen.page(part, first=f"{first:012d}", before=f"{end:012d}")
        return {int(item.value.id): item for item in page.items}

    async def _remember(
        self, part: Partition, seen: dict[int, Stored[SeenCheckpoints]], notes: dict[int, str]
    ) -> None:
        until = self.runtime.now() + CHECKPOINT_RETENTION
        by_bundle: dict[int, dict[str, str]] = {}
        for size, digest in notes.items():
            if digest and not _noted(seen, size):
                by_bundle.setdefault(_bundle(size), {})[str(size)] = digest
        changes: list[Change] = []
        for bundle, fresh in by_bundle.items():
            stored = seen.get(bundle)
            known = stored.value.notes if stored else {}
            value = SeenCheckpoints(id=f"{bundle:012d}", notes=known | fresh, until=until)
            changes.append(self._seen.put(part, stored, value))
        for start in range(0, len(changes), MAX_CHANGES):
            await self.records.commit(part, changes[start : start + MAX_CHANGES])


def _agree(checkpoint: Checkpoint, record: LogCheckpoint) -> bool:
    tree = record.tree
    return checkpoint.size == tree.size and checkpoint.root.hex() == tree.root


def _root_at(piece: Piece, read: Read, size: int) -> bytes | None:
    """The derived root at a size within a piece; None where it cannot be derived."""
    bundle = _bundle(size)
    number = bundle - piece.bundles[0]
    if number >= len(read.frontiers):
        return None
    if size == piece.end and len(read.frontiers) > len(piece.bundles):
        return merkle.root(read.frontiers[-1])
    if size % WIDTH == 0 and number + 1 < len(read.frontiers):
        return merkle.root(read.frontiers[number + 1])
    frontier = read.frontiers[number]
    for position in range(bundle * WIDTH, size):
        leaf = read.hashes[position - piece.start]
        if leaf is None:
            return None
        frontier = merkle.append(frontier, position, leaf)
    return merkle.root(frontier)


def _bundle(size: int) -> int:
    """The bundle of the last entry of a tree."""
    return (size - 1) // WIDTH


def _noted(seen: dict[int, Stored[SeenCheckpoints]], size: int) -> str:
    stored = seen.get(_bundle(size))
    return stored.value.notes.get(str(size), "") if stored else ""


def _checkpoint(difference: Difference, size: int) -> Finding:
    return _finding(difference, checkpoint_path(size), size)


def _finding(difference: Difference, object: str, position: int = -1) -> Finding:
    return Finding(kind="checkpoint", difference=difference, object=object, position=position)
