"""The one table of who may do what: role -> permissions. Every route names the permission it needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from shared.base.errors import Forbidden, InvalidInput
from shared.base.partitions import OPERATOR


class Permission(StrEnum):
    """What a route does, and a role may allow."""

    OWN_ACCOUNT = "account.own"
    DOCUMENTS_READ = "documents.read"
    DOCUMENTS_WRITE = "documents.write"
    DOCUMENTS_DELETE = "documents.delete"
    DOCUMENTS_ERASE = "documents.erase"
    HOLDS_MANAGE = "holds.manage"
    POLICY_READ = "policy.read"
    POLICY_MANAGE = "policy.manage"
    TARGETS_READ = "targets.read"
    TARGETS_MANAGE = "targets.manage"
    BACKUPS_READ = "backups.read"
    BACKUPS_RESTORE = "backups.restore"
    BACKUPS_VERIFY = "backups.verify"
    USERS_READ = "users.read"
    USERS_MANAGE = "users.manage"
    AUDIT_READ = "audit.read"
    WEBHOOKS_MANAGE = "webhooks.manage"
    TENANTS_READ = "tenants.read"
    TENANTS_MANAGE = "tenants.manage"
    EVENTS_MANAGE = "events.manage"
    GRANTS_REQUEST = "grants.request"
    GRANTS_APPROVE = "grants.approve"
    GRANTS_READ = "grants.read"
    GRANTS_REVOKE = "grants.revoke"
    GRANTS_CONSENT = "grants.consent"
    REVIEWS_MANAGE = "reviews.manage"
    EVIDENCE_READ = "evidence.read"


class Role(StrEnum):
    """The role of a user; a user has one or several."""

    ADMINISTRATOR = "administrator"
    MEMBER = "member"
    READER = "reader"
    OPERATOR = "operator"
    SUPPORT = "support"
    OFFICER = "officer"


PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.ADMINISTRATOR: frozenset(
        {
            Permission.OWN_ACCOUNT,
            Permission.DOCUMENTS_READ,
            Permission.DOCUMENTS_WRITE,
            Permission.DOCUMENTS_DELETE,
            Permission.DOCUMENTS_ERASE,
            Permission.HOLDS_MANAGE,
            Permission.POLICY_READ,
            Permission.POLICY_MANAGE,
            Permission.TARGETS_READ,
            Permission.TARGETS_MANAGE,
            Permission.BACKUPS_READ,
            Permission.BACKUPS_RESTORE,
            Permission.BACKUPS_VERIFY,
            Permission.USERS_READ,
            Permission.USERS_MANAGE,
            Permission.AUDIT_READ,
            Permission.WEBHOOKS_MANAGE,
            Permission.GRANTS_CONSENT,
            Permission.REVIEWS_MANAGE,
            Permission.EVIDENCE_READ,
        }
    ),
    Role.MEMBER: frozenset(
        {
            Permission.OWN_ACCOUNT,
            Permission.DOCUMENTS_READ,
            Permission.DOCUMENTS_WRITE,
            Permission.DOCUMENTS_DELETE,
        }
    ),
    Role.READER: frozenset({Permission.OWN_ACCOUNT, Permission.DOCUMENTS_READ}),
    Role.OPERATOR: frozenset(
        {
            Permission.OWN_ACCOUNT,
            Permission.TENANTS_READ,
            Permission.TENANTS_MANAGE,
            Permission.BACKUPS_READ,
            Permission.BACKUPS_RESTORE,
            Permission.BACKUPS_VERIFY,
            Permission.USERS_READ,
            Permission.USERS_MANAGE,
            Permission.EVENTS_MANAGE,
            Permission.GRANTS_REQUEST,
            Permission.GRANTS_APPROVE,
            Permission.GRANTS_READ,
            Permission.GRANTS_REVOKE,
        }
    ),
    Role.SUPPORT: frozenset(
        {
            Permission.OWN_ACCOUNT,
            Permission.TENANTS_READ,
            Permission.GRANTS_REQUEST,
            Permission.GRANTS_READ,
        }
    ),
    Role.OFFICER: frozenset(
        {
            Permission.OWN_ACCOUNT,
            Permission.TENANTS_READ,
            Permission.BACKUPS_READ,
            Permission.USERS_READ,
            Permission.AUDIT_READ,
            Permission.GRANTS_READ,
            Permission.GRANTS_REVOKE,
            Permission.REVIEWS_MANAGE,
            Permission.EVIDENCE_READ,
        }
    ),
}
"""All that each role may do. A permission applies within the user's own tenant; employees' tenant is
the operator's, so no employee's role reaches a customer's documents: for that they need a grant."""

STAFF_ROLES: Final = frozenset({Role.OPERATOR, Role.SUPPORT, Role.OFFICER})
"""The roles of the operator's employees; all others are for the users of tenants."""

SEPARATED: Final = (
    frozenset({Role.OFFICER, Role.OPERATOR}),
    frozenset({Role.OFFICER, Role.SUPPORT}),
)
"""Roles that nobody has together: who reviews what others may do and have done is none of them."""


def separated(roles: Iterable[Role]) -> tuple[Role, ...] | None:
    """Two roles that one person must not have together; None where there are none."""
    held = frozenset(roles)
    return next((tuple(sorted(pair)) for pair in SEPARATED if pair <= held), None)


def may(roles: Iterable[Role], permission: Permission) -> bool:
    """Whether any of the roles has the permission."""
    return any(permission in PERMISSIONS[role] for role in roles)


def check(roles: Iterable[Role], permission: Permission) -> None:
    """Refuse what a part of a request needs beyond the permission of its route.

    Raises:
        Forbidden: None of the roles has the permission.
    """
    if not may(roles, permission):
        raise Forbidden(f"This needs the permission {permission.value}.")


def check_roles(tenant: str, roles: tuple[Role, ...]) -> None:
    """Check the roles that a user of a tenant is to have.

    Raises:
        InvalidInput: There are none, one is repeated, one is not for users of this tenant, or two must not
            be one person's.
    """
    if not roles or len(set(roles)) != len(roles):
        raise InvalidInput("Send at least one role, and each role once.")
    allowed = STAFF_ROLES if tenant == OPERATOR else frozenset(Role) - STAFF_ROLES
    if not set(roles) <= allowed:
        raise InvalidInput(f"The roles of this tenant are: {', '.join(sorted(allowed))}.")
    if pair := separated(roles):
        raise InvalidInput(f"Nobody has both of these roles: {', '.join(pair)}.")
