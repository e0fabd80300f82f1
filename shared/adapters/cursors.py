"""Cursors: where a page ended, as opaque text that only continues the query it came from.

The form is base64url of a JSON array: the position, then a checksum over the query and position.
The checksum catches damage and mix-ups; it is no secret, because a cursor gives no access: which
tenant is looked through is decided by the query, never by the cursor.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

from shared.base.errors import InvalidInput
from shared.base.partitions import Partition

_CHECKSUM_CHARACTERS = 16


def scope_of(
    partition: Partition,
    kind: str,
    conditions: Sequence[tuple[str, str]],
    order: str,
    first: str | None,
    before: str | None,
) -> Sequence[Any]:
    """What a cursor of ``RecordStore.query`` belongs to."""
    bounds = [] if first is None and before is None else [first, before]
    return ["records", str(partition), kind, conditions, order, *bounds]


def encode_cursor(query: Sequence[Any], position: Sequence[str]) -> str:
    """The cursor that continues ``query`` (its JSON-able description) after ``position``."""
    parts = [*position, _checksum(query, position)]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, query: Sequence[Any], *, length: int) -> list[str]:
    """The position, of ``length`` texts, that ``encode_cursor`` wrote.

    Raises:
        InvalidInput: The cursor is malformed, or belongs to another query.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(parts, list) or len(parts) != length + 1:
            raise ValueError
        if not all(isinstance(part, str) for part in parts):
            raise ValueError
        *position, checksum = parts
        if not hmac.compare_digest(checksum.encode(), _checksum(query, position).encode()):
            raise ValueError
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            "The cursor is not valid for this query; start again without one."
        ) from error
    return position


def encode_position(partition: Partition, position: Sequence[str]) -> str:
    """The position of a partition's feed of changes, ``shared.ports.records.RecordStore.changes``."""
    return encode_cursor(["changes", str(partition)], position)


def decode_position(position: str, partition: Partition, *, length: int) -> list[str]:
    """The texts that ``encode_position`` wrote, of which there are ``length``.

    Raises:
        ValueError: The position is malformed, or of another partition. It is kept by us, and no
            client ever sends it.
    """
    try:
        return decode_cursor(position, ["changes", str(partition)], length=length)
    except InvalidInput as error:
        raise ValueError("The position is not of this partition's feed of changes.") from error


def _checksum(query: Sequence[Any], position: Sequence[str]) -> str:
    described = json.dumps([list(query), list(position)]).encode()
    return hashlib.sha256(described).hexdigest()[:_CHECKSUM_CHARACTERS]
