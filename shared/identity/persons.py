"""The accounts of one employee count together: no second account is a way around a rule about people."""

from __future__ import annotations

from collections.abc import Sequence

from shared.access.permissions import separated
from shared.base.errors import InvalidInput
from shared.base.partitions import OPERATOR, Partition
from shared.identity.models import User
from shared.journal.collections import Collection, Stored


async def check_person(users: Collection[User], user: User) -> Sequence[Stored[User]]:
    """Check an account that is about to be created or changed against the others of the same person.

    Disabled accounts count, as they can be enabled again.

    Args:
        users: Where accounts are.
        user: The account as it is to be.

    Returns:
        What the same commit has to touch: the person's first account. So of two accounts that are given
        roles at the same time the second fails, and is checked anew when the request is repeated.

    Raises:
        InvalidInput: Its roles and those of another account must not be one person's, it names no first
            account of an employee, or it is not an employee's and names one.
    """
    if user.tenant != OPERATOR:
        if user.account_of:
            raise InvalidInput("Only employees have several accounts; leave out `account_of`.")
        return []
    others = [
        stored
        async for stored in users.scan(Partition(OPERATOR))
        if stored.value.person == user.person and stored.value.id != user.id
    ]
    first = [stored for stored in others if not stored.value.account_of]
    if user.account_of and not first:
        raise InvalidInput("Send the id of the employee's first account as `account_of`.")
    roles = [*user.roles, *(role for stored in others for role in stored.value.roles)]
    if pair := separated(roles):
        raise InvalidInput(
            f"Nobody has both of these roles, under several accounts either: {', '.join(pair)}."
        )
    return first
