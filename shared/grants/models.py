"""Grants as records hold them, and what the rules derive from them."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from shared.base.models import Base64UrlBytes, Model, UtcDatetime

GRANT_KIND: Final = "grant"

LONGEST: Final = timedelta(hours=8)
LONGEST_BREAK_GLASS: Final = timedelta(hours=1)
SHORTEST: Final = timedelta(minutes=5)

REQUEST_LIFETIME: Final = timedelta(hours=24)
"""A request that nobody has approved by then is over."""

RECENT_SIGN_IN: Final = timedelta(minutes=10)
"""Who decides about a grant, or breaks the glass, has given their password within this time."""

LONGEST_OPEN: Final = REQUEST_LIFETIME + LONGEST
"""From when a grant was asked for until it is over, at most."""

MAX_DOCUMENTS: Final = 100

Line = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]
Text = Annotated[str, StringConstraints(min_length=10, max_length=2_000)]


class ReasonCode(StrEnum):
    """Why an employee may have to see customer data."""

    CUSTOMER = "customer-initiated"
    SERVICE_HEALTH = "service-health"
    SECURITY = "security"
    LEGAL = "legal"


class Operation(StrEnum):
    """What a grant lets do."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"


class ScopeKind(StrEnum):
    """How a grant says which documents it is about."""

    DOCUMENTS = "documents"
    COLLECTION = "collection"
    SEARCH = "search"


class Depth(StrEnum):
    """How far a grant lets look into a document."""

    METADATA = "metadata"
    CONTENT = "content"


class Ending(StrEnum):
    """How a grant, or the request for one, ended before its time."""

    DECLINED = "declined"
    REFUSED = "refused"
    RETURNED = "returned"
    REVOKED = "revoked"
    CASE_CLOSED = "case-closed"


class State(StrEnum):
    """What a grant is at a moment."""

    REQUESTED = "requested"
    LIVE = "live"
    EXPIRED = "expired"
    ENDED = "ended"


class Decision(Model):
    """Who decided something, and when."""

    by: str
    at: UtcDatetime


class End(Decision):
    """The early end of a grant.

    Attributes:
        how: What happened.
        of: Whether an employee or a user of the tenant ended it.
    """

    how: Ending
    tenant: bool = False


class Private(Model):
    """What people wrote, sealed under the operator's keys.

    Attributes:
        case: The id of the support case.
        system: Where the case is kept.
        text: Why this has to be looked at.
        collection: For a scope of that kind: the name and the value of an item of the documents' metadata.
        search: For a scope of that kind: what the documents' names contain, in any case.
    """

    case: Line
    system: Line
    text: Text
    collection: tuple[Line, Line] | None = None
    search: Line | None = None


class Scope(Model):
    """Which documents, and how much of them.

    Attributes:
        kind: How they are told.
        depth: How far into each.
        documents: For a scope of that kind, their ids.
    """

    kind: ScopeKind
    depth: Depth
    documents: Annotated[tuple[str, ...], Field(max_length=MAX_DOCUMENTS)] = ()


class Grant(Model):
    """A grant, or the request for one.

    Attributes:
        id: Its month says where it lies.
        tenant: Whose data it is about.
        requester: The employee.
        case: Stands for the support case: ``shared.grants.store.case_index``.
        reason: The code.
        scope: Which documents.
        operations: What may be done; reading is always one of them.
        seconds: From its start to its end.
        break_glass: Nobody approved it beforehand; a review has to close it.
        requested_at: When it was asked for.
        consent_required: The tenant's policy asked for consent at that time.
        approval: By a second employee.
        consent: By the tenant.
        starts_at: When the last person whom it needed had agreed; None: not yet.
        ends_at: From when on it is over, whatever else happens.
        end: If it ended before.
        last_used_at: When it was last used, to the minute.
        over: That it is over is in the audit logs.
        review: Of the officer, for one without approval.
        epoch: Of the key that seals ``sealed``.
        sealed: ``Private``.
    """

    id: str
    tenant: str
    requester: str
    case: str
    reason: ReasonCode
    scope: Scope
    operations: tuple[Operation, ...]
    seconds: int
    break_glass: bool = False
    requested_at: UtcDatetime
    consent_required: bool = False
    approval: Decision | None = None
    consent: Decision | None = None
    starts_at: UtcDatetime | None = None
    ends_at: UtcDatetime | None = None
    end: End | None = None
    last_used_at: UtcDatetime | None = None
    over: bool = False
    review: Decision | None = None
    epoch: str
    sealed: Base64UrlBytes

    @property
    def is_open(self) -> bool:
        """Whether a timer has yet to say that it is over."""
        return self.end is None and not self.over

    @property
    def over_at(self) -> datetime:
        """From when on it is over, whatever else happens: the request as long as it has not started."""
        return self.ends_at or self.requested_at + REQUEST_LIFETIME

    def state(self, now: datetime) -> State:
        """What it is at a moment.

        A moment before what is known to have happened is none at which it can be live: the clock was set
        back.
        """
        if self.end is not None:
            return State.ENDED
        if self.over or now >= self.over_at:
            return State.EXPIRED
        if self.starts_at is None:
            return State.REQUESTED
        if now < self.starts_at:
            return State.EXPIRED
        if self.last_used_at is not None and now < self.last_used_at:
            return State.EXPIRED
        return State.LIVE
