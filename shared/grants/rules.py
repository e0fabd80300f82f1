"""The rules of grants: who may decide, and what a grant lets do. Nothing in here reads or writes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from shared.access.permissions import Permission, may
from shared.access.principal import Principal
from shared.base.errors import Forbidden, InvalidInput
from shared.grants.models import (
    LONGEST,
    LONGEST_BREAK_GLASS,
    RECENT_SIGN_IN,
    SHORTEST,
    Depth,
    Grant,
    Operation,
    Private,
    Scope,
    ScopeKind,
    State,
)
from shared.identity.models import User
from shared.policy.models import StaffAccess


def check_scope(scope: Scope, private: Private) -> None:
    """Refuse a scope that says two things, or nothing.

    Raises:
        InvalidInput: Its kind and what it names do not fit.
    """
    named = {
        ScopeKind.DOCUMENTS: bool(scope.documents),
        ScopeKind.COLLECTION: private.collection is not None,
        ScopeKind.SEARCH: private.search is not None,
    }
    if [kind for kind, there in named.items() if there] != [scope.kind]:
        raise InvalidInput(
            "A scope of the kind documents names documents, collection an item of their metadata, search a "
            "part of their names; and nothing else."
        )


def check_duration(seconds: int, *, break_glass: bool) -> None:
    """Refuse a grant that is too short to be of use, or too long.

    Raises:
        InvalidInput: It is.
    """
    longest = LONGEST_BREAK_GLASS if break_glass else LONGEST
    if not SHORTEST <= timedelta(seconds=seconds) <= longest:
        raise InvalidInput(
            f"A grant lasts from {SHORTEST.seconds:,} to {longest.seconds:,} seconds."
        )


def check_recent_sign_in(principal: Principal, now: datetime) -> None:
    """Refuse who has not given their password a moment ago: a stolen token must not decide.

    Raises:
        Forbidden: It was too long ago.
    """
    at = principal.signed_in_at
    if at is None or not timedelta(0) <= now - at + timedelta(seconds=1) <= RECENT_SIGN_IN:
        minutes = RECENT_SIGN_IN.seconds // 60
        raise Forbidden(f"This takes a sign-in within the last {minutes} minutes; sign in again.")


def check_requester(requester: User | None) -> User:
    """The employee who asked for a grant, if they still may.

    Args:
        requester: As they are at this moment; None: there is no such employee any more.

    Raises:
        Forbidden: They may not.
    """
    if (
        requester is None
        or requester.disabled
        or not may(requester.effective_roles, Permission.GRANTS_REQUEST)
    ):
        raise Forbidden("The employee who asked for it may no longer act.")
    return requester


def check_approver(requester: User, approver: User) -> None:
    """Refuse who must not be the second person of a grant.

    Args:
        requester: The first.
        approver: As they are at this moment.

    Raises:
        Forbidden: They are the same person, or may not approve.
    """
    if approver.disabled or not may(approver.effective_roles, Permission.GRANTS_APPROVE):
        raise Forbidden(f"This needs the permission {Permission.GRANTS_APPROVE.value}.")
    if approver.person == requester.person:
        raise Forbidden("Nobody approves a grant of their own, under whichever account.")


def check_live(
    grant: Grant, access: StaffAccess, requester: User | None, approver: User | None, now: datetime
) -> None:
    """Refuse a grant that lets do nothing at this moment.

    Args:
        grant: As it is now.
        access: The tenant's policy, as it is now.
        requester: As they are now; None: there is no such employee any more.
        approver: As they are now; None: there is none.
        now: This moment.

    Raises:
        Forbidden: It is over, not yet approved, or no longer carried by what it rests on.
    """
    state = grant.state(now)
    if state is not State.LIVE:
        raise Forbidden(f"The grant is not live: it is {state.value}.")
    if access is StaffAccess.FORBIDDEN:
        raise Forbidden("The tenant forbids access by staff.")
    asked = check_requester(requester)
    if grant.break_glass:
        return
    if access is StaffAccess.CONSENT and grant.consent is None:
        raise Forbidden("The tenant requires its consent, which this grant does not have.")
    if approver is None:
        raise Forbidden("The grant has no second person.")
    check_approver(asked, approver)


def check_allows(grant: Grant, operation: Operation, depth: Depth) -> None:
    """Refuse what a live grant does not let do.

    Raises:
        Forbidden: It is for another operation, or lets look less deep.
    """
    if operation not in grant.operations:
        raise Forbidden(f"The grant does not allow to {operation.value}.")
    if depth is Depth.CONTENT and grant.scope.depth is not Depth.CONTENT:
        raise Forbidden("The grant is for metadata alone.")


def covers(
    scope: Scope, private: Private, document: str, name: str, metadata: Mapping[str, str]
) -> bool:
    """Whether a document is within a scope, as its current version says.

    Args:
        scope: Of a grant.
        private: What the grant's texts say of the scope.
        document: The id.
        name: Of its current version.
        metadata: Of its current version.
    """
    match scope.kind:
        case ScopeKind.DOCUMENTS:
            return document in scope.documents
        case ScopeKind.COLLECTION if private.collection is not None:
            key, value = private.collection
            return metadata.get(key) == value
        case ScopeKind.SEARCH if private.search is not None:
            return private.search.casefold() in name.casefold()
    return False
