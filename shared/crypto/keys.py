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

KEY_SIZE: Final = 32
"""Bytes of an intermediate key, of an epoch key and of a data key."""

WRAPPED_KEY_SIZE: Final = KEY_SIZE + 8


def wrap_key(above: bytes, key: bytes) -> bytes:
    """Wrap a key (32 bytes) under the key above it (32 bytes) into 40 bytes.

    Raises:
        ValueError: A key of another size.
    """
    if len(above) != KEY_SIZE or len(key) != KEY_SIZE:
        raise ValueError("keys have 32 bytes")
    return aes_key_wrap(above, key)


def unwrap_key(above: bytes, wrapped: bytes) -> bytes:
    """Undo ``wrap_key``.

    Raises:
        Damaged: ``wrapped`` was not made under this key, or was changed.
        ValueError: A key of another size.
    """
    if len(above) != KEY_SIZE:
        raise ValueError("keys have 32 bytes")
    try:
        if len(wrapped) != WRAPPED_KEY_SIZE:
            raise InvalidUnwrap
        return aes_key_unwrap(above, wrapped)
    except InvalidUnwrap:
        raise Damaged("The wrapped key was not made under the key above it.") from None


def content_associated_data(environment: str, tenant: str, document: str, version: int) -> bytes:
    """What a version's sealed content is bound to.

    ``strongroom/content/1/{environment}/{tenant}/{document}/{version}``, ASCII.

    Raises:
        ValueError: A part has characters outside ``[a-z0-9_-]``.
    """
    return bind("content", environment, tenant, document, str(version))
