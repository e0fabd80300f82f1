"""JSON that means the same to everybody: no repeated members, no fractions (I-JSON, RFC 7493)."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def parse_object(text: bytes | str) -> dict[str, Any]:
    """The members of a JSON object.

    Raises:
        ValueError: It is not one, repeats a member, or holds a fraction.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_members, parse_float=_refuse, parse_constant=_refuse
        )
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("the JSON is not an object")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("the JSON repeats a member")
    return members


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"the JSON holds {text}, which has no canonical form here")
