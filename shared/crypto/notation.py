"""The notation that the text formats of transparency logs (C2SP) share: base64 and decimal numbers.

Every value has exactly one form, so that what was parsed can be encoded again into the same bytes.
"""

from __future__ import annotations

import base64
import re
from typing import Final

MAX_INTEGER: Final = (1 << 63) - 1
"""The largest size, index or time: Go's implementations keep them in an int64."""

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")


def to_base64(data: bytes) -> str:
    """Bytes as padded base64 (RFC 4648 section 4)."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """The reverse of ``to_base64``.

    Raises:
        ValueError: The text is not base64, or not as ``to_base64`` writes it.
    """
    data = base64.b64decode(text, validate=True)
    if to_base64(data) != text:
        raise ValueError("not canonical base64")
    return data


def from_decimal(text: str) -> int:
    """A number from 0 to 2**63 - 1 in ASCII digits, without leading zeros.

    Raises:
        ValueError: The text is not such a number.
    """
    if not _DECIMAL.fullmatch(text) or (number := int(text)) > MAX_INTEGER:
        raise ValueError("not a decimal number from 0 to 2**63 - 1 without leading zeros")
    return number
