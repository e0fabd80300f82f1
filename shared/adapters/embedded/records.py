"""SqliteRecords: the record store in one SQLite file, whose tables ``record_schema`` describes."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from pydantic_core import from_json

from shared.adapters.checks import check_changes, check_limit, record_body
from shared.adapters.cursors import (
    decode_cursor,
    decode_position,
    encode_cursor,
    encode_position,
)
from shared.adapters.embedded.moments import from_microseconds, to_microseconds
from shared.adapters.embedded.record_schema import SCHEMA, TAKE_POSITIONS, VERSION
from shared.adapters.embedded.sqlite import Database
from shared.base.errors import Conflict, NotFound
from shared.base.models import JsonObject
from shared.base.partitions import Partition
from shared.ports.clock import Clock
from shared.ports.records import (
    MAX_PAGE,
    UNREADABLE,
    Change,
    Changes,
    Create,
    Delete,
    Page,
    Record,
    Replace,
)

_PRUNE_EVERY: Final = timedelta(minutes=1)
_PRUNE_AT_MOST: Final = 200
"""Expired records that one commit may take the time to remove."""

_INSERT: Final = (
    "INSERT INTO records (partition, kind, id, etag, body, fields, expires_at, changed)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_OVERWRITE: Final = (
    "ON CONFLICT (partition, kind, id) DO UPDATE SET etag = excluded.etag, body = excluded.body,"
    " fields = excluded.fields, expires_at = excluded.expires_at, changed = excluded.changed"
)

_COLUMNS: Final = "r.kind, r.id, r.body, r.fields, r.expires_at, r.etag"

_NO_FIELDS: Final = "{}"

_CHANGES: Final = (
    f"SELECT {_COLUMNS}, r.changed FROM records r WHERE partition = ? AND changed > ?"  # noqa: S608
    " AND (expires_at IS NULL OR expires_at > ?) ORDER BY changed LIMIT ?"
)


class SqliteRecords:
    """A ``RecordStore`` in the SQLite file at ``path``, opened when first used.

    Args:
        path: The file; it and its folder are made if missing, with modes 0600 and 0700.
        clock: Decides what has expired.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._database = Database(path, SCHEMA, VERSION)
        self._clock = clock
        self._pruned_at = datetime.min.replace(tzinfo=UTC)

    async def close(self) -> None:
        """Finish the commits that wait and close the file."""
        await self._database.close()

    async def get(self, partition: Partition, kind: str, id: str) -> Record:
        """See ``RecordStore.get``."""
        sql = (
            f"SELECT {_COLUMNS} FROM records r WHERE partition = ? AND kind = ? AND id = ?"  # noqa: S608
            " AND (expires_at IS NULL OR expires_at > ?)"
        )
        key = (str(partition), kind, id, to_microseconds(self._clock.now()))
        row = await self._database.read(lambda reader: reader.execute(sql, key).fetchone())
        if row is None:
            raise NotFound("There is no such record.")
        return _record(partition, row)

    async def query(
        self,
        partition: Partition,
        kind: str,
        *,
        where: Mapping[str, str] | None = None,
        order: Literal["ascending", "descending"] = "ascending",
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """See ``RecordStore.query``."""
        check_limit(limit, MAX_PAGE)
        conditions = dict(where or {})
        scope = ["records", str(partition), kind, sorted(conditions.items()), order]
        after = None if cursor is None else decode_cursor(cursor, scope, length=1)[0]
        now = to_microseconds(self._clock.now())
        sql, parameters = _select(partition, kind, conditions, order, after, now)
        parameters.append(limit + 1)

        def fetch(reader: sqlite3.Connection) -> list[Record]:
            return [_record(partition, row) for row in reader.execute(sql, parameters)]

        records = await self._database.read(fetch)
        if len(records) <= limit:
            return Page(records, None)
        last = records[limit - 1]
        return Page(records[:limit], encode_cursor(scope, [last.id]))

    async def changes(
        self, partition: Partition, *, after: str | None = None, limit: int = MAX_PAGE
    ) -> Changes:
        """See ``RecordStore.changes``."""
        check_limit(limit, MAX_PAGE)
        of, number = "", 0
        if after is not None:
            of, text = decode_position(after, partition, length=2)
            number = int(text)
        parameters = (str(partition), number, to_microseconds(self._clock.now()), limit + 1)

        def fetch(reader: sqlite3.Connection) -> Changes:
            rows = reader.execute(_CHANGES, parameters).fetchall()
            # Read after the records, so that it names the store if there were any.
            named = reader.execute("SELECT store, last FROM sequence").fetchone()
            store, last = named or ("", 0)
            if number > last or (number and of != store):
                raise ValueError(
                    "The position is of another store, or of a later state of this one."
                )
            page = rows[:limit]
            end = page[-1][-1] if page else number
            return Changes(
                [_record(partition, row[:-1]) for row in page],
                encode_position(partition, [store, str(end)]),
                more=len(rows) > limit,
            )

        return await self._database.read(fetch)

    async def commit(self, partition: Partition, changes: Sequence[Change]) -> None:
        """See ``RecordStore.commit``. Concurrent commits share one transaction and one fsync."""
        check_changes(partition, changes)
        bodies = [None if isinstance(c, Delete) else record_body(c.record) for c in changes]

        def work(writer: sqlite3.Connection) -> None:
            now = self._clock.now()
            [(last,)] = writer.execute(TAKE_POSITIONS, {"count": len(changes)})
            positions = range(last - len(changes) + 1, last + 1)
            for change, body, position in zip(changes, bodies, positions, strict=True):
                _apply(writer, str(partition), change, body, position, to_microseconds(now))
            if now - self._pruned_at >= _PRUNE_EVERY and _prune(writer, to_microseconds(now)):
                self._pruned_at = now

        await self._database.write(work)


def _select(
    partition: Partition,
    kind: str,
    where: Mapping[str, str],
    order: Literal["ascending", "descending"],
    after: str | None,
    now: int,
) -> tuple[str, list[Any]]:
    """The statement of a query, but for its limit, with its parameters.

    CROSS JOIN holds SQLite to the order written, which walks one index in the order of the result
    and probes the others.
    """
    tables: list[str] = []
    conditions: list[str] = []
    parameters: list[Any] = []
    for number, (field, value) in enumerate(where.items()):
        name = f"f{number}"
        tables.append(f"fields {name}")
        conditions.append(
            f"{name}.partition = ? AND {name}.kind = ? AND {name}.field = ? AND {name}.value = ?"
        )
        parameters += [str(partition), kind, field, value]
        if number > 0:
            conditions.append(f"{name}.id = f0.id")
    tables.append("records r")
    walked = "r"
    if where:
        walked = "f0"
        conditions.append("r.id = f0.id")
    conditions.append(
        "r.partition = ? AND r.kind = ? AND (r.expires_at IS NULL OR r.expires_at > ?)"
    )
    parameters += [str(partition), kind, now]
    direction, beyond = ("ASC", ">") if order == "ascending" else ("DESC", "<")
    if after is not None:
        conditions.append(f"{walked}.id {beyond} ?")
        parameters.append(after)
    sql = (
        f"SELECT {_COLUMNS} FROM {' CROSS JOIN '.join(tables)}"  # noqa: S608
        f" WHERE {' AND '.join(conditions)} ORDER BY {walked}.id {direction} LIMIT ?"
    )
    return sql, parameters


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
    if isinstance(change, Create):
        # Most often there is none of this id, and so nothing to compare with.
        row = _row(partition, change.record, body, position)
        if writer.execute(f"{_INSERT} ON CONFLICT DO NOTHING", row).rowcount == 1:
            _index(writer, partition, kind, name, {}, change.record.index)
            return
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
        case Delete(etag=etag) if not exists or (etag is not None and stored[0] != etag):
            raise Conflict("The record was changed or removed since it was read.")
        case Create(record) | Replace(record):
            before = {} if stored is None else _json_object(stored[1], {})
            _index(writer, partition, kind, name, before, record.index)
            writer.execute(f"{_INSERT} {_OVERWRITE}", _row(partition, record, body, position))
        case Delete():
            _remove(writer, partition, kind, name, _json_object(stored[1], {}))


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
        "INSERT INTO fields (partition, kind, field, value, id) VALUES (?, ?, ?, ?, ?)",
        [(partition, kind, f, v, name) for f, v in after.items() if before.get(f) != v],
    )


def _remove(
    writer: sqlite3.Connection, partition: str, kind: str, name: str, fields: Mapping[str, str]
) -> None:
    _index(writer, partition, kind, name, fields, {})
    writer.execute(
        "DELETE FROM records WHERE partition = ? AND kind = ? AND id = ?", (partition, kind, name)
    )


def _prune(writer: sqlite3.Connection, now: int) -> bool:
    """Remove expired records, as many as one commit may; return whether that was all of them."""
    expired = writer.execute(
        "SELECT partition, kind, id, fields FROM records"
        " WHERE expires_at IS NOT NULL AND expires_at <= ? LIMIT ?",
        (now, _PRUNE_AT_MOST),
    ).fetchall()
    for partition, kind, name, fields in expired:
        _remove(writer, partition, kind, name, _json_object(fields, {}))
    return len(expired) < _PRUNE_AT_MOST


def _row(
    partition: str, record: Record, body: bytes | None, position: int
) -> tuple[str | bytes | int | None, ...]:
    return (
        partition,
        record.kind,
        record.id,
        uuid.uuid4().hex,
        body,
        json.dumps(dict(record.index), ensure_ascii=False) if record.index else _NO_FIELDS,
        None if record.expires_at is None else to_microseconds(record.expires_at),
        position,
    )


def _json_object(text: str | bytes, otherwise: JsonObject) -> JsonObject:
    """One damaged record must not hide all that are read with it."""
    try:
        found = from_json(text, cache_strings="keys")
    except ValueError:
        return otherwise
    return found if isinstance(found, dict) else otherwise


def _record(partition: Partition, row: Sequence[Any]) -> Record:
    kind, name, body, fields, expires_at, etag = row
    return Record(
        partition=partition,
        kind=kind,
        id=name,
        body=_json_object(body, UNREADABLE),
        index={} if fields == _NO_FIELDS else _json_object(fields, {}),
        expires_at=None if expires_at is None else from_microseconds(expires_at),
        etag=etag,
    )
