"""JSON in its canonical form (RFC 8785), for values without fractions."""

from __future__ import annotations

import json
from typing import Final

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
"""Its escapes are those of RFC 8785 section 3.2.2.2."""

MAX_INTEGER: Final = 1 << 53
"""Integers up to here, of either sign, are exact in every JSON implementation (RFC 7493 section 2.2)."""


def canonical_json(value: object) -> bytes:
    """The one form of a JSON value that is signed and hashed: RFC 8785, in UTF-8.

    Args:
        value: Of dicts with string keys, lists, tuples, strings, booleans, None and integers.

    Raises:
        ValueError: The value holds something else, an integer beyond 2**53, or a lone surrogate, or is
            nested too deeply.
    """
    try:
        return _ENCODER.encode(_in_order(value)).encode("utf-8")
    except RecursionError:
        raise ValueError("a value that is nested too deeply has no canonical JSON") from None


def _in_order(value: object) -> object:
    """The same value with the keys of every object in the order of RFC 8785 section 3.2.3."""
    # Most values of an entry are texts; a log appends thousands of entries a second.
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise ValueError("an integer beyond 2**53 has no canonical JSON")
        return value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key that is not a string has no canonical JSON")
        # ASCII has one order in every encoding.
        order = None if "".join(value).isascii() else _utf_16
        return {key: _in_order(value[key]) for key in sorted(value, key=order)}
    if isinstance(value, list | tuple):
        return [_in_order(one) for one in value]
    raise ValueError(f"a {type(value).__name__} has no canonical JSON")


def _utf_16(key: str) -> bytes:
    """What RFC 8785 section 3.2.3 sorts keys by."""
    return key.encode("utf-16-be")
