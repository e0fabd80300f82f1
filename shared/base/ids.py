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
_MILLISECOND: Final = timedelta(milliseconds=1)
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
"""The last millisecond that a ``datetime`` can name."""

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGITS: Final = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
"""From Crockford's digits to those of ``int``."""

_PAIRS: Final = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS: Final = range(120, -1, -10)
_ID: Final = re.compile(r"[a-z]{1,8}_[0-7][0-9a-hjkmnp-tv-z]{25}")


def new_id(prefix: str, now: datetime, entropy: Callable[[int], bytes]) -> str:
    """A fresh identifier such as ``doc_01jd3v...``."""
    return _id(prefix, (now - _EPOCH) // _MILLISECOND, int.from_bytes(entropy(10), "big"))


def earliest_id(prefix: str, at: datetime) -> str:
    """The identifier below all that are made at or after a moment, for comparing ages.

    A moment before 1970 counts as the first of that year, one after the year 9999 as the last of it: a
    client may name any, and no identifier says them.
    """
    return _id(prefix, (at - _EPOCH) // _MILLISECOND, 0)


def ids_of_period(
    prefix: str, since: datetime | None, before: datetime | None
) -> tuple[str | None, str | None]:
    """Which identifiers were made in a period: those from the first, and below the second.

    Identifiers say milliseconds: what was made in the one in which a period begins, or is over, counts as
    made in it.

    Args:
        prefix: Theirs.
        since: When it begins, or None.
        before: When it is over, or None.
    """
    first = None if since is None else earliest_id(prefix, since)
    end = None if before is None else _id(prefix, -((_EPOCH - before) // _MILLISECOND), 0)
    return first, end


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


def _id(prefix: str, milliseconds: int, entropy: int) -> str:
    number = (min(max(milliseconds, 0), _LAST) << 80) | entropy
    return f"{prefix}_" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
