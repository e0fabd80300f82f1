"""Sealed metadata: file names, content hashes and custom fields, encrypted into a record.

The form is a version byte (1), a 12-byte random nonce, and AES-256-GCM (NIST SP 800-38D) of padded
JSON. The key is HKDF-SHA256 (RFC 5869) of the epoch key, so that the epoch key itself only wraps.
Random nonces are safe for 2^32 values a key; an epoch ends long before.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.base.errors import Damaged
from shared.crypto.binding import bind
from shared.crypto.keys import KEY_SIZE

VERSION: Final = b"\x01"
NONCE_SIZE: Final = 12
BLOCK_SIZE: Final = 128
"""JSON is padded to a multiple of this, bytes, so that the size tells little about a name."""

_CIPHERTEXT_START: Final = len(VERSION) + NONCE_SIZE
_SUBKEY_INFO: Final = b"strongroom/metadata/1"


class MetadataKey:
    """The key that an epoch key derives, for many values: deriving it costs more than sealing one.

    Args:
        epoch_key: The tenant's epoch key, 32 bytes.

    Raises:
        ValueError: An epoch key of another size.
    """

    __slots__ = ("_aead",)

    def __init__(self, epoch_key: bytes) -> None:
        if len(epoch_key) != KEY_SIZE:
            raise ValueError("an epoch key has 32 bytes")
        self._aead = AESGCM(HKDF(SHA256(), 32, salt=None, info=_SUBKEY_INFO).derive(epoch_key))

    def seal(
        self, associated_data: bytes, value: dict[str, Any], entropy: Callable[[int], bytes]
    ) -> bytes:
        """Seal a JSON object.

        Args:
            associated_data: What the value is bound to, from ``metadata_associated_data``.
            value: Anything that JSON can represent.
            entropy: Cryptographically secure random bytes.

        Raises:
            ValueError: A value that JSON cannot represent.
        """
        text = json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
        padded = text.ljust(-(-len(text) // BLOCK_SIZE) * BLOCK_SIZE)
        nonce = entropy(NONCE_SIZE)
        return VERSION + nonce + self._aead.encrypt(nonce, padded, associated_data)

    def open(self, associated_data: bytes, sealed: bytes) -> dict[str, Any]:
        """Undo ``seal``.

        Raises:
            Damaged: ``sealed`` was not made under this key for this associated data, or was changed.
        """
        try:
            if not sealed.startswith(VERSION):
                raise ValueError
            nonce = sealed[len(VERSION) : _CIPHERTEXT_START]
            value = json.loads(
                self._aead.decrypt(nonce, sealed[_CIPHERTEXT_START:], associated_data)
            )
            if not isinstance(value, dict):
                raise ValueError
        except (InvalidTag, ValueError):
            raise Damaged("The sealed metadata is not what was written.") from None
        return value


def seal_metadata(
    epoch_key: bytes,
    associated_data: bytes,
    value: dict[str, Any],
    entropy: Callable[[int], bytes],
) -> bytes:
    """Seal one JSON object under an epoch key; see ``MetadataKey``."""
    return MetadataKey(epoch_key).seal(associated_data, value, entropy)


def open_metadata(epoch_key: bytes, associated_data: bytes, sealed: bytes) -> dict[str, Any]:
    """Undo ``seal_metadata``; see ``MetadataKey``."""
    return MetadataKey(epoch_key).open(associated_data, sealed)


def metadata_associated_data(environment: str, tenant: str, kind: str, id: str) -> bytes:
    """What the sealed metadata of a record is bound to.

    ``strongroom/metadata/1/{environment}/{tenant}/{kind}/{id}``, ASCII.

    Raises:
        ValueError: A part has characters outside ``[a-z0-9_-]``.
    """
    return bind("metadata", environment, tenant, kind, id)
