"""Password work off the event loop, and not too much of it at once."""

from __future__ import annotations

import asyncio
from typing import Final

from shared.crypto import passwords
from shared.ports.clock import Entropy

# Each Argon2id computation holds 64 MiB.
CONCURRENT: Final = 4


class PasswordHasher:
    """Hashes and verifies passwords in threads, ``CONCURRENT`` at a time.

    Args:
        entropy: Randomness for salts.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._slots = asyncio.Semaphore(CONCURRENT)

    async def hash(self, password: str) -> str:
        """The password as an Argon2id PHC string."""
        async with self._slots:
            return await asyncio.to_thread(passwords.hash_password, password, self._entropy)

    async def verify(self, password: str, phc: str | None) -> bool:
        """Whether the password is right; as slow for no user at all (None) as for a wrong password."""
        async with self._slots:
            right = await asyncio.to_thread(
                passwords.verify_password, password, phc or passwords.DUMMY_HASH
            )
        return right and phc is not None
