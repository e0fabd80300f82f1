"""Verifications as they are kept: how far each is, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal

from shared.backup.state import Location
from shared.base.models import Model, UtcDatetime
from shared.documents.models import Place
from shared.journal.collections import Collection
from shared.ports.records import RecordStore

VERIFICATION_KIND: Final = "backup-job-verification"

KEPT: Final = timedelta(days=400)
"""How long a verification can be looked at once it has ended."""

MAX_FINDINGS: Final = 100
"""Findings that a verification keeps; the audit log has all of them."""

RUNNING: Final = {"state": "running"}
BY_TIMER: Final = {"origin": "timer"}

FindingKind = Literal[
    "manifest",
    "chain",
    "index",
    "segment",
    "pack",
    "retention",
    "key",
    "key-page",
    "leak",
    "missing",
    "content",
    "opening",
    "record",
    "primary",
    "replica",
]
"""What is wrong: the object of that kind, or for a version: its entry in a key page (``key-page``), its
place in the backup (``missing``), its content there (``content``), that its keys open it (``opening``), or
its copy in the ``primary`` or the ``replica`` store. ``leak``: a key page holds what nothing names.
``record``: a record in the record store."""

Stage = Literal["sets", "content", "pages"]


class Finding(Model):
    """Something that is not as it should be.

    Attributes:
        kind: What.
        object: The object below the tenant's folder in the backup, or the id of a version.
        detail: What is wrong with it, and what becomes of it.
    """

    kind: FindingKind
    object: str
    detail: str


class Position(Model):
    """How far a verification is.

    Attributes:
        stage: What is being walked.
        set: In the stage ``sets``: the one that comes next; empty: the newest.
        part: The partition, in the stages ``sets`` and ``content``.
        page: In the stage ``content``: the record store's cursor of the page of documents.
        locations: In that stage: its cursor of the page of locations.
        after: The last version, or the last key page, that is done.
    """

    stage: Stage = "sets"
    set: str = ""
    part: str = ""
    page: str | None = None
    locations: str | None = None
    after: str = ""


class Verification(Model):
    """One verification of a tenant's backups.

    Attributes:
        id: Begins with ``ver``.
        set: The only set that is verified; None: all of them, and the primary and the replica store.
        origin: Whether somebody asked for it.
        state: Where it is.
        started_at: When.
        ended_at: When it was done.
        last: The newest set when it began; the next verification looks at what came later. Empty: it
            has not begun.
        position: How far it is.
        total_objects: How many objects there were to check when it began.
        checked_objects: How many were checked.
        checked_bytes: How much was read for that.
        total_versions: How many versions there were when it began; a sample of them is opened.
        seen_versions: How many of them were looked at.
        opened_versions: How many of them were opened with their keys.
        findings: The first of them.
        found: How many there were.
    """

    id: str
    set: str | None
    origin: Literal["timer", "request"]
    state: Literal["running", "done"] = "running"
    started_at: UtcDatetime
    ended_at: UtcDatetime | None = None
    last: str = ""
    position: Position = Position()
    total_objects: int = 0
    checked_objects: int = 0
    checked_bytes: int = 0
    total_versions: int = 0
    seen_versions: int = 0
    opened_versions: int = 0
    findings: tuple[Finding, ...] = ()
    found: int = 0

    def has(self, finding: Finding) -> bool:
        """Whether the same was found before."""
        return any(
            (each.kind, each.object) == (finding.kind, finding.object) for each in self.findings
        )

    def with_finding(self, finding: Finding) -> Verification:
        """The verification with one more finding."""
        findings = (*self.findings, finding)[:MAX_FINDINGS]
        return self.model_copy(update={"findings": findings, "found": self.found + 1})


@dataclass(frozen=True, slots=True)
class Flawed:
    """The id of an index, a segment or a pack that cannot be used, and the partition that it is of."""

    part: str
    id: str


@dataclass(frozen=True, slots=True)
class BadCopy:
    """A copy of a version that is not what was sealed.

    Attributes:
        document: The document.
        number: Of the version.
        place: Where the copy is.
        made: Whether there ever was one.
    """

    document: str
    number: int
    place: Place
    made: bool


@dataclass(slots=True)
class Checked:
    """What one step of a verification looked at, what is wrong, and what to do about it.

    Attributes:
        objects: How many were looked at.
        bytes: How much was read.
        versions: How many versions were looked at.
        opened: How many of them were to be opened with their keys.
        findings: What is wrong.
        flawed: Objects of sets that cannot be used.
        copies: Copies that are to be made again.
        unusable: Where the backup has versions that are to be packed again.
        pages: Key pages that are to be made anew.
        leaks: Key pages in which something is to be forgotten.
        anew: Partitions whose backup the next set is to make anew.
    """

    objects: int = 0
    bytes: int = 0
    versions: int = 0
    opened: int = 0
    findings: list[Finding] = field(default_factory=list)
    flawed: list[Flawed] = field(default_factory=list)
    copies: list[BadCopy] = field(default_factory=list)
    unusable: list[Location] = field(default_factory=list)
    pages: set[str] = field(default_factory=set)
    leaks: set[str] = field(default_factory=set)
    anew: set[str] = field(default_factory=set)

    def add(self, kind: FindingKind, object: str, detail: str) -> None:
        """Note that something is wrong."""
        self.findings.append(Finding(kind=kind, object=object, detail=detail))


def verifications_of(records: RecordStore) -> Collection[Verification]:
    """The verifications of each tenant, in its main partition."""
    return Collection(
        records,
        Verification,
        VERIFICATION_KIND,
        lambda each: each.id,
        index_of=_index_of,
        expires_at=lambda each: each.ended_at + KEPT if each.ended_at else None,
        missing="There is no such verification in your tenant.",
    )


def _index_of(each: Verification) -> Mapping[str, str]:
    running = RUNNING if each.state == "running" else {}
    return {"origin": each.origin} | running
