"""What a cosigner of a checkpoint signs (c2sp.org/tlog-cosignature)."""

from __future__ import annotations

import struct
from typing import Final

from shared.crypto.checkpoints import parse_checkpoint
from shared.crypto.notation import MAX_INTEGER

TIME_SIZE: Final = 8
"""Bytes of the time before the signature itself, big-endian."""


def cosignature_v1_message(text: str, at: int) -> bytes:
    """The message of an Ed25519 cosignature.

    Args:
        text: Of the checkpoint, with its final newline.
        at: When, POSIX time in seconds.

    Raises:
        ValueError: The text is not a checkpoint, or the time is out of range.
    """
    _check_time(at)
    parse_checkpoint(text)
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def ml_dsa_44_message(name: str, text: str, at: int) -> bytes:
    """The message of an ML-DSA-44 cosignature: ``cosigned_message``, about a whole tree.

    Args:
        name: Of the cosigner.
        text: Of the checkpoint, with its final newline; its extension lines are not signed.
        at: When, POSIX time in seconds; 0 to state none.

    Raises:
        ValueError: The text is not a checkpoint, the time is out of range, or a name is too long.
    """
    _check_time(at)
    checkpoint = parse_checkpoint(text)
    return b"".join(
        (
            b"subtree/v1\n\x00",
            _opaque(name),
            struct.pack(">Q", at),
            _opaque(checkpoint.origin),
            struct.pack(">QQ", 0, checkpoint.size),
            checkpoint.root,
        )
    )


def _opaque(text: str) -> bytes:
    """``opaque text<1..2^8-1>`` of RFC 8446 section 3."""
    data = text.encode()
    if not 1 <= len(data) <= 255:
        raise ValueError("a name in a cosignature has 1 to 255 bytes")
    return bytes([len(data)]) + data


def _check_time(at: int) -> None:
    if not 0 <= at <= MAX_INTEGER:
        raise ValueError("the time of a cosignature is out of range")
