"""The people of the caller's tenant."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from functions.api.bodies import Body, Cursor, Limit, PageView, id_path
from functions.api.guard import GuardedRoute, PrincipalDep, ServicesDep, requires
from functions.api.headers import (
    IdempotencyHeader,
    IfMatch,
    entity_tag,
    idempotency_key,
    response_headers,
)
from shared.access.permissions import Permission, Role
from shared.base.errors import InvalidInput
from shared.identity.accounts import TemporaryPassword
from shared.identity.models import User, Username
from shared.journal.collections import Stored

router = APIRouter(prefix="/users", tags=["users"], route_class=GuardedRoute)

UserId = Annotated[str, id_path("usr")]
# For the document alone: accounts refuse all roles that do not fit, and say which do.
Roles = Annotated[tuple[Role, ...], Field(json_schema_extra={"minItems": 1, "uniqueItems": True})]


class NewUser(Body):
    """A person to add."""

    username: Username
    roles: Roles


class UserChange(Body):
    """What to change about a person; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    roles: Roles | SkipJsonSchema[None] = None
    disabled: bool | SkipJsonSchema[None] = None


class UserView(BaseModel):
    """A person, as administrators see them."""

    id: str
    username: str
    roles: tuple[Role, ...]
    disabled: bool
    temporary_password_until: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> UserView:
        """The view of a user."""
        return cls(
            id=user.id,
            username=user.username,
            roles=user.roles,
            disabled=user.disabled,
            temporary_password_until=user.temporary_until,
            created_at=user.created_at,
        )


class TemporaryPasswordView(BaseModel):
    """A person and the password to hand to them: for one sign-in, within 2 hours, shown only here.

    It is null when the request was a repetition: then it was shown in the first answer.
    """

    user: UserView
    temporary_password: str | None

    @classmethod
    def of(cls, temporary: TemporaryPassword) -> TemporaryPasswordView:
        """The view of a temporary password."""
        return cls(user=UserView.of(temporary.user), temporary_password=temporary.password)


@router.post("", status_code=201, **requires(Permission.USERS_MANAGE))
async def create_user(
    body: NewUser,
    services: ServicesDep,
    principal: PrincipalDep,
    idempotency: IdempotencyHeader = None,
) -> TemporaryPasswordView:
    """Add a person to the caller's tenant."""
    key = idempotency_key(idempotency, principal, "users")
    return TemporaryPasswordView.of(
        await services.accounts.create(principal, body.username, body.roles, key)
    )


@router.get("", **requires(Permission.USERS_READ))
async def list_users(
    services: ServicesDep, principal: PrincipalDep, limit: Limit = 50, cursor: Cursor = None
) -> PageView[UserView]:
    """The people of the caller's tenant, oldest first."""
    page = await services.accounts.page(principal, limit=limit, cursor=cursor)
    return PageView(items=[UserView.of(user) for user in page.items], cursor=page.cursor)


@router.get("/{user}", responses={200: response_headers("ETag")}, **requires(Permission.USERS_READ))
async def read_user(
    user: UserId, services: ServicesDep, principal: PrincipalDep, response: Response
) -> UserView:
    """One person of the caller's tenant."""
    return _tagged(await services.accounts.read(principal, user), response)


@router.patch(
    "/{user}", responses={200: response_headers("ETag")}, **requires(Permission.USERS_MANAGE)
)
async def change_user(
    user: UserId,
    body: UserChange,
    services: ServicesDep,
    principal: PrincipalDep,
    response: Response,
    if_match: IfMatch = None,
) -> UserView:
    """Change a person's roles, disable or enable them. Their tokens are void at once."""
    if body.roles is None and body.disabled is None:
        raise InvalidInput("Give roles, disabled or both.")
    changed = await services.accounts.change(
        principal,
        user,
        roles=body.roles,
        disabled=body.disabled,
        if_match=entity_tag(if_match),
    )
    return _tagged(changed, response)


@router.post("/{user}/temporary-password", status_code=201, **requires(Permission.USERS_MANAGE))
async def give_temporary_password(
    user: UserId, services: ServicesDep, principal: PrincipalDep
) -> TemporaryPasswordView:
    """Replace a person's password with a temporary one. Their tokens are void at once."""
    return TemporaryPasswordView.of(
        await services.accounts.give_temporary_password(principal, user)
    )


def _tagged(stored: Stored[User], response: Response) -> UserView:
    response.headers["ETag"] = f'"{stored.etag}"'
    return UserView.of(stored.value)
