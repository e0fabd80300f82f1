"""Access reviews as records hold them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from shared.access.permissions import Role
from shared.base.models import Base64UrlBytes, Model, UtcDatetime

REVIEW_KIND: Final = "review"
ITEM_KIND: Final = "review-item"
STATE_KIND: Final = "review-state"
REPORT_KIND: Final = "review-report"
STATE_ID: Final = "state"

Reason = Annotated[str, StringConstraints(min_length=3, max_length=2_000)]
"""Why somebody decided so: any text."""


class Kind(StrEnum):
    """What a review is about."""

    FULL = "full"
    BREAK_GLASS = "break-glass"


class Phase(StrEnum):
    """How far a review is."""

    GATHERING = "gathering"
    OPEN = "open"
    FINISHING = "finishing"
    FINISHED = "finished"


class ItemState(StrEnum):
    """How far an item is: nobody has decided about the first two."""

    OPEN = "open"
    SUSPENDED = "suspended"
    DECIDED = "decided"
    LAPSED = "lapsed"
    OBSOLETE = "obsolete"
    OVERDUE = "overdue"


class Proposal(StrEnum):
    """What the last use suggests."""

    KEEP = "keep"
    REMOVE = "remove"


class Choice(StrEnum):
    """What a person decides about an item."""

    CONFIRM = "confirm"
    REVOKE = "revoke"


class Verdict(Model):
    """A decision about an item.

    Attributes:
        choice: What was decided.
        by: The id of the user who decided.
        at: When.
        epoch: Of the key that seals ``sealed``; empty where another review has the reason.
        sealed: The reason.
    """

    choice: Choice
    by: str
    at: UtcDatetime
    epoch: str = ""
    sealed: Base64UrlBytes = b""


class ReviewItem(Model):
    """One role of a user, or one grant, to be confirmed or revoked.

    Attributes:
        id: ``USER.ROLE`` or the id of the grant: the same whenever it is written.
        user: The id of the user who has the role, or who asked for the grant.
        username: Theirs.
        role: The role; None: it is about a grant.
        of: Of a grant: the id of the tenant whose data it is for.
        break_glass: It is about a grant that nobody had approved.
        since: When the user was added, or the grant asked for.
        last_used_at: The last sign-in of the user, or the last use of the grant; None: not known.
        proposal: What that suggests.
        state: How far it is.
        verdict: The decision, once there is one.
        settled_at: When it lapsed, became obsolete or was left overdue.
        applied: What follows from its state has been done to the user or the grant.
    """

    id: str
    user: str
    username: str
    role: Role | None = None
    of: str = ""
    break_glass: bool = False
    since: UtcDatetime
    last_used_at: UtcDatetime | None = None
    proposal: Proposal
    state: ItemState = ItemState.OPEN
    verdict: Verdict | None = None
    settled_at: UtcDatetime | None = None
    applied: bool = True

    @property
    def is_undecided(self) -> bool:
        """Whether somebody can still decide about it."""
        return self.state in {ItemState.OPEN, ItemState.SUSPENDED}

    @property
    def is_pending(self) -> bool:
        """Whether there is something left to do about it."""
        return self.is_undecided or not self.applied


class SignedReport(Model):
    """What the finished report is, without its content, which lies beside the items.

    Attributes:
        sha256: Of the report's JSON, in hex.
        parts: In how many records it lies.
        header: The first part of the JWS, as it is written there.
        signature: The last part, likewise.
        key_version: Of the key vault's key that signed.
    """

    sha256: str
    parts: int
    header: str
    signature: str
    key_version: str


class Counts(Model):
    """How many items of a finished review ended in which way."""

    items: int = 0
    confirmed: int = 0
    revoked: int = 0
    lapsed: int = 0
    obsolete: int = 0
    overdue: int = 0


class Review(Model):
    """A review.

    Attributes:
        id: Of a review of one grant: made from the grant's, so that there is one at most.
        tenant: Whose users it is about; ``OPERATOR`` for the employees.
        kind: What it is about.
        phase: How far it is.
        opened_by: The id of the user who opened it; empty: the timer.
        opened_at: When.
        since: Grants that were asked for from then on are in it.
        decide_by: When items that nobody decided about are suspended.
        lapse_at: When they are revoked.
        grant: For a review of one grant: its id.
        of: For a review of one grant: the id of the tenant whose data it is for.
        cursor: While gathering, where the list of users goes on.
        suspended: The step at ``decide_by`` is done.
        warned_at: When it was last logged that items are overdue.
        finished_at: When nothing was left to be decided.
        counts: Of a finished one.
        report: Of a finished one.
    """

    id: str
    tenant: str
    kind: Kind
    phase: Phase = Phase.GATHERING
    opened_by: str = ""
    opened_at: UtcDatetime
    since: UtcDatetime
    decide_by: UtcDatetime
    lapse_at: UtcDatetime
    grant: str = ""
    of: str = ""
    cursor: str | None = None
    suspended: bool = False
    warned_at: UtcDatetime | None = None
    finished_at: UtcDatetime | None = None
    counts: Counts | None = None
    report: SignedReport | None = None

    @property
    def is_open(self) -> bool:
        """Whether a timer has something left to do about it."""
        return self.phase is not Phase.FINISHED


class ReviewState(Model):
    """Which full review of a tenant is under way, and when the next one opens.

    Attributes:
        current: The id of the one under way; empty: none is.
        last: The id of the last one.
        since: When the last one was opened; None: there was none.
        next_at: When the next one opens by itself.
    """

    current: str = ""
    last: str = ""
    since: UtcDatetime | None = None
    next_at: UtcDatetime


class ReportPart(Model):
    """A part of a report's JSON.

    Attributes:
        id: Its number, in six digits.
        epoch: Of the key that seals ``sealed``.
        sealed: The text.
    """

    id: Annotated[str, Field(pattern=r"^[0-9]{6}$")]
    epoch: str
    sealed: Base64UrlBytes
