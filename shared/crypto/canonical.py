"""JSON in its canonical form (RFC 8785), for values without fractions."""

from __future__ import annotations

import json
from typing import Final

MAX_INTEGER: Final = 1 << 53
"""Integers up to here, of either sign, are exact in every JSON implementation (RFC 7493 section 2.2)."""


def canonical_json(value: object) -> bytes:
    """The one form of a JSON value that is signed and hashed: RFC 8785, in UTF-8.

    Args:
        value: Of dicts with string keys, lists, tuples, strings, booleans, None and integers.

    Raises:
        ValueError: The value holds something else, an integer beyond 2**53, or a lone surrogate.
    """
    # The escapes of json.dumps without ensure_ascii are those of RFC 8785 section 3.2.2.2.
    text = json.dumps(_in_order(value), separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8")


def _in_order(value: object) -> object:
    match value:
        case str() | bool() | None:
            return value
        case int():
            if abs(value) > MAX_INTEGER:
                raise ValueError("an integer beyond 2**53 has no canonical JSON")
            return value
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise ValueError("a key that is not a string has no canonical JSON")
            return {key: _in_order(value[key]) for key in sorted(value, key=_utf_16)}
        case list() | tuple():
            return [_in_order(one) for one in value]
        case _:
            raise ValueError(f"a {type(value).__name__} has no canonical JSON")


def _utf_16(key: str) -> bytes:
    """What RFC 8785 section 3.2.3 sorts keys by."""
    return key.encode("utf-16-be")
