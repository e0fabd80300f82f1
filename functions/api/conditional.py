"""Conditional requests and ranges (RFC 9110 sections 13 and 14): what a GET or HEAD is answered with.

One pure function; it neither reads the content nor sends anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_ENTITY_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')


@dataclass(frozen=True, slots=True)
class Conditions:
    """The values of the headers that decide; None: the request does not have the header."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_range: str | None = None
    range: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to respond with.

    Attributes:
        status: 200 with the whole content, 206 with a range, 304 or 412 without content, 416.
        start: The first byte to send.
        end: The byte after the last to send; ``start`` where no content is sent.
    """

    status: Literal[200, 206, 304, 412, 416]
    start: int = 0
    end: int = 0


def evaluate(method: str, conditions: Conditions, etag: str, size: int) -> Outcome:
    """Evaluate the conditions of a request, then its range.

    The order is that of RFC 9110 section 13.2.2.

    Args:
        method: ``GET`` or ``HEAD``; ranges are for GET alone (section 14.2).
        conditions: Of the request.
        etag: The entity tag of the content, strong, without quotes.
        size: Bytes of the content.
    """
    if conditions.if_match is not None and not matches(conditions.if_match, etag, weak=False):
        return Outcome(412)
    if matches(conditions.if_none_match, etag, weak=True):
        return Outcome(304)
    whole = Outcome(200, 0, size)
    if method != "GET" or conditions.range is None:
        return whole
    # Section 13.1.5 asks for a strong comparison; a date never matches, as none is sent.
    if conditions.if_range is not None and conditions.if_range.strip() != f'"{etag}"':
        return whole
    return _range(conditions.range, size) or whole


def matches(value: str | None, etag: str, *, weak: bool) -> bool:
    """Return whether a condition names an entity tag or any (section 13.1).

    Args:
        value: Of ``If-Match`` or ``If-None-Match``; None: nothing matches.
        etag: Of the content, without quotes.
        weak: Whether ``W/"tag"`` matches as well: for ``If-None-Match``, not for ``If-Match``.
    """
    if value is None:
        return False
    return value.strip() == "*" or any(
        match[2] == etag and (weak or not match[1]) for match in _ENTITY_TAG.finditer(value)
    )


def _range(value: str, size: int) -> Outcome | None:
    """Return the outcome of a ``Range`` with one range; None where it is ignored (section 14.2)."""
    match = _RANGE.fullmatch(value.strip())
    if match is None or match[1] == match[2] == "":
        return None
    first, last = match.groups()
    if first == "":
        if size == 0 < int(last):
            # Satisfiable, and no Content-Range can say what it is: section 14.1.2.
            return None
        start, end = max(0, size - int(last)), size
    elif last and int(last) < int(first):
        return None
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    return Outcome(206, start, end) if start < end else Outcome(416)
