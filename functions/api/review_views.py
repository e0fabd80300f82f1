"""What requests and responses say about access reviews."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from functions.api.bodies import Body
from shared.access.permissions import Role
from shared.reviews.models import Choice, Counts, ItemState, Kind, Phase, Proposal, Reason
from shared.reviews.service import DescribedItem, DescribedReview


class DecisionBody(Body):
    """A decision about an item: `confirm` or `revoke`, and why."""

    # Not strict, as JSON has no enumerations.
    decision: Annotated[Choice, Field(strict=False)]
    reason: Reason


class CountsView(BaseModel):
    """How many items ended in which way."""

    items: int
    confirmed: int
    revoked: int
    lapsed: int
    obsolete: int
    overdue: int

    @classmethod
    def of(cls, counts: Counts) -> CountsView:
        """Return the view of counts."""
        return cls(**counts.model_dump())


class ReportView(BaseModel):
    """The report of a finished review: the SHA-256 of its JSON, in hex, and what checks its signature.

    `public_key`: PEM, of the key vault's key whose version is `key_version`.
    """

    sha256: str
    key_version: str
    public_key: str


class ReviewView(BaseModel):
    """An access review.

    `kind`: `full`, of every role and, for employees, every grant since the last one; or `break-glass`, of
    one grant that nobody had approved. `phase`: `gathering`, `open`, `finishing` or `finished`. Items that
    nobody decided about by `decide_by` are suspended, and revoked at `lapse_at`. `opened_by` is null where
    the timer opened it.
    """

    id: str
    kind: Kind
    phase: Phase
    opened_by: str | None
    opened_at: datetime
    since: datetime
    decide_by: datetime
    lapse_at: datetime
    grant: str | None
    finished_at: datetime | None
    counts: CountsView | None
    report: ReportView | None

    @classmethod
    def of(cls, described: DescribedReview) -> ReviewView:
        """Return the view of a review."""
        review = described.review
        signed = review.report
        return cls(
            id=review.id,
            kind=review.kind,
            phase=review.phase,
            opened_by=review.opened_by or None,
            opened_at=review.opened_at,
            since=review.since,
            decide_by=review.decide_by,
            lapse_at=review.lapse_at,
            grant=review.grant or None,
            finished_at=review.finished_at,
            counts=None if review.counts is None else CountsView.of(review.counts),
            report=None
            if signed is None
            else ReportView(
                sha256=signed.sha256,
                key_version=signed.key_version,
                public_key=described.public_key,
            ),
        )


class ItemDecisionView(BaseModel):
    """Who decided about an item, when, and why."""

    decision: Choice
    reason: str
    by: str
    at: datetime


class ItemView(BaseModel):
    """A role of a user, or a grant, in a review.

    `role` is null for a grant, whose id is the item's; it is for data of `tenant`. `last_used_at`: the
    user's last sign-in, to the day, or the grant's last use. `state`: `open` and `suspended` wait for a
    decision; `lapsed`: nobody decided and it was revoked; `obsolete`: it had ended by itself, or was
    decided elsewhere; `overdue`: nobody decided, and it stays until the next review, because nobody else
    manages the tenant's users or reviews, or because a grant has to be explained.
    """

    id: str
    user: str
    username: str
    role: Role | None
    tenant: str | None
    break_glass: bool
    since: datetime
    last_used_at: datetime | None
    proposal: Proposal
    state: ItemState
    settled_at: datetime | None
    decision: ItemDecisionView | None
    etag: str

    @classmethod
    def of(cls, described: DescribedItem) -> ItemView:
        """Return the view of an item."""
        item, verdict = described.item, described.item.verdict
        return cls(
            id=item.id,
            user=item.user,
            username=item.username,
            role=item.role,
            tenant=item.of or None,
            break_glass=item.break_glass,
            since=item.since,
            last_used_at=item.last_used_at,
            proposal=item.proposal,
            state=item.state,
            settled_at=item.settled_at,
            decision=None
            if verdict is None
            else ItemDecisionView(
                decision=verdict.choice, reason=described.reason, by=verdict.by, at=verdict.at
            ),
            etag=f'"{described.etag}"',
        )
