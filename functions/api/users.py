"""The users of the caller's tenant."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from functions.api.bodies import Body, Cursor, Limit, PageView, id_path, id_pattern
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.guard import requires
from functions.api.request_headers import IfMatchDep, idempotency_key_for
from functions.api.response_headers import etag_header, response_headers
from functions.api.routing import guarded_router
from shared.access.permissions import Permission, Role
from shared.base.errors import InvalidInput
from shared.identity.accounts import TemporaryPassword
from shared.identity.models import User
from shared.identity.usernames import Username
from shared.journal.collections import Stored
from shared.journal.idempotency import IdempotencyKey

router = guarded_router("/users", "users")

UserId = Annotated[str, id_path("usr")]
KeyDep = Annotated[IdempotencyKey | None, idempotency_key_for("users")]
# For the document alone: accounts refuse all roles that do not fit, and say which do.
# Not strict, as JSON has neither tuples nor enumerations: a list of their names is one of roles.
Roles = Annotated[
    tuple[Annotated[Role, Field(strict=False)], ...],
    Field(strict=False, json_schema_extra={"minItems": 1, "uniqueItems": True}),
]


class NewUser(Body):
    """A user to create.

    `account_of`: for employees alone; the id of the first account of the person who gets another one.
    """

    username: Username
    roles: Roles
    account_of: Annotated[str, id_pattern("usr")] | SkipJsonSchema[None] = None


class UserChange(Body):
    """What to change about a user; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    roles: Roles | SkipJsonSchema[None] = None
    disabled: bool | SkipJsonSchema[None] = None


class UserView(BaseModel):
    """A user, as administrators see them.

    `suspended_roles`: those of `roles` that let do nothing until an access review confirms them.
    `last_sign_in_at` is exact to the day.
    `account_of`: of an employee with several accounts, the id of their first one.
    """

    id: str
    username: str
    roles: tuple[Role, ...]
    suspended_roles: tuple[Role, ...]
    disabled: bool
    temporary_password_until: datetime | None
    created_at: datetime
    last_sign_in_at: datetime | None
    account_of: str | None

    @classmethod
    def of(cls, user: User) -> UserView:
        """Return the view of a user."""
        return cls(
            id=user.id,
            username=user.username,
            roles=user.roles,
            suspended_roles=user.suspended_roles,
            disabled=user.disabled,
            temporary_password_until=user.temporary_until,
            created_at=user.created_at,
            last_sign_in_at=user.last_sign_in_at,
            account_of=user.account_of or None,
        )


class TemporaryPasswordView(BaseModel):
    """A user and their temporary password: for one sign-in, within 2 hours, shown only here.

    `temporary_password` is null when the request was repeated: the first response showed it.
    """

    user: UserView
    temporary_password: str | None

    @classmethod
    def of(cls, temporary: TemporaryPassword) -> TemporaryPasswordView:
        """Return the view of a temporary password."""
        return cls(user=UserView.of(temporary.user), temporary_password=temporary.password)


@router.post("", status_code=201, summary="Create a user")
@requires(Permission.USERS_MANAGE)
async def create_user(
    body: NewUser, services: ServicesDep, principal: PrincipalDep, key: KeyDep
) -> TemporaryPasswordView:
    """Create a user in your tenant. The response holds their temporary password."""
    return TemporaryPasswordView.of(
        await services.accounts.create(
            principal, body.username, body.roles, key, body.account_of or ""
        )
    )


@router.get("", summary="List users")
@requires(Permission.USERS_READ)
async def list_users(
    services: ServicesDep, principal: PrincipalDep, limit: Limit = 50, cursor: Cursor = None
) -> PageView[UserView]:
    """List the users of your tenant, oldest first."""
    page = await services.accounts.page(principal, limit=limit, cursor=cursor)
    return PageView.of(page, UserView.of)


@router.get("/{user}", responses={200: response_headers("ETag")}, summary="Get a user")
@requires(Permission.USERS_READ)
async def get_user(
    user: UserId, services: ServicesDep, principal: PrincipalDep, response: Response
) -> UserView:
    """Get a user of your tenant."""
    return _tagged(await services.accounts.read(principal, user), response)


@router.patch("/{user}", responses={200: response_headers("ETag")}, summary="Update a user")
@requires(Permission.USERS_MANAGE)
async def update_user(
    user: UserId,
    body: UserChange,
    services: ServicesDep,
    principal: PrincipalDep,
    response: Response,
    if_match: IfMatchDep,
) -> UserView:
    """Change the roles of a user, or disable or enable them. All their tokens are revoked."""
    if body.roles is None and body.disabled is None:
        raise InvalidInput("Send `roles`, `disabled`, or both.")
    changed = await services.accounts.change(
        principal,
        user,
        roles=body.roles,
        disabled=body.disabled,
        if_match=if_match,
    )
    return _tagged(changed, response)


@router.post("/{user}/temporary-password", status_code=201, summary="Reset a user's password")
@requires(Permission.USERS_MANAGE)
async def reset_user_password(
    user: UserId, services: ServicesDep, principal: PrincipalDep
) -> TemporaryPasswordView:
    """Replace the password of a user with a temporary one. All their tokens are revoked."""
    return TemporaryPasswordView.of(
        await services.accounts.give_temporary_password(principal, user)
    )


def _tagged(stored: Stored[User], response: Response) -> UserView:
    response.headers["ETag"] = etag_header(stored.etag)
    return UserView.of(stored.value)
