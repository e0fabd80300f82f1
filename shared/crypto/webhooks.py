"""Messages of webhooks, signed.

Spec: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md - symmetric
signatures, ``v1``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

SECRET_BYTES: Final = 32
"""Of a new secret; the specification has 24 to 64."""

_PREFIX: Final = "whsec_"


def secret_text(secret: bytes) -> str:
    """A secret as its owner gets it: ``whsec_`` and base64."""
    return _PREFIX + base64.b64encode(secret).decode()


def webhook_headers(
    secrets: Sequence[bytes], id: str, timestamp: int, payload: bytes
) -> dict[str, str]:
    """The headers that sign a message.

    Args:
        secrets: Each signs; two while one takes over from the other.
        id: Of the message, the same each time that it is sent; without full stops.
        timestamp: When it is sent, seconds since 1970.
        payload: The body.
    """
    signed = f"{id}.{timestamp}.".encode() + payload
    signatures = [
        base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode() for secret in secrets
    ]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
