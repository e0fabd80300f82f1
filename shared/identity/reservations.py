"""Which user has a username, in whichever form it was reserved."""

from __future__ import annotations

import hashlib

from shared.base.partitions import Partition
from shared.identity.models import UsernameReservation
from shared.identity.usernames import forms
from shared.journal.collections import Collection, Stored


def username_id(username: str) -> str:
    """The id under which a username is reserved."""
    return hashlib.sha256(username.encode()).hexdigest()


async def find_reservation(
    usernames: Collection[UsernameReservation], partition: Partition, username: str
) -> Stored[UsernameReservation] | None:
    """Who has a username, in whichever form it was reserved; None where nobody has it."""
    for form in forms(username):
        found = await usernames.find(partition, username_id(form))
        if found is not None:
            return found
    return None
