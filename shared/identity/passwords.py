"""Password hashing off the event loop, and not too much of it at once; replacing a password."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from shared.base.errors import InvalidInput
from shared.crypto import passwords
from shared.identity.models import User
from shared.ports.clock import Runtime

CONCURRENT: Final = 4
"""Hashes computed at the same time: each holds 64 MiB."""


@dataclass(slots=True)
class PasswordHasher:
    """Hashes and verifies passwords in threads, ``CONCURRENT`` at a time."""

    runtime: Runtime
    _slots: asyncio.Semaphore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(CONCURRENT)

    async def hash(self, password: str) -> str:
        """Return the password as an Argon2id PHC string."""
        async with self._slots:
            return await asyncio.to_thread(passwords.hash_password, password, self.runtime.random)

    async def verify(self, password: str, phc: str | None) -> bool:
        """Return whether the password is correct.

        Args:
            password: As sent by the client.
            phc: The stored hash; None where there is no such user, which takes just as long.
        """
        async with self._slots:
            correct = await asyncio.to_thread(
                passwords.verify_password, password, phc or passwords.DUMMY_HASH
            )
        return correct and phc is not None


async def with_own_password(
    user: User, current: str, new_password: str, hasher: PasswordHasher
) -> User:
    """Return the user with a password that they chose; their tokens of before are void.

    Args:
        user: As stored.
        current: The password that is replaced, verified.
        new_password: The user's choice.
        hasher: Hashes it.

    Raises:
        InvalidInput: The new password is not acceptable, or is the current one.
    """
    passwords.check_new_password(new_password)
    if new_password == current:
        raise InvalidInput("The new password must differ from the current one.")
    return user.model_copy(
        update={
            "password": await hasher.hash(new_password),
            "temporary_until": None,
            "security_version": user.security_version + 1,
        }
    )
