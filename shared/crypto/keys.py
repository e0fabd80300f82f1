"""Key wrapping: how each key of the hierarchy is kept under the one above it.

A tenant key, which never leaves the key vault, wraps an intermediate key; that wraps epoch keys, and an
epoch key wraps the data key of each piece of content, with AES-256 Key Wrap (RFC 3394 with its default
initial value; KW in NIST SP 800-38F). Key Wrap is deterministic, so it needs no randomness, and detects
every change.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from shared.base.errors import Damaged
from shared.crypto.binding import bind

EPOCH_KEY_SIZE: Final = 32
DATA_KEY_SIZE: Final = 32
WRAPPED_DATA_KEY_SIZE: Final = DATA_KEY_SIZE + 8


def wrap_data_key(epoch_key: bytes, data_key: bytes) -> bytes:
    """Wrap a data key (32 bytes) under an epoch key (32 bytes) into 40 bytes.

    Raises:
        ValueError: A key of another size.
    """
    if len(epoch_key) != EPOCH_KEY_SIZE or len(data_key) != DATA_KEY_SIZE:
        raise ValueError("epoch keys and data keys have 32 bytes")
    return aes_key_wrap(epoch_key, data_key)


def unwrap_data_key(epoch_key: bytes, wrapped: bytes) -> bytes:
    """Undo ``wrap_data_key``.

    Raises:
        Damaged: ``wrapped`` was not made under this epoch key, or was changed.
        ValueError: An epoch key of another size.
    """
    if len(epoch_key) != EPOCH_KEY_SIZE:
        raise ValueError("an epoch key has 32 bytes")
    try:
        if len(wrapped) != WRAPPED_DATA_KEY_SIZE:
            raise InvalidUnwrap
        return aes_key_unwrap(epoch_key, wrapped)
    except InvalidUnwrap:
        raise Damaged("The wrapped data key is not one that this epoch key made.") from None


def content_associated_data(environment: str, tenant: str, document: str, version: int) -> bytes:
    """What a version's sealed content is bound to.

    ``strongroom/content/1/{environment}/{tenant}/{document}/{version}``, ASCII.

    Raises:
        ValueError: A part has characters outside ``[a-z0-9_-]``.
    """
    return bind("content", environment, tenant, document, str(version))
