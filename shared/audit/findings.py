"""What the monitor finds, and how far it is with each log: its records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from shared.base.models import Model, UtcDatetime
from shared.crypto.tiles import WIDTH
from shared.journal.collections import Collection
from shared.journal.entries import Entry
from shared.ports.records import RecordStore

MONITOR_KIND: Final = "audit-monitor"
MONITOR_ID: Final = "monitor"
SEEN_KIND: Final = "audit-seen"

MAX_OPEN: Final = 300
"""Findings that a record keeps: of more than that, the oldest are reported anew when seen again."""

MAX_TERMS: Final = 20

FindingKind = Literal[
    "entry", "tile", "row", "span", "head", "checkpoint", "checkpoint-record", "log"
]
"""Where the difference is: an entry in a bundle, a tile, a row of the index, the span of a bundle, the head
of a part, a checkpoint in the store, the record of the newest one; or the log as a whole."""

Difference = Literal["changed", "missing", "extra", "swapped", "malformed"]


class Finding(Model):
    """Something in a log that is not as it was written.

    Attributes:
        kind: Where the difference is.
        difference: What it is.
        object: The object or record: the path of a tile or a bundle, the name of a checkpoint, the id of a
            row, a part of the log.
        position: Of the first entry that it is about, or the size of the tree; -1: it is about none.
        count: How many entries it is about.
    """

    kind: FindingKind
    difference: Difference
    object: str
    position: int = -1
    count: int = 1

    @property
    def key(self) -> tuple[str, str, str]:
        """The same for a finding that is made again."""
        return self.kind, self.difference, self.object

    def __str__(self) -> str:
        """For a log line."""
        where = f" at {self.position}" if self.position >= 0 else ""
        return f"{self.kind} {self.difference}: {self.object}{where}, {self.count}"


class OpenFinding(Model):
    """A finding that was reported, and when it was seen last."""

    finding: Finding
    seen_at: UtcDatetime


class Walk(Model):
    """How far a walk over a log is.

    Attributes:
        size: The entries before this position were looked at; a multiple of the entries of a bundle.
        frontier: Of the tree over them, derived from the bundles, hexadecimal.
        row: The highest id of a row in this part of the index that was looked at.
    """

    size: int = 0
    frontier: tuple[str, ...] = ()
    row: str = ""

    @property
    def nodes(self) -> tuple[bytes, ...]:
        """The frontier."""
        return tuple(bytes.fromhex(node) for node in self.frontier)


class Term(Model):
    """From which position on the index keeps entries for so many days."""

    position: int
    days: int


class MonitorState(Model):
    """What the monitor knows of a log; one record a tenant.

    Attributes:
        id: Always the same.
        newest: The walk that follows the log as it grows.
        size: Of the log when that walk last came to its end.
        full: The walk over the whole log that is under way.
        began_at: When the last walk over the whole log began.
        ended_at: When one last came to its end.
        judged: The entries before this position went through the rules.
        terms: How long the index keeps entries, from the lowest position.
        findings: What is not as it was written, from the oldest.
        kept_at: When the dates of what is not superseded were last moved.
        partial_bundle: Of the bundles before this one, all partial objects are removed.
        removed_size: Checkpoints of less than this size may have been removed.
        checkpoint_size: Of checkpoints of less than this size, all are removed.
    """

    id: str = MONITOR_ID
    newest: Walk = Walk()
    size: int = 0
    full: Walk | None = None
    began_at: UtcDatetime | None = None
    ended_at: UtcDatetime | None = None
    judged: int = 0
    terms: tuple[Term, ...] = ()
    findings: tuple[OpenFinding, ...] = ()
    kept_at: UtcDatetime | None = None
    partial_bundle: int = 0
    removed_size: int = 0
    checkpoint_size: int = 0

    def days_at(self, position: int) -> int:
        """For how many days the index keeps the entry at a position; 0: that is not known."""
        days = [term.days for term in self.terms if term.position <= position]
        return days[-1] if days else 0

    def with_days(self, days: int, size: int) -> MonitorState:
        """The state, once the index keeps entries for another time.

        Args:
            days: How long it keeps what is appended now.
            size: Of the log now. Some of its entries may have been appended after the change and before
                this, so the shorter time counts for these.
        """
        if self.terms and self.terms[-1].days == days:
            return self
        longer = bool(self.terms) and days > self.terms[-1].days
        term = Term(position=size if longer else self.judged if self.terms else 0, days=days)
        return self.model_copy(update={"terms": (*self.terms, term)[-MAX_TERMS:]})


class SeenCheckpoints(Model):
    """The checkpoints of one bundle that the monitor has seen.

    Attributes:
        id: The bundle's index in 12 digits.
        notes: The first 16 hexadecimal digits of the SHA-256 of each, by its size in decimal.
        until: When this need not be known any more.
    """

    id: str
    notes: dict[str, str]
    until: UtcDatetime


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive bundles of a log that are checked together; they lie in one part of the index.

    Attributes:
        tenant: Whose log.
        start: The position of the first entry, at which a bundle begins.
        end: The position after the last one.
        size: Of the tree whose tiles are read.
        root: Of that tree, as signed.
    """

    tenant: str
    start: int
    end: int
    size: int
    root: bytes

    @property
    def bundles(self) -> range:
        """The indices of the bundles."""
        return range(self.start // WIDTH, -(-self.end // WIDTH))

    def width(self, bundle: int) -> int:
        """How many entries a bundle has."""
        return min(WIDTH, self.end - bundle * WIDTH)


@dataclass(slots=True)
class Read:
    """The entries of a piece, as the bundles and tiles have them, and what is wrong with those.

    Attributes:
        hashes: Of each leaf; None where neither bundle nor tile says it.
        entries: None where the bundle does not have an entry that can be read.
        frontiers: Of the tree up to the beginning of each bundle, and to the end of the piece; fewer where
            a bundle is lost with its tile, so that nothing can be derived from there on.
        ahead: Objects of trees that are larger than the signed one: their sizes and names.
        findings: What is wrong.
    """

    hashes: list[bytes | None] = field(default_factory=list)
    entries: list[Entry | None] = field(default_factory=list)
    frontiers: list[tuple[bytes, ...]] = field(default_factory=list)
    ahead: list[tuple[int, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def monitor_states(records: RecordStore) -> Collection[MonitorState]:
    """The state of each log's monitor, in its tenant's main partition."""
    return Collection(records, MonitorState, MONITOR_KIND, lambda state: state.id)


def seen_checkpoints(records: RecordStore) -> Collection[SeenCheckpoints]:
    """The checkpoints that were seen, in the part of their bundle."""
    return Collection(
        records,
        SeenCheckpoints,
        SEEN_KIND,
        lambda seen: seen.id,
        expires_at=lambda seen: seen.until,
    )
