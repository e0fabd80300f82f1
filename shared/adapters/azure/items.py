r"""Records as items of Cosmos DB.

An item's ``id`` names the record within its partition: kind and id, each percent-encoded with
``=`` in place of ``%``, joined by ``:``. Cosmos DB forbids ``/``, ``\``, ``?`` and ``#`` in it,
and 1,023 bytes are its limit. ``partition`` is the partition key. ``place`` is what pages are ordered by:
kind and id, joined by U+001F, which sorts before everything that ids are made of; so one range of one
index holds a kind in the order of its ids.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from shared.base.models import JsonObject
from shared.base.partitions import Partition
from shared.ports.records import Record

NOT_EXPIRED: Final = "(NOT IS_DEFINED(c.expires_at) OR c.expires_at > @now)"
"""The condition of a query that leaves out what the service has not removed yet."""

SEPARATOR: Final = "\x1f"
_MAX_ITEM_ID: Final = 1_023
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def item_id(kind: str, id_: str) -> str:
    """The id of the item that holds a record.

    Raises:
        ValueError: It would be longer than Cosmos DB allows.
    """
    encoded = ":".join(quote(part, safe="").replace("%", "=") for part in (kind, id_))
    if len(encoded) > _MAX_ITEM_ID:
        raise ValueError("a record's kind and id are too long together")
    return encoded


def place(kind: str, id_: str) -> str:
    """Where a record stands within its partition.

    Raises:
        ValueError: A part holds the separator.
    """
    if SEPARATOR in kind or SEPARATOR in id_:
        raise ValueError("a record's kind and id must not hold control characters")
    return kind + SEPARATOR + id_


def places_of(kind: str) -> tuple[str, str]:
    """The bounds, both excluded, between which every place of a kind lies."""
    return kind + SEPARATOR, kind + chr(ord(SEPARATOR) + 1)


def to_item(record: Record, commit: str, now: datetime) -> JsonObject:
    """The item to store for a record, marked with the commit that wrote it."""
    item: JsonObject = {
        "id": item_id(record.kind, record.id),
        "partition": str(record.partition),
        "kind": record.kind,
        "name": record.id,
        "place": place(record.kind, record.id),
        "index": dict(record.index),
        "body": record.body,
        "commit": commit,
    }
    if record.expires_at is not None:
        item["expires_at"] = microseconds(record.expires_at)
        # Cosmos DB counts whole seconds from its own clock; reads go by ``expires_at``.
        item["ttl"] = max(1, math.ceil((record.expires_at - now).total_seconds()))
    return item


def to_record(item: dict[str, Any]) -> Record:
    """The record that an item holds."""
    expires_at = item.get("expires_at")
    return Record(
        partition=Partition.parse(item["partition"]),
        kind=item["kind"],
        id=item["name"],
        body=item["body"],
        index=item["index"],
        expires_at=None if expires_at is None else _EPOCH + expires_at * _MICROSECOND,
        etag=item["_etag"],
    )


def has_expired(item: dict[str, Any], now: datetime) -> bool:
    """Whether the item is only there because Cosmos DB has not removed it yet."""
    expires_at = item.get("expires_at")
    return expires_at is not None and expires_at <= microseconds(now)


def microseconds(at: datetime) -> int:
    """A moment as microseconds since 1970, which JSON numbers hold exactly."""
    return (at - _EPOCH) // _MICROSECOND
