"""Roles of users, as reviews suspend, restore and remove them; a tenant never loses its last manager.

Each change raises the user's security version, so that all of their tokens are void at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.access.permissions import Permission, Role
from shared.base.errors import Conflict
from shared.base.partitions import Partition
from shared.identity.accounts import Accounts
from shared.identity.models import User
from shared.journal.collections import Stored
from shared.ports.records import Change
from shared.reviews.rules import lost, may_at_present

MOST_KNOWN: Final = 1_000
"""Of how many tenants a process remembers who stays."""


class LastManager(Conflict):
    """Nobody else of the tenant could do what this user would lose."""


@dataclass(slots=True)
class Assignments:
    """Makes the changes to users.

    Attributes:
        accounts: Knows them.
    """

    accounts: Accounts
    _keepers: dict[tuple[str, Permission], str] = field(init=False, default_factory=dict)

    async def change(self, stored: Stored[User], changed: User) -> Sequence[Change]:
        """The changes, for one commit, that make a user of another.

        What others must have for it to be sound is a part of the commit.

        Raises:
            LastManager: Nobody else manages users, or reviews, at present.
        """
        keepers: dict[str, Stored[User]] = {}
        for permission in lost(stored.value, changed):
            keeper = await self._keeper(stored.value, permission)
            keepers[keeper.value.id] = keeper
        return [
            self.accounts.users.replace(stored, changed),
            *(self.accounts.users.touch(keeper) for keeper in keepers.values()),
        ]

    async def _keeper(self, leaving: User, permission: Permission) -> Stored[User]:
        """Another user who has the permission: the one found before, or else the newest."""
        key = (leaving.tenant, permission)
        known = self._keepers.pop(key, "")
        if known and known != leaving.id:
            stored = await self.accounts.known(leaving.tenant, known)
            if stored is not None and may_at_present(stored.value, permission):
                self._keepers[key] = known
                return stored
        # Items are walked from the oldest user on, so the newest is the one who leaves last.
        async for stored in self.accounts.users.scan(Partition(leaving.tenant), order="descending"):
            if stored.value.id != leaving.id and may_at_present(stored.value, permission):
                if len(self._keepers) >= MOST_KNOWN:
                    self._keepers.clear()
                self._keepers[key] = stored.value.id
                return stored
        raise LastManager("Nobody else could do what this user would lose; appoint another first.")


def suspended(user: User, role: Role) -> User:
    """The user with one role suspended."""
    return _changed(user, user.roles, (*user.suspended_roles, role))


def restored(user: User, role: Role) -> User:
    """The user with one role that is not suspended any more."""
    still = tuple(each for each in user.suspended_roles if each is not role)
    return _changed(user, user.roles, still)


def removed(user: User, role: Role) -> User:
    """The user without a role; one who is left without any is disabled."""
    roles = tuple(each for each in user.roles if each is not role)
    still = tuple(each for each in user.suspended_roles if each is not role)
    left = _changed(user, roles, still)
    return left if roles else left.model_copy(update={"disabled": True})


def _changed(user: User, roles: tuple[Role, ...], suspended_roles: tuple[Role, ...]) -> User:
    return user.model_copy(
        update={
            "roles": roles,
            "suspended_roles": tuple(dict.fromkeys(suspended_roles)),
            "security_version": user.security_version + 1,
        }
    )
