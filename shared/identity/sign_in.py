"""Sign-in: a tenant, a username and a password become a token; everything about failing at it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.access.principal import Origin, Principal
from shared.base.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PasswordChangeRequired,
    RateLimited,
    SignInRefused,
    StrongroomError,
    TokenRevoked,
    Unavailable,
)
from shared.crypto.passwords import check_new_password, needs_rehash
from shared.identity.accounts import Accounts, Stored
from shared.identity.models import SignInAttempts, User
from shared.identity.passwords import PasswordHasher
from shared.identity.tenants import Tenants
from shared.identity.tokens import Tokens
from shared.journal.entries import ANONYMOUS, Action, Actor
from shared.journal.journal import Journal
from shared.ports.clock import Clock
from shared.ports.records import DIRECTORY, Create, Delete, Record, RecordStore, Replace

ATTEMPTS_KIND: Final = "sign-in-attempts"
FREE_ATTEMPTS: Final = 10
FIRST_LOCK: Final = timedelta(minutes=1)
LONGEST_LOCK: Final = timedelta(minutes=30)
ATTEMPTS_KEPT: Final = timedelta(days=1)
RETRIES: Final = 10


class SignIn:
    """Turns credentials into tokens, and tokens into principals.

    Every attempt is counted, durably, before its password is looked at, so trying in parallel gains
    nothing; and it is counted for usernames that do not exist just the same, so the answers do not tell
    which ones do.

    Args:
        records: Where attempts are counted.
        journal: Commits changes with their audit entries.
        accounts: The people.
        tenants: The tenants.
        tokens: Issues and reads tokens.
        hasher: Password work.
        clock: Time.
    """

    def __init__(
        self,
        records: RecordStore,
        journal: Journal,
        accounts: Accounts,
        tenants: Tenants,
        tokens: Tokens,
        hasher: PasswordHasher,
        clock: Clock,
    ) -> None:
        self._records = records
        self._journal = journal
        self._accounts = accounts
        self._tenants = tenants
        self._tokens = tokens
        self._hasher = hasher
        self._clock = clock

    async def sign_in(
        self,
        slug: str,
        username: str,
        password: str,
        new_password: str | None,
        origin: Origin,
    ) -> tuple[str, datetime, User]:
        """A token, its expiry and its user.

        Args:
            slug: The tenant's, or ``operator`` for employees.
            username: Who.
            password: Their own, or a temporary one.
            new_password: Goes with a temporary password, and replaces it.
            origin: Where the request came from.

        Raises:
            Conflict: The account has just been changed; nothing was done.
            InvalidInput: The new password is not acceptable, or there is nothing for it to replace.
            PasswordChangeRequired: The password is temporary and no new one came with it.
            RateLimited: Too many failures in a row; the username is locked for a while.
            SignInRefused: Something did not fit; which thing is not said.
        """
        tenant = await self._tenants.resolve(slug)
        partition = tenant or DIRECTORY
        attempts_id = hashlib.sha256(f"{slug}\n{username}".encode()).hexdigest()
        stored: Stored | None = None
        by = ANONYMOUS
        try:
            await self._count_attempt(partition, attempts_id)
            stored = await self._find(tenant, username)
            right = await self._hasher.verify(password, stored.user.password if stored else None)
            if stored is None or not right or not self._usable(stored.user):
                raise SignInRefused("The tenant, the username or the password is wrong.")
            by = Actor(kind="employee" if partition == DIRECTORY else "user", id=stored.user.id)
            user = await self._accepted(stored, password, new_password)
            entry = self._journal.entry(
                Action.SIGN_IN, user.id, by=by, tenant=partition, origin=origin
            )
            await self._journal.commit(
                entry, [] if user == stored.user else [stored.replaced_by(user)]
            )
        except StrongroomError as error:
            await self._journal.record_failure(
                error,
                Action.SIGN_IN,
                stored.user.id if stored else "",
                by=by,
                tenant=partition,
                origin=origin,
            )
            raise
        await self._forget_attempts(partition, attempts_id)
        token, expires_at = await self._tokens.issue(user)
        return token, expires_at, user

    async def authenticate(self, token: str, origin: Origin) -> Principal:
        """Who a token stands for, at this moment.

        Raises:
            TokenExpired: Its two hours are over.
            TokenRevoked: The user's security epoch has moved on, or they were disabled.
            Unauthenticated: It is not one of ours.
        """
        claims, roles = await self._tokens.read(token)
        try:
            user = (await self._accounts.load(claims.tenant, claims.user)).user
        except NotFound:
            user = None
        if user is None or user.disabled or user.security_version != claims.security_version:
            raise TokenRevoked("The token was revoked; sign in again.")
        return Principal(claims.tenant, claims.user, roles, origin)

    async def change_password(self, principal: Principal, password: str, new_password: str) -> None:
        """Replace the caller's password; all their tokens are void at once.

        Raises:
            Conflict: The account has just been changed; nothing was done.
            InvalidInput: The new password is not acceptable.
            RateLimited: Too many failures in a row.
            SignInRefused: The present password is wrong.
        """
        attempts_id = hashlib.sha256(f"{principal.tenant}\n{principal.user}".encode()).hexdigest()
        try:
            stored = await self._accounts.load(principal.tenant, principal.user)
            await self._count_attempt(principal.tenant, attempts_id)
            if not await self._hasher.verify(password, stored.user.password):
                raise SignInRefused("The present password is wrong.")
            user = await self._with_password(stored.user, password, new_password)
            entry = self._journal.entry(Action.PASSWORD_CHANGE, principal.user, by=principal)
            await self._journal.commit(entry, [stored.replaced_by(user)])
        except StrongroomError as error:
            await self._journal.record_failure(
                error, Action.PASSWORD_CHANGE, principal.user, by=principal
            )
            raise
        await self._forget_attempts(principal.tenant, attempts_id)

    async def sign_out_everywhere(self, principal: Principal) -> None:
        """Void all of the caller's tokens, this one included."""
        for _ in range(RETRIES):
            stored = await self._accounts.load(principal.tenant, principal.user)
            user = stored.user.model_copy(
                update={"security_version": stored.user.security_version + 1}
            )
            entry = self._journal.entry(Action.SIGN_OUT, principal.user, by=principal)
            try:
                await self._journal.commit(entry, [stored.replaced_by(user)])
            except Conflict:
                continue
            return
        raise Unavailable("The account is being changed from elsewhere; try again.")

    async def own_account(self, principal: Principal) -> User:
        """The caller's account."""
        await self._journal.commit(
            self._journal.entry(Action.ACCOUNT_READ, principal.user, by=principal)
        )
        return (await self._accounts.load(principal.tenant, principal.user)).user

    async def _find(self, tenant: str | None, username: str) -> Stored | None:
        if tenant is None:
            return None
        try:
            return await self._accounts.find(tenant, username)
        except NotFound:
            return None

    def _usable(self, user: User) -> bool:
        given_out_too_long = (
            user.temporary_until is not None and user.temporary_until <= self._clock.now()
        )
        return not user.disabled and not given_out_too_long

    async def _accepted(self, stored: Stored, password: str, new_password: str | None) -> User:
        user = stored.user
        if user.temporary_until is not None:
            if new_password is None:
                raise PasswordChangeRequired(
                    "This is a temporary password; send new_password along with it."
                )
            return await self._with_password(user, password, new_password)
        if new_password is not None:
            raise InvalidInput("new_password replaces only a temporary password at sign-in.")
        if needs_rehash(user.password):
            return user.model_copy(update={"password": await self._hasher.hash(password)})
        return user

    async def _with_password(self, user: User, password: str, new_password: str) -> User:
        check_new_password(new_password)
        if new_password == password:
            raise InvalidInput("The new password must differ from the present one.")
        return user.model_copy(
            update={
                "password": await self._hasher.hash(new_password),
                "temporary_until": None,
                "security_version": user.security_version + 1,
            }
        )

    async def _count_attempt(self, partition: str, attempts_id: str) -> None:
        for _ in range(RETRIES):
            now = self._clock.now()
            try:
                record = await self._records.get(partition, ATTEMPTS_KIND, attempts_id)
            except NotFound:
                record = None
            attempts = SignInAttempts.model_validate(record.body if record else {"count": 0})
            if attempts.locked_until is not None and attempts.locked_until > now:
                wait = int((attempts.locked_until - now).total_seconds()) + 1
                raise RateLimited("Too many failed attempts in a row; try again later.", wait)
            count = attempts.count + 1
            body = SignInAttempts(count=count, locked_until=_locked_until(count, now))
            counted = replace(
                record or Record(partition, ATTEMPTS_KIND, attempts_id, {}),
                body=body.model_dump(mode="json"),
                expires_at=now + ATTEMPTS_KEPT,
            )
            try:
                await self._records.commit(
                    partition, [Replace(counted) if record else Create(counted)]
                )
            except Conflict:
                continue
            return
        raise RateLimited("Too many attempts at once; try again later.", 1)

    async def _forget_attempts(self, partition: str, attempts_id: str) -> None:
        try:
            await self._records.commit(partition, [Delete(ATTEMPTS_KIND, attempts_id)])
        except Conflict:
            return  # another sign-in of the same user has done it


def _locked_until(count: int, now: datetime) -> datetime | None:
    if count < FREE_ATTEMPTS:
        return None
    doublings = min(count - FREE_ATTEMPTS, 10)
    return now + min(FIRST_LOCK * (1 << doublings), LONGEST_LOCK)
