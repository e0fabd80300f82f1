"""Sign-in, sign-out, one's own password, and the first operator."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field, SecretStr

from functions.api.bodies import Body
from functions.api.guard import (
    GuardedRoute,
    LimitsDep,
    OriginDep,
    PrincipalDep,
    ServicesDep,
    public,
    requires,
)
from functions.api.users import TemporaryPasswordView
from shared.access.permissions import Permission, Role
from shared.identity.models import User, Username

router = APIRouter(prefix="/auth", tags=["auth"], route_class=GuardedRoute)

Secret = Annotated[SecretStr, Field(max_length=256)]


class Bootstrap(Body):
    """The secret that creates the first operator, and what to call them."""

    secret: Secret
    username: Username


class Credentials(Body):
    """What it takes to sign in. ``new_password`` goes with a temporary password, and replaces it."""

    tenant: Annotated[str, Field(max_length=63, description="The slug, or `operator`.")]
    username: Username
    password: Secret
    new_password: Secret | None = None


class PasswordChange(Body):
    """The present password and the one to come."""

    password: Secret
    new_password: Secret


class AccountView(BaseModel):
    """A person, as they see themselves."""

    id: str
    username: str
    roles: tuple[Role, ...]

    @classmethod
    def of(cls, user: User) -> AccountView:
        """The view of a user."""
        return cls(id=user.id, username=user.username, roles=user.roles)


class TokenView(BaseModel):
    """A token: send it as ``Authorization: Bearer``. It is valid for 2 hours."""

    token: str
    token_type: str = "Bearer"
    expires_at: datetime
    user: AccountView


@router.post("/bootstrap", status_code=201, **public())
async def bootstrap(
    body: Bootstrap, services: ServicesDep, origin: OriginDep, limits: LimitsDep
) -> TemporaryPasswordView:
    """Create the first operator, once in the life of an installation."""
    limits.sign_in.take(origin.address)
    temporary = await services.tenants.bootstrap(
        body.secret.get_secret_value(), body.username, origin
    )
    return TemporaryPasswordView.of(temporary)


@router.post("/sign-in", **public())
async def sign_in(
    body: Credentials, services: ServicesDep, origin: OriginDep, limits: LimitsDep
) -> TokenView:
    """Exchange a password for a token."""
    limits.sign_in.take(origin.address)
    signed_in = await services.sign_in.sign_in(
        body.tenant,
        body.username,
        body.password.get_secret_value(),
        body.new_password.get_secret_value() if body.new_password else None,
        origin,
    )
    return TokenView(
        token=signed_in.token,
        expires_at=signed_in.expires_at,
        user=AccountView.of(signed_in.user),
    )


@router.get("/account", **requires(Permission.OWN_ACCOUNT))
async def account(services: ServicesDep, principal: PrincipalDep) -> AccountView:
    """Who the token stands for."""
    return AccountView.of(await services.sign_in.own_account(principal))


@router.put("/password", status_code=204, **requires(Permission.OWN_ACCOUNT))
async def change_password(
    body: PasswordChange, services: ServicesDep, principal: PrincipalDep
) -> None:
    """Replace one's password. Every token of the account is void from then on."""
    await services.sign_in.change_password(
        principal, body.password.get_secret_value(), body.new_password.get_secret_value()
    )


@router.post("/sign-out-everywhere", status_code=204, **requires(Permission.OWN_ACCOUNT))
async def sign_out_everywhere(services: ServicesDep, principal: PrincipalDep) -> None:
    """Void every token of the account, this one included."""
    await services.sign_in.sign_out_everywhere(principal)
