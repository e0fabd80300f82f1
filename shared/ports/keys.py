"""KeyVault: keys that never leave it, used by name and version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

KeyUse = Literal["wrap", "sign"]
"""``wrap``: RSA-3072, RSA-OAEP with SHA-256. ``sign``: EC P-256, ES256."""

MAX_PLAINTEXT_BYTES: Final = 64
"""What one ``wrap`` takes."""

DIGEST_BYTES: Final = 32
"""The size of a SHA-256 digest."""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key under a vault key: which name and version wrapped it, and the ciphertext."""

    name: str
    version: str
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """An ES256 signature in the raw form of RFC 7518 section 3.4 (r and s, 32 bytes each)."""

    name: str
    version: str
    value: bytes


class KeyVault(Protocol):
    """A vault of asymmetric keys.

    Key names are ``[a-z0-9-]``, 1 to 127 characters; any other name raises ``ValueError``. Errors of
    the service behind it become ``Unavailable`` once the adapter's own retries are used up.
    """

    async def create(self, name: str, use: KeyUse) -> str:
        """Create the key and return its version; where it exists, return the current version.

        Raises:
            Conflict: A key of this name exists for another use, or was destroyed.
        """
        ...

    async def wrap(self, name: str, plaintext: bytes) -> WrappedKey:
        """Wrap at most 64 bytes under the current version (RSA-OAEP, SHA-256, MGF1-SHA-256).

        Raises:
            NotFound: There is no such key.
            ValueError: The plaintext is longer than ``MAX_PLAINTEXT_BYTES``, or the key is for signing.
        """
        ...

    async def unwrap(self, wrapped: WrappedKey) -> bytes:
        """Undo ``wrap``, under whichever version did it.

        Raises:
            NotFound: The key or its version does not exist, or was destroyed.
            Damaged: The ciphertext is not one that this version made.
        """
        ...

    async def sign(self, name: str, digest: bytes) -> Signature:
        """Sign a SHA-256 digest (32 bytes) with the current version.

        Raises:
            NotFound: There is no such key.
            ValueError: The digest does not have ``DIGEST_BYTES`` bytes, or the key is for wrapping.
        """
        ...

    async def public_key(self, name: str, version: str | None = None) -> bytes:
        """The public key as PEM SubjectPublicKeyInfo; of the current version unless one is named.

        Raises:
            NotFound: The key or version does not exist.
        """
        ...

    async def rotate(self, name: str) -> str:
        """Make a new current version and return it; older versions go on unwrapping and verifying.

        Raises:
            NotFound: There is no such key.
        """
        ...

    async def destroy(self, name: str) -> None:
        """Remove every version for good; where there is no such key, do nothing."""
        ...
