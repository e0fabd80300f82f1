"""Tenants, users and what their sign-in needs, as they are stored."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, Field, StringConstraints

from shared.access.permissions import Role
from shared.base.models import Base64UrlBytes, Model, UtcDatetime

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{1,61}[a-z0-9])$")]
"""The name of a tenant at sign-in: 3 to 63 of a-z, 0-9 and inner hyphens."""


class Tenant(Model):
    """A customer."""

    id: str
    slug: Slug
    created_at: UtcDatetime


class SlugReservation(Model):
    """The tenant that has a slug.

    Attributes:
        id: The slug; empty as written by releases before 0.2.
        tenant: The id of the tenant.
    """

    id: str = ""
    tenant: str


class User(Model):
    """A user of a tenant, or an employee of the operator.

    Attributes:
        id: Never changes.
        tenant: The tenant of the user; ``OPERATOR`` for an employee.
        username: The name at sign-in, as it was kept when the user was added: in a former form where a
            release before 0.2 did it (``shared.identity.usernames``).
        roles: What the user may do.
        disabled: A disabled user cannot sign in.
        password: An Argon2id PHC string.
        temporary_until: When the temporary password expires; None: the password is the user's own.
        security_version: Raised to revoke the user's tokens: those of an earlier version are void.
            Releases before 0.2 stored it as ``security_epoch``.
        created_at: When the user was added.
        account_of: The id of the first account of the person whose this is; empty: this is their first.
        suspended_roles: Those of ``roles`` that let do nothing for now: nobody confirmed them in an access
            review in time.
        last_sign_in_at: When they last signed in, to the hour, and noted once a day at most; None: never
            since a release before 0.2.
    """

    id: str
    tenant: str
    username: str
    roles: tuple[Role, ...]
    disabled: bool = False
    password: str
    temporary_until: UtcDatetime | None = None
    security_version: int = Field(
        default=1, validation_alias=AliasChoices("security_version", "security_epoch")
    )
    created_at: UtcDatetime
    account_of: str = ""
    suspended_roles: tuple[Role, ...] = ()
    last_sign_in_at: UtcDatetime | None = None

    @property
    def effective_roles(self) -> tuple[Role, ...]:
        """The roles that let do something at present."""
        return tuple(role for role in self.roles if role not in self.suspended_roles)

    @property
    def person(self) -> str:
        """Stands for the person: the id of their first account."""
        return self.account_of or self.id


class UsernameReservation(Model):
    """The user who has a username.

    Attributes:
        id: The hash of the username; empty as written by releases before 0.2.
        user: The id of the user.
    """

    id: str = ""
    user: str


class FirstOperator(Model):
    """The employee who was created with the bootstrap secret; there is one at most.

    Attributes:
        user: The id of the user.
    """

    user: str


class SignInAttempts(Model):
    """Failed attempts in a row at one username, whether it exists or not.

    Attributes:
        id: The hash of tenant and username; empty as written by releases before 0.2.
        count: Attempts since the last success, the one under way included.
        locked_until: Until then no attempt is accepted.
        forgotten_at: When the attempts no longer count; None as written by releases before 0.2.
    """

    id: str = ""
    count: int
    locked_until: UtcDatetime | None = None
    forgotten_at: UtcDatetime | None = None


class TokenRingKey(Model):
    """One key of the token ring.

    Attributes:
        kid: Names it in tokens.
        salt: 16 bytes.
        created_at: When it joined the ring.
    """

    kid: str
    salt: Base64UrlBytes
    created_at: UtcDatetime


class TokenRing(Model):
    """The token keys and the root from which they derive.

    Attributes:
        keys: Oldest first.
        root_version: The version of the key in the key vault that wraps the root.
        root: Wrapped.
    """

    keys: tuple[TokenRingKey, ...]
    root_version: str
    root: Base64UrlBytes
