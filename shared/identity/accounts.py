"""Accounts: users are added, given temporary passwords, changed, disabled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from shared.access.permissions import Permission, Role, check_roles, may
from shared.access.principal import Principal
from shared.base.errors import Conflict, InvalidInput, PreconditionFailed
from shared.base.listing import Listing
from shared.base.partitions import OPERATOR, Partition
from shared.crypto.passwords import temporary_password
from shared.identity.models import User, UsernameReservation
from shared.identity.passwords import PasswordHasher
from shared.identity.persons import check_person
from shared.identity.reservations import find_reservation, username_id
from shared.identity.usernames import canonical
from shared.journal.collections import Collection, Stored
from shared.journal.entries import Action, Details, Entry
from shared.journal.idempotency import Idempotency, IdempotencyKey
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from shared.ports.records import Change, RecordStore

USER_KIND: Final = "user"
USERNAME_KIND: Final = "username"
TEMPORARY_PASSWORD_LIFETIME: Final = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class TemporaryPassword:
    """A temporary password and its user.

    Attributes:
        password: Works once, for 2 hours; shown here and never again. None where an earlier request
            under the same Idempotency-Key has shown it.
        user: Whose it is.
    """

    password: str | None
    user: User


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to be created: their temporary password, and the changes that create them."""

    temporary: TemporaryPassword
    changes: Sequence[Change]


@dataclass(slots=True)
class Accounts:
    """Users of tenants, and employees."""

    records: RecordStore
    journal: Journal
    hasher: PasswordHasher
    idempotency: Idempotency
    runtime: Runtime
    users: Collection[User] = field(init=False)
    _usernames: Collection[UsernameReservation] = field(init=False)

    def __post_init__(self) -> None:
        self.users = Collection(
            self.records,
            User,
            USER_KIND,
            lambda user: user.id,
            missing="There is no such user in your tenant.",
        )
        self._usernames = Collection(self.records, UsernameReservation, USERNAME_KIND)

    async def find(self, tenant: str, username: str) -> Stored[User] | None:
        """The user with this username, as it was typed; None where there is none."""
        owner = await find_reservation(self._usernames, Partition(tenant), username)
        return None if owner is None else await self.load(tenant, owner.value.user)

    async def load(self, tenant: str, user: str) -> Stored[User]:
        """The user with this id.

        Raises:
            NotFound: There is no such user.
        """
        return await self.users.get(Partition(tenant), user)

    async def known(self, tenant: str, user: str) -> Stored[User] | None:
        """The user with this id; None where there is none."""
        return await self.users.find(Partition(tenant), user)

    async def draft(
        self, tenant: str, username: str, roles: tuple[Role, ...], account_of: str = ""
    ) -> NewUser:
        """A new user with a temporary password, not yet committed.

        Args:
            tenant: Theirs.
            username: As it was sent.
            roles: Theirs.
            account_of: See ``User``.

        Raises:
            InvalidInput: The roles do not fit the tenant, or the username is not valid.
        """
        check_roles(tenant, roles)
        try:
            username = canonical(username)
        except ValueError as error:
            raise InvalidInput(str(error)) from None
        now = self.runtime.now()
        password = temporary_password(self.runtime.random)
        user = User(
            id=self.runtime.new_id("usr", now),
            tenant=tenant,
            username=username,
            roles=roles,
            password=await self.hasher.hash(password),
            temporary_until=now + TEMPORARY_PASSWORD_LIFETIME,
            created_at=now,
            account_of=account_of,
        )
        partition = Partition(tenant)
        owner = UsernameReservation(user=user.id)
        return NewUser(
            TemporaryPassword(password, user),
            [
                self.users.create(partition, user),
                self._usernames.create(partition, owner, username_id(user.username)),
            ],
        )

    async def create(
        self,
        principal: Principal,
        username: str,
        roles: tuple[Role, ...],
        key: IdempotencyKey | None,
        account_of: str = "",
    ) -> TemporaryPassword:
        """Add a user to the caller's tenant.

        A repeated request returns the user as they were created, without the password.

        Args:
            principal: Who adds them.
            username: As it was sent.
            roles: Theirs.
            key: Of the request.
            account_of: The first account of the employee who gets another one; empty: it is their first.

        Raises:
            Conflict: The username is taken, or an employee's e-mail address.
            IdempotencyKeyReused: The key belongs to a different request.
            InvalidInput: The roles do not fit the tenant or the person's other accounts, the username is
                not valid, or ``account_of`` is no employee's first account.
            TokenRevoked: The caller may no longer act; nothing was done.
        """
        partition = Partition(principal.tenant)
        request: dict[str, object] = {"username": username, "roles": sorted(roles)}
        facts: Details = {"roles": sorted(roles)}
        if account_of:
            request["account_of"] = facts["account_of"] = account_of
        made = await self.idempotency.replayed(key, request, partition)
        if made is None:
            await self.check_no_employee(principal.tenant, username)
            new = await self.draft(principal.tenant, username, roles, account_of)
            user = new.temporary.user
            person = [self.users.touch(each) for each in await check_person(self.users, user)]
            entry = self.journal.entry(Action.USER_CREATE, user.id, by=principal, details=facts)
            remembered = self.idempotency.remember(key, request, user.id, partition)
            await principal.confirm()  # hashing may have had to wait
            try:
                if await self.find(principal.tenant, username) is not None:
                    raise Conflict("The username is taken, maybe in a former form.")
                await self.journal.commit(entry, [*new.changes, *person, *remembered])
            except Conflict:
                made = await self.idempotency.replayed(key, request, partition)
                if made is None:
                    raise Conflict(
                        "This username is taken in your tenant; choose another."
                    ) from None
            else:
                return new.temporary
        return TemporaryPassword(None, as_created((await self.read(principal, made)).value, roles))

    async def check_no_employee(self, tenant: str, username: str) -> None:
        """Refuse an employee's e-mail address as the username of a tenant's user.

        So nobody gets at a tenant's data as one of its users instead of under a grant. An address that an
        employee takes later is not looked for in the tenants.

        Raises:
            Conflict: It is one.
        """
        if tenant == OPERATOR or "@" not in username:
            return
        if await self.find(OPERATOR, username) is not None:
            raise Conflict("This username cannot be used in a tenant; choose another.")

    async def page(self, principal: Principal, *, limit: int, cursor: str | None) -> Listing[User]:
        """A page of the caller's tenant's users, oldest first.

        Raises:
            InvalidInput: The cursor does not belong to this list.
        """
        page = await self.users.page(
            Partition(principal.tenant), limit=limit, cursor=cursor, tolerant=True
        )
        await self.journal.commit(self.journal.entry(Action.USER_LIST, by=principal))
        return Listing([stored.value for stored in page.items], page.cursor, page.damaged)

    async def read(self, principal: Principal, user: str) -> Stored[User]:
        """A user of the caller's tenant.

        Raises:
            NotFound: There is no such user.
        """
        stored = await self.load(principal.tenant, user)
        await self.journal.commit(self.journal.entry(Action.USER_READ, user, by=principal))
        return stored

    async def change(
        self,
        principal: Principal,
        user: str,
        *,
        roles: tuple[Role, ...] | None,
        disabled: bool | None,
        if_match: str | None,
    ) -> Stored[User]:
        """Change a user's roles or disable them; all their tokens are void at once.

        A tenant always has a user who manages its users: the caller, who cannot change their own
        account, and whose own right is part of the commit that takes it from another.

        Raises:
            Conflict: It is the caller's own account, it was concurrently modified, or the caller has
                just lost the right.
            InvalidInput: The roles do not fit the tenant, or the person's other accounts.
            NotFound: There is no such user.
            PreconditionFailed: The user's etag is not ``if_match``.
        """
        stored = await self.load(principal.tenant, user)
        if if_match is not None and if_match != stored.etag:
            raise PreconditionFailed("The user was changed since you read it; read it again.")
        if user == principal.user:
            raise Conflict("You cannot change your own roles; ask another administrator.")
        changes: dict[str, object] = {"security_version": stored.value.security_version + 1}
        if roles is not None:
            check_roles(principal.tenant, roles)
            changes["roles"] = roles
            # A review has to lift a suspension, so a role that stays does not come back by this.
            still = tuple(role for role in stored.value.suspended_roles if role in roles)
            changes["suspended_roles"] = still
        if disabled is not None:
            changes["disabled"] = disabled
        changed = stored.value.model_copy(update=changes)
        read = {}
        if roles is not None:
            read = {each.value.id: each for each in await check_person(self.users, changed)}
        if _manages(stored.value) and not _manages(changed):
            caller = await self.load(principal.tenant, principal.user)
            if not _manages(caller.value):
                raise Conflict("Your own account has just been changed; nothing was done.")
            read[caller.value.id] = caller
        entry = self.journal.entry(
            Action.USER_CHANGE,
            user,
            by=principal,
            details={"roles": sorted(changed.roles), "disabled": int(changed.disabled)},
        )
        touched = [self.users.touch(each) for each in read.values()]
        await self.commit_change(entry, [self.users.replace(stored, changed), *touched])
        return await self.load(principal.tenant, user)

    async def give_temporary_password(self, principal: Principal, user: str) -> TemporaryPassword:
        """Replace a user's password with a temporary one; all their tokens are void at once.

        Raises:
            Conflict: It is the caller's own account, or it was concurrently modified; nothing was done.
            NotFound: There is no such user.
            TokenRevoked: The caller may no longer act; nothing was done.
        """
        stored = await self.load(principal.tenant, user)
        if user == principal.user:
            # A stolen token must not lead to a password.
            raise Conflict(
                "You cannot give yourself a temporary password; change your password instead."
            )
        password = temporary_password(self.runtime.random)
        hashed = await self.hasher.hash(password)
        await principal.confirm()  # hashing may have had to wait
        changed = stored.value.model_copy(
            update={
                "password": hashed,
                "temporary_until": self.runtime.now() + TEMPORARY_PASSWORD_LIFETIME,
                "security_version": stored.value.security_version + 1,
            }
        )
        entry = self.journal.entry(Action.USER_TEMPORARY_PASSWORD, user, by=principal)
        await self.commit_change(entry, [self.users.replace(stored, changed)])
        return TemporaryPassword(password, changed)

    async def commit_change(self, entry: Entry, changes: Sequence[Change]) -> None:
        """Commit changes of existing accounts.

        Raises:
            Conflict: An account was concurrently modified; nothing was changed.
        """
        try:
            await self.journal.commit(entry, changes)
        except Conflict:
            raise Conflict(
                "The account was modified at the same time; nothing was changed. Try again."
            ) from None


def as_created(user: User, roles: tuple[Role, ...]) -> User:
    """A user as they were created with these roles, whatever was changed since."""
    return user.model_copy(
        update={
            "roles": roles,
            "suspended_roles": (),
            "disabled": False,
            "last_sign_in_at": None,
            "temporary_until": user.created_at + TEMPORARY_PASSWORD_LIFETIME,
        }
    )


def _manages(user: User) -> bool:
    return not user.disabled and may(user.effective_roles, Permission.USERS_MANAGE)
