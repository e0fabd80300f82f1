"""The rules of reviews."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.access.permissions import Permission, Role
from shared.base.errors import Conflict, Forbidden
from shared.base.partitions import OPERATOR
from shared.identity.models import User
from shared.reviews.assignments import removed, restored, suspended
from shared.reviews.models import ItemState, Kind, Phase, Proposal, Review, ReviewItem
from shared.reviews.rules import (
    check_open,
    check_reviewer,
    count,
    lost,
    proposal,
    role_items,
    spread,
)
from tests.support.clock import FakeClock

NOW = FakeClock().now()
DAY = timedelta(days=1)


def user(*roles: Role, **fields: object) -> User:
    made = User(
        id="usr_1",
        tenant=OPERATOR,
        username="someone",
        roles=roles,
        password="",
        created_at=NOW - 200 * DAY,
    )
    return made.model_copy(update=fields)


@pytest.mark.parametrize(
    ("added", "used", "expected"),
    [
        (200, None, Proposal.REMOVE),
        (200, 90, Proposal.REMOVE),
        (200, 89, Proposal.KEEP),
        (89, None, Proposal.KEEP),
        (90, None, Proposal.REMOVE),
    ],
)
def test_what_was_not_used_for_90_days_is_proposed_for_removal(
    added: int, used: int | None, expected: Proposal
) -> None:
    last = None if used is None else NOW - used * DAY
    assert proposal(NOW - added * DAY, last, NOW) is expected


def test_roles_that_do_not_go_together_are_proposed_for_removal() -> None:
    roles = (Role.OFFICER, Role.SUPPORT)
    used = user(*roles, last_sign_in_at=NOW)
    assert [item.proposal for item in role_items(used, NOW)] == [Proposal.REMOVE, Proposal.REMOVE]


def test_there_is_one_item_for_each_role() -> None:
    items = list(role_items(user(Role.SUPPORT, Role.OPERATOR), NOW))
    assert [item.id for item in items] == ["usr_1.support", "usr_1.operator"]


def test_the_roles_of_a_disabled_user_are_proposed_for_removal() -> None:
    [item] = role_items(user(Role.SUPPORT, disabled=True, last_sign_in_at=NOW), NOW)
    assert item.proposal is Proposal.REMOVE


def item_of(name: str) -> ReviewItem:
    return ReviewItem(id=f"{name}.support", user=name, username="", since=NOW, proposal="keep")


@pytest.mark.parametrize(
    ("reviewer", "subject", "of"),
    [
        (user(Role.OFFICER), user(Role.OFFICER), "usr_1"),
        (user(Role.OFFICER, id="usr_2", account_of="usr_1"), user(Role.SUPPORT), "usr_1"),
        (user(Role.OFFICER), user(Role.SUPPORT, id="usr_2", account_of="usr_1"), "usr_2"),
        (
            user(Role.OFFICER, id="usr_3", account_of="usr_1"),
            user(Role.SUPPORT, id="usr_2", account_of="usr_1"),
            "usr_2",
        ),
        (user(Role.OFFICER, id="usr_2", account_of="usr_1"), None, "usr_1"),
    ],
)
def test_nobody_reviews_themselves(reviewer: User, subject: User | None, of: str) -> None:
    with pytest.raises(Forbidden):
        check_reviewer(item_of(of), reviewer, subject)


def test_another_person_does() -> None:
    check_reviewer(item_of("usr_2"), user(Role.OFFICER), user(Role.SUPPORT, id="usr_2"))
    check_reviewer(item_of("usr_2"), user(Role.OFFICER), None)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.OPEN])
def test_a_review_takes_decisions_while_it_is_open_alone(phase: Phase) -> None:
    review = Review(
        id="rev_1",
        tenant=OPERATOR,
        kind=Kind.FULL,
        phase=phase,
        opened_at=NOW,
        since=NOW,
        decide_by=NOW,
        lapse_at=NOW,
    )
    with pytest.raises(Conflict):
        check_open(review)
    check_open(review.model_copy(update={"phase": Phase.OPEN}))


def test_what_a_user_would_lose_is_what_they_can_do_now() -> None:
    operator = user(Role.OPERATOR, Role.SUPPORT)
    assert lost(operator, removed(operator, Role.SUPPORT)) == ()
    assert lost(operator, removed(operator, Role.OPERATOR)) == (Permission.USERS_MANAGE,)
    asleep = suspended(operator, Role.OPERATOR)
    assert lost(asleep, removed(asleep, Role.OPERATOR)) == ()
    officer = user(Role.OFFICER)
    assert lost(officer, suspended(officer, Role.OFFICER)) == (Permission.REVIEWS_MANAGE,)
    administrator = user(Role.ADMINISTRATOR)
    assert set(lost(administrator, removed(administrator, Role.ADMINISTRATOR))) == {
        *(Permission.USERS_MANAGE, Permission.REVIEWS_MANAGE)
    }


def test_each_change_of_roles_voids_tokens() -> None:
    both = user(Role.MEMBER, Role.READER)
    asleep = suspended(both, Role.MEMBER)
    assert asleep.effective_roles == (Role.READER,)
    awake = restored(asleep, Role.MEMBER)
    assert awake.effective_roles == both.roles
    one = removed(asleep, Role.MEMBER)
    assert (one.roles, one.suspended_roles, one.disabled) == ((Role.READER,), (), False)
    none = removed(one, Role.READER)
    assert (none.roles, none.disabled) == ((), True)
    versions = [each.security_version for each in (both, asleep, awake, one, none)]
    assert versions == [1, 2, 3, 3, 4]


def test_items_are_counted_by_how_they_ended() -> None:
    assert count([]).items == 0
    states = [ItemState(name) for name in ("lapsed", "obsolete", "overdue", "overdue")]
    counted = count(item_of("usr_1").model_copy(update={"state": state}) for state in states)
    assert (counted.items, counted.lapsed, counted.obsolete, counted.overdue) == (4, 1, 1, 2)


def test_tenants_are_spread_over_the_period() -> None:
    every = 91 * DAY
    found = [spread(f"ten_{number}", every) for number in range(1_000)]
    assert timedelta(0) <= min(found) < every / 50
    assert every * 0.98 < max(found) < every
