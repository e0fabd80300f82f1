"""JSON in its canonical form (RFC 8785), for values without fractions."""

from __future__ import annotations

import json
from typing import Final

_FORM: Final = {"separators": (",", ":"), "ensure_ascii": False, "allow_nan": False}
"""Its escapes are those of RFC 8785 section 3.2.2.2."""

_SORTED: Final = json.JSONEncoder(**_FORM, sort_keys=True)  # type: ignore[arg-type]
_UNSORTED: Final = json.JSONEncoder(**_FORM)  # type: ignore[arg-type]

MAX_DEPTH: Final = 64
"""Objects and arrays within each other; an entry has three."""

MAX_INTEGER: Final = (1 << 53) - 1
"""Integers up to here, of either sign, are exact in every JSON implementation (RFC 7493 section 2.2)."""


def canonical_json(value: object) -> bytes:
    """The one form of a JSON value that is signed and hashed: RFC 8785, in UTF-8.

    Args:
        value: Of dicts with string keys, lists, tuples, strings, booleans, None and integers.

    Raises:
        ValueError: The value holds something else, an integer beyond 2**53 - 1, or a lone surrogate, or is
            nested too deeply.
    """
    _check(value)
    text = _SORTED.encode(value)
    # ASCII has one order in every encoding, and a log appends thousands of entries a second.
    if not text.isascii():
        text = _UNSORTED.encode(_in_order(value))
    return text.encode("utf-8")


def _check(value: object, depth: int = 0) -> None:
    """Refuse what has no canonical JSON here.

    Raises:
        ValueError: The value holds such.
    """
    if depth > MAX_DEPTH:
        raise ValueError("a value that is nested too deeply has no canonical JSON")
    if isinstance(value, dict):
        for key, one in value.items():
            # Nearly all are strings themselves, and not of a class that derives from it.
            if type(key) is not str and not isinstance(key, str):
                raise ValueError("a key that is not a string has no canonical JSON")
            kind = type(one)
            if kind is not str and not (kind is int and -MAX_INTEGER <= one <= MAX_INTEGER):
                _check(one, depth + 1)
    elif isinstance(value, str | bool) or value is None:
        return
    elif isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise ValueError("an integer beyond 2**53 - 1 has no canonical JSON")
    elif isinstance(value, list | tuple):
        for one in value:
            _check(one, depth + 1)
    else:
        raise ValueError(f"a {type(value).__name__} has no canonical JSON")


def _in_order(value: object) -> object:
    """The same value with the keys of every object in the order of RFC 8785 section 3.2.3."""
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value, key=_utf_16)}
    if isinstance(value, list | tuple):
        return [_in_order(one) for one in value]
    return value


def _utf_16(key: str) -> bytes:
    """What RFC 8785 section 3.2.3 sorts keys by."""
    return key.encode("utf-16-be")
