"""Password hashing off the event loop, and not too much of it at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from shared.crypto import passwords
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
