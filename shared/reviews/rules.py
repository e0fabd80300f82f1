"""The rules of reviews. Nothing in here reads or writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from shared.access.permissions import Permission, may, separated
from shared.base.errors import Conflict, Forbidden
from shared.grants.models import Grant
from shared.identity.models import User
from shared.reviews.models import (
    Counts,
    ItemState,
    Phase,
    Proposal,
    Review,
    ReviewItem,
)

UNUSED_AFTER: Final = timedelta(days=90)
"""What was not used for so long is proposed for removal."""

NEEDED: Final = (Permission.USERS_MANAGE, Permission.REVIEWS_MANAGE)
"""Every tenant always has a user who may do each of these."""


def proposal(since: datetime, last_used_at: datetime | None, now: datetime) -> Proposal:
    """What the last use of a role suggests; before there was any, its age does.

    Args:
        since: When the user was added.
        last_used_at: Their last sign-in, if it is known.
        now: The present moment.
    """
    unused = now - (last_used_at or since)
    return Proposal.REMOVE if unused >= UNUSED_AFTER else Proposal.KEEP


def role_items(user: User, now: datetime) -> Iterator[ReviewItem]:
    """One item for each role that a user has.

    It is proposed for removal where the user is disabled, or it is one of two roles that nobody has
    together: a release before that rule may have given them.
    """
    suggested = proposal(user.created_at, user.last_sign_in_at, now)
    conflicting = separated(user.roles) or ()
    for role in user.roles:
        yield ReviewItem(
            id=f"{user.id}.{role.value}",
            user=user.id,
            username=user.username,
            role=role,
            since=user.created_at,
            last_used_at=user.last_sign_in_at,
            proposal=Proposal.REMOVE if user.disabled or role in conflicting else suggested,
        )


def grant_item(grant: Grant, requester: User | None, now: datetime) -> ReviewItem:
    """The item of a grant: one that is still open and was never used is proposed for removal."""
    idle = grant.is_open and now < grant.over_at and grant.last_used_at is None
    return ReviewItem(
        id=grant.id,
        user=grant.requester,
        username="" if requester is None else requester.username,
        of=grant.tenant,
        break_glass=grant.break_glass,
        since=grant.requested_at,
        last_used_at=grant.last_used_at,
        proposal=Proposal.REMOVE if idle and not grant.break_glass else Proposal.KEEP,
    )


def check_open(review: Review) -> None:
    """Refuse to decide about an item of a review that does not take decisions.

    Raises:
        Conflict: Its items are not all there yet, or it is finished.
    """
    if review.phase is Phase.GATHERING:
        raise Conflict("The review's items are still being listed; try again in a few minutes.")
    if review.phase is not Phase.OPEN:
        raise Conflict("The review is finished; what is left is in the next one.")


def check_reviewer(item: ReviewItem, reviewer: User, subject: User | None) -> None:
    """Refuse who would review themselves.

    Args:
        item: What is to be decided about.
        reviewer: The caller, as they are at this moment.
        subject: Whom the item is about; None: there is no such user any more.

    Raises:
        Forbidden: It is about the caller, under whichever account.
    """
    same = item.user == reviewer.id or (subject is not None and subject.person == reviewer.person)
    if same or item.user == reviewer.person:
        raise Forbidden("Nobody reviews themselves, under whichever account; ask another person.")


def may_at_present(user: User, permission: Permission) -> bool:
    """Whether a user has a permission and can use it."""
    return not user.disabled and may(user.effective_roles, permission)


def lost(before: User, after: User) -> tuple[Permission, ...]:
    """Which of ``NEEDED`` a change takes from a user."""
    return tuple(
        permission
        for permission in NEEDED
        if may_at_present(before, permission) and not may_at_present(after, permission)
    )


def count(items: Iterable[ReviewItem]) -> Counts:
    """How many items ended in which way."""
    counted = dict.fromkeys(Counts.model_fields, 0)
    for item in items:
        counted["items"] += 1
        if item.state is ItemState.DECIDED and item.verdict is not None:
            counted["confirmed" if item.verdict.choice == "confirm" else "revoked"] += 1
        elif item.state.value in counted:
            counted[item.state.value] += 1
    return Counts(**counted)


def spread(tenant: str, every: timedelta) -> timedelta:
    """A part of a period that differs from tenant to tenant, so that not all are due at once."""
    part = int.from_bytes(hashlib.sha256(tenant.encode()).digest()[:4]) / (1 << 32)
    return every * part
