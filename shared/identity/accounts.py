"""Accounts: people are added, given temporary passwords, changed, disabled."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from shared.access.permissions import STAFF_ROLES, Permission, Role, may
from shared.access.principal import Principal
from shared.base.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from shared.base.ids import new_id
from shared.crypto.passwords import temporary_password
from shared.identity.models import User
from shared.identity.passwords import PasswordHasher
from shared.journal.entries import Action
from shared.journal.idempotency import Idempotency, IdempotencyKey
from shared.journal.journal import Journal
from shared.ports.clock import Clock, Entropy
from shared.ports.records import DIRECTORY, Change, Create, Record, RecordStore, Replace

USER_KIND: Final = "user"
USERNAME_KIND: Final = "username"
TEMPORARY_PASSWORD_LIFETIME: Final = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Stored:
    """A user as last committed, with the etag to change it under."""

    user: User
    record: Record

    @property
    def etag(self) -> str:
        """The record's etag."""
        return self.record.etag

    def replaced_by(self, user: User) -> Change:
        """The change to ``user``, which holds only if nobody changed the record since."""
        return Replace(replace(self.record, body=user.model_dump(mode="json")))


@dataclass(frozen=True, slots=True)
class TemporaryPassword:
    """A password to give out: it works once, until ``expires_at``. It is shown here and never again."""

    password: str
    user: User


def username_id(username: str) -> str:
    """Where a username is reserved."""
    return hashlib.sha256(username.encode()).hexdigest()


class Accounts:
    """People of tenants, and employees.

    Args:
        records: The record store.
        journal: Commits changes with their audit entries.
        hasher: Password work.
        idempotency: Remembers outcomes of POSTs.
        clock: Time.
        entropy: Randomness.
    """

    def __init__(
        self,
        records: RecordStore,
        journal: Journal,
        hasher: PasswordHasher,
        idempotency: Idempotency,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._records = records
        self._journal = journal
        self._hasher = hasher
        self._idempotency = idempotency
        self._clock = clock
        self._entropy = entropy

    async def find(self, tenant: str, username: str) -> Stored:
        """The person with this username.

        Raises:
            NotFound: There is none.
        """
        name = await self._records.get(tenant, USERNAME_KIND, username_id(username))
        return await self.load(tenant, name.body["user"])

    async def load(self, tenant: str, user: str) -> Stored:
        """The person with this id.

        Raises:
            NotFound: There is none.
        """
        record = await self._records.get(tenant, USER_KIND, user)
        return Stored(User.model_validate(record.body), record)

    async def draft(
        self, tenant: str, username: str, roles: tuple[Role, ...]
    ) -> tuple[TemporaryPassword, list[Change]]:
        """A new person with a temporary password, and the changes that add them.

        Raises:
            InvalidInput: The roles do not fit the tenant.
        """
        check_roles(tenant, roles)
        now = self._clock.now()
        password = temporary_password(self._entropy)
        user = User(
            id=new_id("usr", now, self._entropy),
            tenant=tenant,
            username=username,
            roles=roles,
            password=await self._hasher.hash(password),
            temporary_until=now + TEMPORARY_PASSWORD_LIFETIME,
            created_at=now,
        )
        changes: list[Change] = [
            Create(Record(tenant, USER_KIND, user.id, user.model_dump(mode="json"))),
            Create(Record(tenant, USERNAME_KIND, username_id(user.username), {"user": user.id})),
        ]
        return TemporaryPassword(password, user), changes

    async def create(
        self,
        principal: Principal,
        username: str,
        roles: tuple[Role, ...],
        key: IdempotencyKey | None,
    ) -> TemporaryPassword:
        """Add a person to the caller's tenant.

        A replayed request reads the same person, with an empty password: it was shown once.

        Raises:
            Conflict: The username is taken.
            IdempotencyKeyReused: The key belongs to another request.
            InvalidInput: The roles do not fit the tenant.
        """
        request = {"username": username, "roles": sorted(roles)}
        made = await self._idempotency.replayed(key, request)
        if made is None:
            temporary, changes = await self.draft(principal.tenant, username, roles)
            user = temporary.user
            entry = self._journal.entry(
                Action.USER_CREATE, user.id, by=principal, details={"roles": sorted(roles)}
            )
            try:
                await self._journal.commit(
                    entry, [*changes, *self._idempotency.remember(key, request, user.id)]
                )
            except Conflict:
                made = await self._idempotency.replayed(key, request)
                if made is None:
                    raise Conflict(
                        "This username is taken in your tenant; choose another."
                    ) from None
            else:
                return temporary
        return TemporaryPassword("", (await self.read(principal, made)).user)

    async def page(
        self, principal: Principal, *, limit: int, cursor: str | None
    ) -> tuple[list[User], str | None]:
        """A page of the caller's tenant's people, oldest first, and the next cursor.

        Raises:
            InvalidInput: The cursor is not one of ours.
        """
        page = await self._records.query(
            USER_KIND, tenant=principal.tenant, limit=limit, cursor=cursor
        )
        await self._journal.commit(self._journal.entry(Action.USER_LIST, by=principal))
        return [User.model_validate(record.body) for record in page.records], page.cursor

    async def read(self, principal: Principal, user: str) -> Stored:
        """One person of the caller's tenant.

        Raises:
            NotFound: There is none.
        """
        stored = await self._of_tenant(principal, user)
        await self._journal.commit(self._journal.entry(Action.USER_READ, user, by=principal))
        return stored

    async def change(
        self,
        principal: Principal,
        user: str,
        *,
        roles: tuple[Role, ...] | None,
        disabled: bool | None,
        if_match: str | None,
    ) -> Stored:
        """Change a person's roles or disable them; all their tokens are void at once.

        A tenant always has somebody who manages its people: the caller, who cannot change their own
        account, and whose own right is part of the commit that takes it from another.

        Raises:
            Conflict: It is the caller's own account, it has just been changed, or the caller has just
                lost the right.
            InvalidInput: The roles do not fit the tenant.
            NotFound: There is no such person.
            PreconditionFailed: The person's etag is not ``if_match``.
        """
        stored = await self._of_tenant(principal, user)
        if if_match is not None and if_match != stored.etag:
            raise PreconditionFailed("The person was changed since you read them; read again.")
        if user == principal.user:
            raise Conflict("Nobody changes their own roles; ask another administrator.")
        changes: dict[str, object] = {"security_version": stored.user.security_version + 1}
        if roles is not None:
            check_roles(principal.tenant, roles)
            changes["roles"] = roles
        if disabled is not None:
            changes["disabled"] = disabled
        changed = stored.user.model_copy(update=changes)
        commit = [stored.replaced_by(changed)]
        if _manages(stored.user) and not _manages(changed):
            caller = await self.load(principal.tenant, principal.user)
            if not _manages(caller.user):
                raise Conflict("Your own account has just been changed; nothing was done.")
            commit.append(caller.replaced_by(caller.user))
        entry = self._journal.entry(
            Action.USER_CHANGE,
            user,
            by=principal,
            details={"roles": sorted(changed.roles), "disabled": int(changed.disabled)},
        )
        await self._journal.commit(entry, commit)
        return await self.load(principal.tenant, user)

    async def give_temporary_password(self, principal: Principal, user: str) -> TemporaryPassword:
        """Replace a person's password with a temporary one; all their tokens are void at once.

        Raises:
            Conflict: It is the caller's own account, or it has just been changed; nothing was done.
            NotFound: There is no such person.
        """
        stored = await self._of_tenant(principal, user)
        if user == principal.user:
            # Whoever holds a token, and not the password, must not come by one.
            raise Conflict(
                "Nobody gives a password to themselves; change yours with the present one."
            )
        password = temporary_password(self._entropy)
        changed = stored.user.model_copy(
            update={
                "password": await self._hasher.hash(password),
                "temporary_until": self._clock.now() + TEMPORARY_PASSWORD_LIFETIME,
                "security_version": stored.user.security_version + 1,
            }
        )
        entry = self._journal.entry(Action.USER_TEMPORARY_PASSWORD, user, by=principal)
        await self._journal.commit(entry, [stored.replaced_by(changed)])
        return TemporaryPassword(password, changed)

    async def _of_tenant(self, principal: Principal, user: str) -> Stored:
        try:
            return await self.load(principal.tenant, user)
        except NotFound:
            raise NotFound("There is no such person in your tenant.") from None


def _manages(user: User) -> bool:
    return not user.disabled and may(user.roles, Permission.USERS_MANAGE)


def check_roles(tenant: str, roles: tuple[Role, ...]) -> None:
    """Refuse an empty or doubled list, and roles that are not for people of this tenant.

    Raises:
        InvalidInput: As said.
    """
    if not roles or len(set(roles)) != len(roles):
        raise InvalidInput("Give at least one role, each once.")
    fitting = STAFF_ROLES if tenant == DIRECTORY else frozenset(Role) - STAFF_ROLES
    if not set(roles) <= fitting:
        raise InvalidInput(f"Only these roles exist here: {', '.join(sorted(fitting))}.")
