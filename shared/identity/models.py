"""Tenants and people, as they are kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from shared.access.permissions import Role
from shared.base.models import Base64UrlBytes, Model, UtcDatetime

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{1,61}[a-z0-9])$")]
"""What a tenant is called at sign-in: 3 to 63 of a-z, 0-9 and inner hyphens."""

Username = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        to_lower=True,
        min_length=1,
        max_length=254,
        pattern=r"^[^\s\x00-\x1f\x7f]+$",
    ),
]
"""What a person is called at sign-in, often an e-mail address; upper and lower case are the same."""


class Tenant(Model):
    """A customer."""

    id: str
    slug: Slug
    created_at: UtcDatetime


class User(Model):
    """A person of a tenant, or an employee.

    Attributes:
        id: Never changes.
        tenant: The partition that the person belongs to.
        username: For sign-in.
        roles: What they may do.
        disabled: A disabled person cannot sign in.
        password: An Argon2id PHC string.
        temporary_until: When the password was given out: the moment from which it is no longer valid.
        security_version: Tokens of an earlier epoch are void.
        created_at: When they were added.
    """

    id: str
    tenant: str
    username: Username
    roles: tuple[Role, ...]
    disabled: bool = False
    password: str
    temporary_until: UtcDatetime | None = None
    security_version: int = 1
    created_at: UtcDatetime


class SignInAttempts(Model):
    """Attempts in a row that did not succeed, for one username whether it exists or not."""

    count: int
    locked_until: UtcDatetime | None = None


class TokenRingKey(Model):
    """One key of the ring: its id, its salt (16 bytes), when it was made."""

    kid: str
    salt: Base64UrlBytes
    created_at: UtcDatetime


class TokenRing(Model):
    """The token keys, oldest first, and the root they derive from, wrapped by Key Vault."""

    keys: tuple[TokenRingKey, ...]
    root_version: str
    root: Base64UrlBytes
