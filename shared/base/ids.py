"""Identifiers: a prefix that says what it names, then a ULID in lower case.

Spec: https://github.com/ulid/spec - 48 bits of milliseconds since 1970, 80 random bits, in Crockford's
base 32. They sort by the time of their creation and say nothing about what they name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

PREFIXES: Final = (
    "doc",
    "drl",
    "grt",
    "rev",
    "rst",
    "set",
    "ten",
    "tgt",
    "upl",
    "usr",
    "ver",
    "whk",
)
"""The prefixes of ids that requests and audit entries name."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGITS: Final = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
"""From Crockford's digits to those of ``int``."""

_PAIRS: Final = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS: Final = range(120, -1, -10)
_ID: Final = re.compile(r"[a-z]{1,8}_[0-7][0-9a-hjkmnp-tv-z]{25}")


def new_id(prefix: str, now: datetime, entropy: Callable[[int], bytes]) -> str:
    """A fresh identifier such as ``doc_01jd3v...``."""
    milliseconds = (now - _EPOCH) // timedelta(milliseconds=1)
    number = (milliseconds << 80) | int.from_bytes(entropy(10), "big")
    return f"{prefix}_" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def earliest_id(prefix: str, at: datetime) -> str:
    """The identifier below all that are made at or after a moment, for comparing ages."""
    return new_id(prefix, at, bytes)


def is_id(text: str, *prefixes: str) -> bool:
    """Whether the text is an identifier with one of these prefixes."""
    try:
        created_at(text)
    except ValueError:
        return False
    return text.partition("_")[0] in prefixes


def created_at(id: str) -> datetime:
    """When an identifier was made, UTC, in milliseconds.

    Raises:
        ValueError: The text does not have the form of an identifier, or its time is past year 9999.
    """
    if not _ID.fullmatch(id):
        raise ValueError("the text is not an identifier")
    milliseconds = int(id.partition("_")[2][:10].translate(_DIGITS), 32)
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise ValueError("the identifier was made after the year 9999") from None
