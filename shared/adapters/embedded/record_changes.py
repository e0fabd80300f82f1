"""The changes of a commit as statements, and the removal of records that have expired."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic_core import from_json

from shared.adapters.embedded.moments import to_microseconds
from shared.base.errors import Conflict
from shared.base.models import JsonObject
from shared.ports.records import Change, Create, Delete, Record, Replace

NO_FIELDS: Final = "{}"
"""Of a record that no query finds by more than its kind."""

_PRUNE_AT_MOST: Final = 200
"""Expired records that one commit may take the time to remove."""

_ROWS: Final = 500
"""Rows of one statement; SQLite takes 32,766 parameters, and a row has 8 at most."""

_RECORDS: Final = (
    "INSERT INTO records (partition, kind, id, etag, body, fields, expires_at, changed)"
)
_OVERWRITE: Final = (
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (partition, kind, id) DO UPDATE SET etag = excluded.etag, body = excluded.body,"
    " fields = excluded.fields, expires_at = excluded.expires_at, changed = excluded.changed"
)
_FIELDS: Final = "INSERT OR IGNORE INTO fields (partition, kind, field, value, id)"
"""A row that somebody has put there must not keep a record from being written."""

_CHANGED: Final = "The record was changed or removed since it was read."

_JSON: Final = json.JSONEncoder(ensure_ascii=False)

_Value = str | bytes | int | None

Numbered = tuple[Change, bytes | None, int]
"""A change, the record's body as JSON unless it is removed, and its position."""


def apply_all(
    writer: sqlite3.Connection, partition: str, changes: Sequence[Numbered], now: int
) -> None:
    """Apply the changes of one commit.

    Args:
        writer: In a transaction, which the caller undoes if this raises.
        partition: Of every change.
        changes: Each record named once.
        now: Microseconds since 1970; a record that has expired by then is as good as none.

    Raises:
        Conflict: A record exists, is missing or has another etag.
    """
    creates = [each for each in changes if isinstance(each[0], Create)]
    if not _create_all(writer, partition, creates):
        for each in creates:
            _apply(writer, partition, *each, now)
    removed: dict[str, list[str]] = {}
    for change, body, position in changes:
        match change:
            case Delete(kind, name, None):
                removed.setdefault(kind, []).append(name)
            case Replace(record):
                if not _replace(writer, partition, record, body, position, now):
                    _apply(writer, partition, change, body, position, now)
            case Delete():
                _apply(writer, partition, change, body, position, now)
    for kind, names in removed.items():
        _remove_all(writer, partition, kind, names, now)


def _create_all(writer: sqlite3.Connection, partition: str, creates: Sequence[Numbered]) -> bool:
    """Add records with one statement, which releases the GIL once; False: there are some of these ids."""
    if not creates:
        return True
    rows = [
        _row(partition, change.record, body, position)
        for change, body, position in creates
        if isinstance(change, Create)
    ]
    fields = [
        (partition, change.record.kind, field, value, change.record.id)
        for change, _, _ in creates
        if isinstance(change, Create)
        for field, value in change.record.index.items()
    ]
    # Of one row there is nothing to undo where it was not inserted.
    undoable = len(rows) > 1
    if undoable:
        writer.execute("SAVEPOINT creates")
    inserted = _insert(writer, f"{_RECORDS} VALUES", rows, "ON CONFLICT DO NOTHING")
    if inserted == len(rows):
        _insert(writer, f"{_FIELDS} VALUES", fields)
    elif undoable:
        writer.execute("ROLLBACK TO creates")
    if undoable:
        writer.execute("RELEASE creates")
    return inserted == len(rows)


def _replace(
    writer: sqlite3.Connection,
    partition: str,
    record: Record,
    body: bytes | None,
    position: int,
    now: int,
) -> bool:
    """Replace a record with one statement; False: it is not there as it was read, or has another index."""
    _, kind, name, etag, _, fields, expires_at, _ = _row(partition, record, body, position)
    replaced = writer.execute(
        "UPDATE records SET etag = ?, body = ?, expires_at = ?, changed = ?"
        " WHERE partition = ? AND kind = ? AND id = ? AND etag = ? AND fields = ?"
        " AND (expires_at IS NULL OR expires_at > ?)",
        (etag, body, expires_at, position, partition, kind, name, record.etag, fields, now),
    )
    return replaced.rowcount == 1


def _remove_all(
    writer: sqlite3.Connection, partition: str, kind: str, names: Sequence[str], now: int
) -> None:
    """Remove records of one kind, whatever their etags, with one statement.

    Raises:
        Conflict: One of them is missing; some were removed.
    """
    removed = writer.execute(
        "DELETE FROM records WHERE partition = ? AND kind = ?"  # noqa: S608
        f" AND id IN ({','.join('?' * len(names))}) AND (expires_at IS NULL OR expires_at > ?)"
        " RETURNING id, fields",
        (partition, kind, *names, now),
    ).fetchall()
    if len(removed) < len(names):
        raise Conflict(_CHANGED)
    for name, fields in removed:
        if fields != NO_FIELDS:
            _index(writer, partition, kind, name, json_object(fields, {}), {})


def _insert(
    writer: sqlite3.Connection, into: str, rows: Sequence[Sequence[_Value]], otherwise: str = ""
) -> int:
    """Insert rows, as many with one statement as it may have parameters; how many were inserted."""
    inserted = 0
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        places = ",".join(["(" + ",".join("?" * len(some[0])) + ")"] * len(some))
        values = [value for row in some for value in row]
        inserted += writer.execute(f"{into} {places} {otherwise}", values).rowcount
    return inserted


def _apply(
    writer: sqlite3.Connection,
    partition: str,
    change: Change,
    body: bytes | None,
    position: int,
    now: int,
) -> None:
    kind, name = (
        (change.kind, change.id)
        if isinstance(change, Delete)
        else (change.record.kind, change.record.id)
    )
    stored = writer.execute(
        "SELECT etag, fields, expires_at FROM records WHERE partition = ? AND kind = ? AND id = ?",
        (partition, kind, name),
    ).fetchone()
    exists = stored is not None and (stored[2] is None or stored[2] > now)
    match change:
        case Create() if exists:
            raise Conflict("A record of this id exists.")
        case Replace(record) if not exists or stored[0] != record.etag:
            raise Conflict("The record was changed or removed since it was read; read it again.")
        case Delete(etag=etag) if not exists or stored[0] != etag:
            raise Conflict(_CHANGED)
        case Create(record) | Replace(record):
            before = {} if stored is None else json_object(stored[1], {})
            _index(writer, partition, kind, name, before, record.index)
            writer.execute(f"{_RECORDS} {_OVERWRITE}", _row(partition, record, body, position))
        case Delete():
            _remove(writer, partition, kind, name, json_object(stored[1], {}))


def _index(
    writer: sqlite3.Connection,
    partition: str,
    kind: str,
    name: str,
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> None:
    """Bring the rows of a record in ``fields`` from one index to another, touching what differs."""
    if before:
        writer.executemany(
            "DELETE FROM fields"
            " WHERE partition = ? AND kind = ? AND field = ? AND value = ? AND id = ?",
            [(partition, kind, f, v, name) for f, v in before.items() if after.get(f) != v],
        )
    writer.executemany(
        f"{_FIELDS} VALUES (?, ?, ?, ?, ?)",
        [(partition, kind, f, v, name) for f, v in after.items() if before.get(f) != v],
    )


def _remove(
    writer: sqlite3.Connection, partition: str, kind: str, name: str, fields: Mapping[str, str]
) -> None:
    _index(writer, partition, kind, name, fields, {})
    writer.execute(
        "DELETE FROM records WHERE partition = ? AND kind = ? AND id = ?", (partition, kind, name)
    )


def prune(writer: sqlite3.Connection, now: int) -> bool:
    """Remove expired records, as many as one commit may; return whether that was all of them."""
    expired = writer.execute(
        "SELECT partition, kind, id, fields FROM records"
        " WHERE expires_at IS NOT NULL AND expires_at <= ? LIMIT ?",
        (now, _PRUNE_AT_MOST),
    ).fetchall()
    for partition, kind, name, fields in expired:
        _remove(writer, partition, kind, name, json_object(fields, {}))
    return len(expired) < _PRUNE_AT_MOST


def _row(partition: str, record: Record, body: bytes | None, position: int) -> tuple[_Value, ...]:
    return (
        partition,
        record.kind,
        record.id,
        os.urandom(16).hex(),
        body,
        _JSON.encode(dict(record.index)) if record.index else NO_FIELDS,
        None if record.expires_at is None else to_microseconds(record.expires_at),
        position,
    )


def json_object(text: str | bytes, otherwise: JsonObject) -> JsonObject:
    """One damaged record must not hide all that are read with it."""
    try:
        found = from_json(text, cache_strings="keys")
    except ValueError:
        return otherwise
    return found if isinstance(found, dict) else otherwise
