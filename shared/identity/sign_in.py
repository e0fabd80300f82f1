"""Sign-in: a tenant, a username and a password become a token; a token becomes a principal."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.access.networks import StaffNetworks
from shared.access.principal import Origin, Principal
from shared.base.concurrency import SharedReading
from shared.base.errors import (
    Conflict,
    InvalidInput,
    PasswordChangeRequired,
    SignInRefused,
    StrongroomError,
    TokenRevoked,
)
from shared.base.partitions import OPERATOR, Partition
from shared.crypto.passwords import check_new_password, needs_rehash
from shared.identity.accounts import Accounts
from shared.identity.lockout import Lockout
from shared.identity.models import User
from shared.identity.tenants import Tenants
from shared.identity.tokens import Tokens
from shared.identity.usernames import attempted
from shared.journal.collections import Stored
from shared.journal.contention import retry_conflicts
from shared.journal.entries import ANONYMOUS, Action, Actor, Entry
from shared.journal.journal import Journal
from shared.ports.clock import Runtime

NOTED_EVERY: Final = timedelta(days=1)
"""The last sign-in of a user is kept as exactly as this: what changes their record changes its etag."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A token, when it expires, and whose it is."""

    token: str
    expires_at: datetime
    user: User


@dataclass(slots=True)
class SignIn:
    """Turns credentials into tokens, and tokens into principals.

    Attributes:
        staff_networks: From where employees may sign in.
    """

    journal: Journal
    accounts: Accounts
    tenants: Tenants
    tokens: Tokens
    lockout: Lockout
    runtime: Runtime
    staff_networks: StaffNetworks = field(default_factory=StaffNetworks)
    _known: SharedReading[tuple[str, str], Stored[User] | None] = field(init=False)

    def __post_init__(self) -> None:
        self._known = SharedReading(lambda of: self.accounts.known(*of))

    async def sign_in(
        self,
        slug: str,
        username: str,
        password: str,
        new_password: str | None,
        origin: Origin,
    ) -> SignedIn:
        """Exchange a password for a token.

        Args:
            slug: The tenant's, or ``operator`` for employees.
            username: The user's, as typed.
            password: Their own, or a temporary one.
            new_password: Goes with a temporary password, and replaces it.
            origin: Where the request came from.

        Raises:
            Conflict: The account was concurrently modified; nothing was done.
            InvalidInput: The new password is not acceptable, or there is nothing for it to replace.
            PasswordChangeRequired: The password is temporary and no new one came with it.
            RateLimited: Too many failures in a row; the username is locked for a while.
            SignInRefused: The tenant, username or password is wrong, or an employee is outside the networks
                of staff; which of them is not said.
        """
        tenant = await self.tenants.resolve(slug)
        partition = Partition(tenant or OPERATOR)
        attempts_id = hashlib.sha256(f"{slug}\n{attempted(username)}".encode()).hexdigest()
        stored: Stored[User] | None = None
        by = ANONYMOUS
        try:
            await self.lockout.count(partition, attempts_id)
            stored = await self.accounts.find(tenant, username) if tenant else None
            right = await self.accounts.hasher.verify(
                password, stored.value.password if stored else None
            )
            # Only here, and without forgetting the attempt: who is elsewhere must not learn whether the
            # password was right.
            here = partition.tenant != OPERATOR or self.staff_networks.admit(origin.address)
            if stored is None or not right or not self._usable(stored.value) or not here:
                raise SignInRefused("Invalid tenant, username or password.")
            # Whatever else may be wrong with the request: it was no guess.
            await self.lockout.forget(partition, attempts_id)
            kind = "employee" if partition.tenant == OPERATOR else "user"
            by = Actor(kind=kind, id=stored.value.id)
            user = await self._accepted(stored.value, password, new_password)
            entry = self.journal.entry(
                Action.SIGN_IN, user.id, by=by, tenant=partition.tenant, origin=origin
            )
            user = await self._commit(entry, stored, user)
        except StrongroomError as error:
            await self.journal.record_failure(
                error,
                Action.SIGN_IN,
                stored.value.id if stored else "",
                by=by,
                tenant=partition.tenant,
                origin=origin,
            )
            raise
        issued = await self.tokens.issue(user)
        return SignedIn(issued.token, issued.expires_at, user)

    async def authenticate(self, token: str, origin: Origin) -> Principal:
        """The principal that a token stands for at this time.

        Raises:
            TokenExpired: It has expired; the error names the user.
            TokenRevoked: The user's security version was raised since, or they were disabled; the error
                names the user.
            Unauthenticated: It is not a token of this environment.
        """
        claims = await self.tokens.read(token)

        async def confirm() -> None:
            # One reading for all requests of a user that are waiting for it: each begins after they do.
            known = await self._known.get((claims.tenant, claims.user))
            user = known.value if known else None
            if user is None or user.disabled or user.security_version != claims.security_version:
                revoked = TokenRevoked("The token was revoked; sign in again.")
                revoked.tenant, revoked.user = claims.tenant, claims.user
                raise revoked

        await confirm()
        return Principal(
            claims.tenant,
            claims.user,
            claims.roles,
            origin,
            signed_in_at=claims.issued_at,
            confirm=confirm,
        )

    async def change_password(self, principal: Principal, password: str, new_password: str) -> None:
        """Replace the caller's password; all their tokens are void at once.

        Raises:
            Conflict: The account was concurrently modified; nothing was done.
            InvalidInput: The new password is not acceptable.
            RateLimited: Too many failures in a row.
            SignInRefused: The present password is wrong.
        """
        partition = Partition(principal.tenant)
        attempts_id = hashlib.sha256(f"{principal.tenant}\n{principal.user}".encode()).hexdigest()
        try:
            stored = await self.accounts.load(principal.tenant, principal.user)
            await self.lockout.count(partition, attempts_id)
            if not await self.accounts.hasher.verify(password, stored.value.password):
                raise SignInRefused("The present password is wrong.")
            await self.lockout.forget(partition, attempts_id)
            user = await self._with_password(stored.value, password, new_password)
            entry = self.journal.entry(Action.PASSWORD_CHANGE, principal.user, by=principal)
            await self.accounts.commit_change(entry, [self.accounts.users.replace(stored, user)])
        except StrongroomError as error:
            await self.journal.record_failure(
                error, Action.PASSWORD_CHANGE, principal.user, by=principal
            )
            raise

    async def sign_out_everywhere(self, principal: Principal) -> None:
        """Revoke all of the caller's tokens, this one included.

        Raises:
            Unavailable: The account was concurrently modified all the time; try again.
        """

        async def attempt() -> None:
            stored = await self.accounts.load(principal.tenant, principal.user)
            user = stored.value.model_copy(
                update={"security_version": stored.value.security_version + 1}
            )
            entry = self.journal.entry(Action.SIGN_OUT, principal.user, by=principal)
            await self.journal.commit(entry, [self.accounts.users.replace(stored, user)])

        await retry_conflicts(attempt, self.runtime)

    async def own_account(self, principal: Principal) -> User:
        """The caller's account."""
        await self.journal.commit(
            self.journal.entry(Action.ACCOUNT_READ, principal.user, by=principal)
        )
        return (await self.accounts.load(principal.tenant, principal.user)).value

    async def _commit(self, entry: Entry, stored: Stored[User], accepted: User) -> User:
        """Commit a sign-in with what it changes about the user; return the user as they are then."""
        user = self._noted(accepted)
        changes = [self.accounts.users.replace(stored, user)] if user != stored.value else []
        try:
            await self.accounts.commit_change(entry, changes)
        except Conflict:
            if accepted != stored.value:
                raise
            # Nothing but the time was to be noted, and two sign-ins at once do not get in each other's way.
            await self.accounts.commit_change(entry, [])
            return accepted
        return user

    def _noted(self, user: User) -> User:
        """The user with the time of this sign-in, where that was last noted a day ago."""
        now, last = self.runtime.now(), user.last_sign_in_at
        if last is not None and timedelta(0) <= now - last < NOTED_EVERY:
            return user
        hour = now.replace(minute=0, second=0, microsecond=0)
        return user.model_copy(update={"last_sign_in_at": hour})

    def _usable(self, user: User) -> bool:
        expired = user.temporary_until is not None and user.temporary_until <= self.runtime.now()
        return bool(user.effective_roles) and not user.disabled and not expired

    async def _accepted(self, user: User, password: str, new_password: str | None) -> User:
        if user.temporary_until is not None:
            if new_password is None:
                raise PasswordChangeRequired(
                    "This is a temporary password; send new_password along with it."
                )
            return await self._with_password(user, password, new_password)
        if new_password is not None:
            raise InvalidInput("new_password replaces only a temporary password at sign-in.")
        if needs_rehash(user.password):
            return user.model_copy(update={"password": await self.accounts.hasher.hash(password)})
        return user

    async def _with_password(self, user: User, password: str, new_password: str) -> User:
        check_new_password(new_password)
        if new_password == password:
            raise InvalidInput("The new password must differ from the present one.")
        return user.model_copy(
            update={
                "password": await self.accounts.hasher.hash(new_password),
                "temporary_until": None,
                "security_version": user.security_version + 1,
            }
        )
