"""Rows of the index, compared with the bundles that they copy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.audit.findings import Difference, Finding, MonitorState, Piece, Read
from shared.audit.index import LOGGED_KIND, index_of, log_index, log_part
from shared.audit.models import LoggedEntry
from shared.audit.storage import LogStore
from shared.audit.tree import StoredTree
from shared.base.errors import Damaged, NotFound
from shared.base.partitions import Partition
from shared.crypto import merkle
from shared.crypto.canonical import canonical_json
from shared.crypto.tiles import WIDTH
from shared.journal.collections import Collection
from shared.journal.entries import Action, Entry
from shared.ports.records import MAX_PAGE, Record, RecordStore

SLACK: Final = timedelta(days=1)
"""By how much clocks and restores may let a row expire early."""

_AFTER_ID: Final = "~"
"""Sorts after every character of an id."""


@dataclass(frozen=True, slots=True)
class RowDifference:
    """A row that is not what the bundles say.

    Attributes:
        difference: What it is.
        id: Of the row.
        position: Of the entry; -1: that is not known.
        record: The row as it is; None: it is missing.
        wanted: What it has to be; None: it has to go, or that is not known.
    """

    difference: Difference
    id: str
    position: int
    record: Record | None
    wanted: LoggedEntry | None

    @property
    def finding(self) -> Finding:
        """For a report."""
        return Finding(
            kind="row", difference=self.difference, object=self.id, position=self.position
        )


@dataclass(slots=True)
class RowCheck:
    """Compares the rows of one piece with its entries.

    Attributes:
        records: Where the index is.
        store: Where the bundles are.
        piece: Which entries.
        part_entries: Entries of one part of the index.
        state: Says how long rows are kept.
        now: The present time.
        later: Rows of entries that no signed tree holds yet, and their positions, once ``differences`` came
            to its end.
    """

    records: RecordStore
    store: LogStore
    piece: Piece
    part_entries: int
    state: MonitorState
    now: datetime
    later: dict[str, int] = field(init=False, default_factory=dict)
    _logged: Collection[LoggedEntry] = field(init=False)
    _others: dict[int, list[bytes]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._logged = log_index(self.records)

    @property
    def part(self) -> Partition:
        """Where the rows are."""
        return log_part(self.piece.tenant, self.piece.start // self.part_entries)

    async def differences(self, read: Read, after: str) -> AsyncIterator[RowDifference]:
        """What is wrong with the rows of the piece, and with others whose ids lie between theirs.

        Args:
            read: The piece, read.
            after: Rows with this id and below were looked at.

        Raises:
            Unavailable: The record store does not respond.
        """
        known = {
            entry.id: position
            for position, entry in enumerate(read.entries, start=self.piece.start)
            if entry is not None
        }
        seen: set[str] = set()
        async for record in self._rows(known, after):
            if record.id in known:
                seen.add(record.id)
                for each in self._compared(read, record, known[record.id]):
                    yield each
            else:
                async for each in self._stray(read, record):
                    yield each
        for row, position in known.items():
            if row in seen:
                continue
            try:
                record = await self.records.get(self.part, LOGGED_KIND, row)
            except NotFound:
                entry = read.entries[position - self.piece.start]
                if entry is not None and not self._may_be_forgotten(entry, position):
                    wanted = LoggedEntry(entry=entry, position=position)
                    yield RowDifference("missing", row, position, None, wanted)
                continue
            for each in self._compared(read, record, position):
                yield each

    async def _rows(self, known: dict[str, int], after: str) -> AsyncIterator[Record]:
        piece = self.piece
        to_its_end = piece.end == piece.size or piece.end % self.part_entries == 0
        before = None if to_its_end else max(known, default=after) + _AFTER_ID
        cursor: str | None = None
        while True:
            page = await self.records.query(
                self.part,
                LOGGED_KIND,
                limit=MAX_PAGE,
                cursor=cursor,
                first=after or None,
                before=before,
            )
            for record in page.records:
                if record.id != after:
                    yield record
            cursor = page.cursor
            if cursor is None:
                return

    def _compared(self, read: Read, record: Record, position: int) -> Iterator[RowDifference]:
        """Whether a row is what the entry at a position says."""
        entry = read.entries[position - self.piece.start]
        if entry is None:
            raise ValueError("there is no entry to compare the row with")
        wanted = LoggedEntry(entry=entry, position=position)
        is_same = record.body == wanted.model_dump(mode="json")
        if not is_same:  # as an earlier release wrote it, perhaps
            value = self._value(record)
            if value is None:
                yield RowDifference("malformed", record.id, position, record, wanted)
                return
            leaf = read.hashes[position - self.piece.start]
            is_same = value.position == position and leaf_of(value.entry) == leaf
        is_found = record.index == _index_of(wanted)
        if not (is_same and is_found) or self._expires_early(record, entry, position):
            yield RowDifference("changed", record.id, position, record, wanted)

    async def _stray(self, read: Read, record: Record) -> AsyncIterator[RowDifference]:
        """Whether a row whose id is not of the piece is one of another piece."""
        value = self._value(record)
        if value is None:
            yield RowDifference("malformed", record.id, -1, record, None)
            return
        position, piece = value.position, self.piece
        if piece.start <= position < piece.end:
            at = position - piece.start
            if read.entries[at] is None and read.hashes[at] in {None, leaf_of(value.entry)}:
                return  # the bundle is damaged, and this is what is left of the entry
        elif position >= piece.size:
            if position // self.part_entries == piece.start // self.part_entries:
                if record.id == value.entry.id and record.index == _index_of(value):
                    # The index finds it, and so does the check of the log's head.
                    self.later[record.id] = position
                else:
                    yield RowDifference("changed", record.id, position, record, None)
                return
        elif await self._is_at(value):
            return
        yield RowDifference("extra", record.id, position, record, None)

    async def _is_at(self, value: LoggedEntry) -> bool:
        """Whether a bundle of another piece has an entry where the row says."""
        if value.position < 0:
            return False
        index = value.position // WIDTH
        if index not in self._others:
            tree = StoredTree(self.store, self.piece.tenant, self.piece.size)
            try:
                self._others[index] = await tree.bundle(index)
            except Damaged:
                self._others[index] = []
        bundle = self._others[index]
        if not bundle:
            return True  # its own piece says what is wrong
        try:
            entry = Entry.model_validate_json(bundle[value.position % WIDTH])
        except ValueError:
            return True
        return entry.id == value.entry.id

    def _value(self, record: Record) -> LoggedEntry | None:
        try:
            return self._logged.stored(record).value
        except Damaged:
            return None

    def _may_be_forgotten(self, entry: Entry, position: int) -> bool:
        if entry.action is Action.BACKUP_CREATE:
            return False
        kept = timedelta(days=self.state.days_at(position))
        return entry.time + kept - SLACK <= self.now

    def _expires_early(self, record: Record, entry: Entry, position: int) -> bool:
        if record.expires_at is None:
            return False
        if entry.action is Action.BACKUP_CREATE:
            return True
        kept = timedelta(days=self.state.days_at(position))
        return record.expires_at < entry.time + kept - SLACK


def leaf_of(entry: Entry) -> bytes | None:
    """The leaf hash of an entry of a row; None where no log can hold such an entry."""
    try:
        return merkle.leaf_hash(canonical_json(entry.model_dump(mode="json")))
    except ValueError:
        return None


def _index_of(logged: LoggedEntry) -> Mapping[str, str]:
    return index_of(logged.entry.model_dump(mode="json"), logged.position)
