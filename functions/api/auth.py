"""Sign-in, sign-out, the caller's own account and password, and the first operator."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr

from functions.api.bodies import Body
from functions.api.dependencies import LimitsDep, OriginDep, PrincipalDep, ServicesDep
from functions.api.guard import public, requires
from functions.api.routing import guarded_router
from functions.api.users import TemporaryPasswordView
from shared.access.permissions import Permission, Role
from shared.identity.models import User
from shared.identity.usernames import TypedUsername, Username

router = guarded_router("/auth", "auth")

Secret = Annotated[SecretStr, Field(max_length=256)]


class Bootstrap(Body):
    """The bootstrap secret of the installation, and a username for the first operator."""

    secret: Secret
    username: Username


class Credentials(Body):
    """What it takes to sign in. Send `new_password` to replace a temporary password."""

    tenant: Annotated[
        str,
        Field(
            max_length=63,
            description="The slug of your tenant; `operator` for the operator's employees.",
        ),
    ]
    username: TypedUsername
    password: Secret
    new_password: Secret | None = None


class PasswordChange(Body):
    """The current password and the new one."""

    password: Secret
    new_password: Secret


class AccountView(BaseModel):
    """A user, as they see themselves."""

    id: str
    username: str
    roles: tuple[Role, ...]

    @classmethod
    def of(cls, user: User) -> AccountView:
        """Return the view of a user."""
        return cls(id=user.id, username=user.username, roles=user.effective_roles)


class TokenView(BaseModel):
    """A token, valid for 2 hours: send it as `Authorization: Bearer TOKEN`."""

    token: str
    token_type: str = "Bearer"
    expires_at: datetime
    user: AccountView


@router.post("/bootstrap", status_code=201, summary="Create the first operator")
@public
async def create_first_operator(
    body: Bootstrap, services: ServicesDep, origin: OriginDep, limits: LimitsDep
) -> TemporaryPasswordView:
    """Create the first operator with the bootstrap secret. It works once per installation."""
    limits.sign_in.take(origin.address)
    temporary = await services.bootstrap.create_operator(
        body.secret.get_secret_value(), body.username, origin
    )
    return TemporaryPasswordView.of(temporary)


@router.post("/sign-in", summary="Sign in")
@public
async def sign_in(
    body: Credentials, services: ServicesDep, origin: OriginDep, limits: LimitsDep
) -> TokenView:
    """Exchange a username and password for a token."""
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


@router.get("/account", summary="Get your account")
@requires(Permission.OWN_ACCOUNT)
async def get_account(services: ServicesDep, principal: PrincipalDep) -> AccountView:
    """Get the user that the token stands for, with their roles."""
    return AccountView.of(await services.sign_in.own_account(principal))


@router.put("/password", status_code=204, summary="Change your password")
@requires(Permission.OWN_ACCOUNT)
async def change_password(
    body: PasswordChange, services: ServicesDep, principal: PrincipalDep
) -> None:
    """Replace your password. All your tokens are revoked, the one of this request included."""
    await services.sign_in.change_password(
        principal, body.password.get_secret_value(), body.new_password.get_secret_value()
    )


@router.post("/sign-out-everywhere", status_code=204, summary="Sign out everywhere")
@requires(Permission.OWN_ACCOUNT)
async def sign_out_everywhere(services: ServicesDep, principal: PrincipalDep) -> None:
    """Revoke all your tokens, the one of this request included."""
    await services.sign_in.sign_out_everywhere(principal)
