"""SqliteRecords: the record store in one SQLite file, whose tables ``record_schema`` describes."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from shared.adapters.checks import check_changes, check_limit, record_body
from shared.adapters.cursors import (
    decode_cursor,
    decode_position,
    encode_cursor,
    encode_position,
    scope_of,
)
from shared.adapters.embedded.moments import from_microseconds, to_microseconds
from shared.adapters.embedded.record_changes import NO_FIELDS, apply_all, json_object, prune
from shared.adapters.embedded.record_schema import SCHEMA, TAKE_POSITIONS, VERSION
from shared.adapters.embedded.sqlite import Database
from shared.base.activity import Activity
from shared.base.errors import NotFound
from shared.base.partitions import Partition
from shared.ports.clock import Clock
from shared.ports.records import (
    MAX_PAGE,
    UNREADABLE,
    Change,
    Changes,
    Delete,
    Page,
    Record,
)

_PRUNE_EVERY: Final = timedelta(minutes=1)
_COLUMNS: Final = "r.kind, r.id, r.body, r.fields, r.expires_at, r.etag"

_CHANGES: Final = (
    f"SELECT {_COLUMNS}, r.changed FROM records r WHERE partition = ? AND changed > ?"  # noqa: S608
    " AND (expires_at IS NULL OR expires_at > ?) ORDER BY changed LIMIT ?"
)


class SqliteRecords:
    """A ``RecordStore`` in the SQLite file at ``path``, opened when first used.

    Args:
        path: The file; it and its folder are made if missing, with modes 0600 and 0700.
        clock: Decides what has expired.
        activity: See ``Database``.
    """

    def __init__(self, path: Path, clock: Clock, activity: Activity | None = None) -> None:
        self._database = Database(path, SCHEMA, VERSION, activity=activity)
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
        first: str | None = None,
        before: str | None = None,
    ) -> Page:
        """See ``RecordStore.query``."""
        check_limit(limit, MAX_PAGE)
        conditions = dict(where or {})
        scope = scope_of(partition, kind, sorted(conditions.items()), order, first, before)
        after = None if cursor is None else decode_cursor(cursor, scope, length=1)[0]
        now = to_microseconds(self._clock.now())
        beyond = ">" if order == "ascending" else "<"
        bounds = ((beyond, after), (">=", first), ("<", before))
        sql, parameters = _select(partition, kind, conditions, order, bounds, now)
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
            numbered = list(
                zip(changes, bodies, range(last - len(changes) + 1, last + 1), strict=True)
            )
            apply_all(writer, str(partition), numbered, to_microseconds(now))
            if now - self._pruned_at >= _PRUNE_EVERY and prune(writer, to_microseconds(now)):
                self._pruned_at = now

        await self._database.write(work)


def _select(
    partition: Partition,
    kind: str,
    where: Mapping[str, str],
    order: Literal["ascending", "descending"],
    bounds: Sequence[tuple[str, str | None]],
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
    for comparison, bound in bounds:
        if bound is not None:
            conditions.append(f"{walked}.id {comparison} ?")
            parameters.append(bound)
    direction = "ASC" if order == "ascending" else "DESC"
    sql = (
        f"SELECT {_COLUMNS} FROM {' CROSS JOIN '.join(tables)}"  # noqa: S608
        f" WHERE {' AND '.join(conditions)} ORDER BY {walked}.id {direction} LIMIT ?"
    )
    return sql, parameters


def _record(partition: Partition, row: Sequence[Any]) -> Record:
    kind, name, body, fields, expires_at, etag = row
    return Record(
        partition=partition,
        kind=kind,
        id=name,
        body=json_object(body, UNREADABLE),
        index={} if fields == NO_FIELDS else json_object(fields, {}),
        expires_at=None if expires_at is None else from_microseconds(expires_at),
        etag=etag,
    )
