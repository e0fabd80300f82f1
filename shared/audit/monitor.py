"""The monitor: a timer that derives every log anew from its bundles, and compares it with all that it has.

Two walks go over a log. One follows it as it grows, so that what is new is looked at within an hour. The
other goes over all of it within a period. Both read bundles in pieces, a bounded number in one run, and
compare them with tiles, index, spans, heads and checkpoints. What differs is reported once. The monitor
repairs nothing, and nobody waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.audit.bundles import TreeCheck
from shared.audit.findings import Finding, FindingKind, Piece, Read, Walk
from shared.audit.heads import HeadCheck
from shared.audit.index import log_part
from shared.audit.keeping import LogKeeper
from shared.audit.log import AuditLog
from shared.audit.reporting import MonitorRecord
from shared.audit.rows import RowCheck
from shared.audit.signed import CheckpointCheck, Newest
from shared.audit.storage import LogStore
from shared.audit.watching import Watch
from shared.base.concurrency import at_once
from shared.base.errors import Conflict, StrongroomError
from shared.base.partitions import Partition
from shared.crypto import merkle
from shared.crypto.notes import VerifierKey
from shared.crypto.tiles import WIDTH
from shared.journal.agenda import Agenda, AgendaItem, Task
from shared.journal.collections import Stored
from shared.journal.journal import Journal

RUN_SECONDS: Final = 240.0
"""No piece is begun later than that."""

NEW_PIECES: Final = 20
FULL_PIECES: Final = 10
"""Pieces that one run reads of one log: of what is new, and of the walk over all of it."""

PIECE_BUNDLES: Final = 10
"""Bundles of a piece, whose paths begin alike but for the last digit: one list has all their objects."""

KEEP_EVERY: Final = timedelta(days=3)
"""How often dates are moved and what is superseded is removed."""

TENANTS_AT_ONCE: Final = 4

MAX_ROWS: Final = 5
"""Rows of a piece that are reported each for itself; more of them are one finding."""

_log = logging.getLogger("strongroom.audit")


@dataclass(slots=True)
class Monitor:
    """Looks at the audit logs.

    Attributes:
        log: The logs and their index.
        store: Their tiles and checkpoints.
        checkpoints: Checks checkpoints.
        journal: For the entries about findings.
        agenda: Says which logs are to be looked at.
        watch: Puts new entries through the rules.
        keeper: Moves dates, and removes what is superseded.
        every: Within this time each log is looked at as a whole.
    """

    log: AuditLog
    store: LogStore
    checkpoints: CheckpointCheck
    journal: Journal
    agenda: Agenda
    watch: Watch
    keeper: LogKeeper
    every: timedelta

    async def run(self, *, seconds: float = RUN_SECONDS) -> None:
        """Look at the logs that are due. One that cannot be looked at holds up no other.

        Args:
            seconds: No piece is begun later than that.
        """
        until = self.log.runtime.now() + timedelta(seconds=seconds)
        items: dict[str, list[Stored[AgendaItem]]] = {}
        async for item in self.agenda.due(Task.MONITOR_LOG):
            items.setdefault(Partition.parse(item.value.partition).tenant, []).append(item)

        async def look(tenant: str) -> None:
            try:
                due = await self.look(tenant, until)
            except Conflict:
                _log.info("audit.monitor-under-way in the log of %s", tenant)
            except StrongroomError as error:
                # It stays on the agenda; the operators' alert looks for this line.
                _log.error("audit.monitor-failed in the log of %s: %s", tenant, error.slug)
            else:
                if due is not None:
                    await self.agenda.add(Task.MONITOR_LOG, Partition(tenant), due)
                    await self.agenda.remove(Task.MONITOR_LOG, items[tenant])

        await at_once(look, items, TENANTS_AT_ONCE)

    async def look(self, tenant: str, until: datetime) -> datetime | None:
        """Go on with the walks over one log.

        Args:
            tenant: Whose log.
            until: No piece is begun later than that.

        Returns:
            When it has to be looked at again; None: at once, as there is more to do.

        Raises:
            Conflict: Another process is looking at it.
            Damaged: No checkpoint of it can be verified, or the monitor's own record is damaged.
            Unavailable: A store does not respond.
        """
        runtime = self.log.runtime
        record = MonitorRecord(self.log.records, self.journal, runtime, tenant)
        await record.load()
        verifiers = await self.checkpoints.verifiers(tenant)
        newest = await self.checkpoints.newest(tenant, record.value, verifiers)
        if newest is None:
            return runtime.now() + self.every / 2
        look = _Look(self, record, newest, verifiers)
        await look.begin()
        is_done = await look.follow(until) and await look.walk(until)
        await look.keep()
        if not is_done:
            return None
        state = record.value
        due = [moment for moment in (state.began_at, state.kept_at) if moment is not None]
        return min(due[0] + self.every / 2, due[-1] + KEEP_EVERY)


@dataclass(slots=True)
class _Look:
    """One look at one log.

    Attributes:
        monitor: What it takes.
        record: The state.
        newest: The newest checkpoint.
        verifiers: The keys that signed checkpoints.
    """

    monitor: Monitor
    record: MonitorRecord
    newest: Newest
    verifiers: Sequence[VerifierKey]
    heads: HeadCheck = field(init=False)

    def __post_init__(self) -> None:
        self.heads = HeadCheck(self.monitor.log.records, self.monitor.log.part_entries)

    @property
    def size(self) -> int:
        """Of the signed tree."""
        return self.newest.checkpoint.size

    async def begin(self) -> None:
        """Note what has changed since the last look, and whether the log has become shorter."""
        record, state = self.record, self.record.value
        record.value = state.with_days(self.monitor.log.index_days, self.size)
        if self.size < state.size:
            lost = state.size - self.size
            await record.report([_of_log("missing", self.size, lost), *self.newest.findings])
        if self.size < state.newest.size:
            record.set(newest=Walk(), judged=min(state.judged, self.size))
        if state.full is not None and self.size < state.full.size:
            record.set(full=None, began_at=None)

    async def follow(self, until: datetime) -> bool:
        """Look at what is new; whether that is all of it."""
        record = self.record
        for _ in range(NEW_PIECES):
            piece, read, walk = await self._step(record.value.newest, thorough=False)
            judged = record.value.judged
            fresh = read.entries[max(0, judged - piece.start) :]
            is_end = piece.end == self.size or walk.size == piece.start
            record.set(newest=walk, judged=max(judged, piece.end))
            if is_end:
                record.set(size=max(self.size, record.value.size))
            await self.monitor.watch.judge(record, [entry for entry in fresh if entry is not None])
            if is_end:
                return True
            if self.monitor.log.runtime.now() >= until:
                return False
        return False

    async def walk(self, until: datetime) -> bool:
        """Go on with the walk over the whole log, or begin one that is due; whether none is under way."""
        record, now = self.record, self.monitor.log.runtime.now()
        if record.value.full is None:
            began_at = record.value.began_at
            if began_at is not None and now < began_at + self.monitor.every / 2:
                return True
            record.set(full=Walk(), began_at=now)
        for _ in range(FULL_PIECES):
            piece, _, walk = await self._step(record.value.full or Walk(), thorough=True)
            if piece.end == self.size or walk.size == piece.start:
                record.close_findings()
                # Where the log was put right, what is new is derived from that.
                record.set(full=None, ended_at=self.monitor.log.runtime.now(), newest=walk)
                await record.save()
                return True
            record.set(full=walk)
            await record.save()
            if self.monitor.log.runtime.now() >= until:
                return False
        return False

    async def keep(self) -> None:
        """Move dates and remove what is superseded, now and then."""
        kept_at, now = self.record.value.kept_at, self.monitor.log.runtime.now()
        if kept_at is not None and now < kept_at + KEEP_EVERY:
            return
        tenant, state, keeper = self.record.tenant, self.record.value, self.monitor.keeper
        await keeper.extend(tenant, self.size)
        superseded = await keeper.superseded(
            tenant, self.size, state.partial_bundle, state.checkpoint_size
        )
        # Before they go: else they would be missed.
        self.record.set(removed_size=superseded.checkpoint)
        await self.record.save()
        await keeper.remove(superseded.names)
        self.record.set(
            kept_at=now,
            partial_bundle=superseded.bundle,
            checkpoint_size=superseded.checkpoint,
        )
        await self.record.save()

    async def _step(self, walk: Walk, *, thorough: bool) -> tuple[Piece, Read, Walk]:
        """Check the next piece, and report what is wrong with it.

        Returns:
            The piece, what was read of it, and the walk after it. That goes no further than to the last
            bundle, so that there is one to read next time; nowhere, where the tree cannot be derived.
        """
        log = self.monitor.log
        piece = self._next(walk)
        part = log_part(piece.tenant, piece.start // log.part_entries)
        read = await TreeCheck(self.monitor.store, piece).read(walk.nodes)
        rows = RowCheck(
            log.records,
            self.monitor.store,
            piece,
            log.part_entries,
            self.record.value,
            log.runtime.now(),
        )
        findings = [*read.findings]
        findings += _summed(
            [each.finding async for each in rows.differences(read, walk.row)], piece
        )
        findings += await self.heads.rows_ahead(piece.tenant, rows.later)
        findings += await self.monitor.checkpoints.check(
            piece, read, part, self.verifiers, self.record.value.removed_size
        )
        findings += await self.heads.check_spans(piece, read, part)
        is_derived = len(read.frontiers) > len(piece.bundles)
        if is_derived and piece.end % log.part_entries == 0:
            findings += await self.heads.check_full(piece, read)
        if is_derived and piece.end == self.size:
            findings += await self._check_end(piece, read, thorough=thorough)
        await self.record.report(findings)
        return piece, read, self._after(walk, piece, read)

    async def _check_end(self, piece: Piece, read: Read, *, thorough: bool) -> list[Finding]:
        """Compare the tree at the end of the log with what was signed, and with the log's head."""
        checkpoints, tenant, frontier = self.monitor.checkpoints, piece.tenant, read.frontiers[-1]
        findings = await checkpoints.check_newest(tenant, self.newest, frontier)
        if merkle.root(frontier) != self.newest.checkpoint.root:
            findings.append(_of_log("changed", self.size))
        part, head, wrong = await self.heads.newest(tenant)
        findings += wrong
        if head is None:
            return findings
        findings += await self.heads.check_newest(piece, read, part, head)
        size = max(head.tree.size, self.size)
        findings += await checkpoints.ahead(tenant, self.newest, size, thorough=thorough)
        findings += await self.heads.spans_ahead(part, size)
        for leaves, path in read.ahead:
            if leaves > size:
                kind: FindingKind = "entry" if path.startswith("tile/entries") else "tile"
                findings.append(Finding(kind=kind, difference="extra", object=path))
        return findings

    def _next(self, walk: Walk) -> Piece:
        """The next piece: it ends with the log, a part of its index, or objects that lie together."""
        start = walk.size
        steps = (PIECE_BUNDLES * WIDTH, WIDTH * WIDTH, self.monitor.log.part_entries)
        end = min(self.size, *((start // step + 1) * step for step in steps))
        return Piece(self.record.tenant, start, end, self.size, self.newest.checkpoint.root)

    def _after(self, walk: Walk, piece: Piece, read: Read) -> Walk:
        end = piece.end if piece.end < self.size else (self.size - 1) // WIDTH * WIDTH
        number = (end - piece.start) // WIDTH
        if number == 0 or number >= len(read.frontiers):
            return walk
        ids = [entry.id for entry in read.entries[: end - piece.start] if entry is not None]
        row = "" if end % self.monitor.log.part_entries == 0 else max([walk.row, *ids])
        frontier = tuple(node.hex() for node in read.frontiers[number])
        return Walk(size=end, frontier=frontier, row=row)


def _of_log(difference: str, position: int, count: int = 1) -> Finding:
    return Finding(
        kind="log",
        difference="missing" if difference == "missing" else "changed",
        object="tree",
        position=position,
        count=count,
    )


def _summed(findings: Sequence[Finding], piece: Piece) -> list[Finding]:
    """Findings about rows: many of a kind in one piece are one."""
    summed: list[Finding] = []
    for difference in dict.fromkeys(finding.difference for finding in findings):
        same = [finding for finding in findings if finding.difference == difference]
        if len(same) <= MAX_ROWS:
            summed += same
            continue
        summed.append(
            Finding(
                kind="row",
                difference=difference,
                object=f"{piece.start}-{piece.end - 1}",
                position=min(finding.position for finding in same),
                count=len(same),
            )
        )
    return summed
