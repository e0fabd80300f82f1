"""MemoryRecords: the record store in a dictionary."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Literal

from shared.adapters.checks import check_changes, check_limit, record_body
from shared.adapters.cursors import (
    decode_cursor,
    decode_position,
    encode_cursor,
    encode_position,
    scope_of,
)
from shared.base.errors import Conflict, NotFound
from shared.base.partitions import Partition
from shared.ports.clock import Clock
from shared.ports.records import (
    MAX_PAGE,
    Change,
    Changes,
    Create,
    Delete,
    Page,
    Record,
    Replace,
)

_Key = tuple[Partition, str, str]


@dataclass(slots=True)
class MemoryRecords:
    """A ``RecordStore`` whose records are gone with the process.

    Attributes:
        clock: Decides what has expired.
    """

    clock: Clock
    _records: dict[_Key, Record] = field(default_factory=dict, init=False)
    _etags: count[int] = field(default_factory=lambda: count(1), init=False)
    _name: str = field(default_factory=lambda: uuid.uuid4().hex, init=False)

    async def get(self, partition: Partition, kind: str, id: str) -> Record:
        """See ``RecordStore.get``."""
        await asyncio.sleep(0)  # as a real store, it lets others go first
        found = self._live((partition, kind, id))
        if found is None:
            raise NotFound("There is no such record.")
        return _copy(found)

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
        await asyncio.sleep(0)
        conditions = sorted((where or {}).items())
        scope = scope_of(partition, kind, conditions, order, first, before)
        after = None if cursor is None else decode_cursor(cursor, scope, length=1)[0]
        descending = order == "descending"
        found = sorted(
            (
                record
                for key in self._records
                # Most differ in kind, and comparing texts is cheaper than comparing partitions.
                if key[1] == kind
                and key[0] == partition
                and (record := self._live(key)) is not None
                and all(record.index.get(name) == value for name, value in conditions)
                and (after is None or (key[2] < after if descending else key[2] > after))
                and (first is None or key[2] >= first)
                and (before is None or key[2] < before)
            ),
            key=lambda record: record.id,
            reverse=descending,
        )
        page = [_copy(record) for record in found[:limit]]
        if len(found) <= limit:
            return Page(page, None)
        return Page(page, encode_cursor(scope, [page[-1].id]))

    async def changes(
        self, partition: Partition, *, after: str | None = None, limit: int = MAX_PAGE
    ) -> Changes:
        """See ``RecordStore.changes``. Etags are numbers that grow, so they are the positions, too."""
        check_limit(limit, MAX_PAGE)
        start = 0
        if after is not None:
            store, number = decode_position(after, partition, length=2)
            if store != self._name:
                raise ValueError("The position is of another store.")
            start = int(number)
        await asyncio.sleep(0)
        found = sorted(
            (
                record
                for key in self._records
                if key[0] == partition
                and (record := self._live(key)) is not None
                and int(record.etag) > start
            ),
            key=lambda record: int(record.etag),
        )
        page = [_copy(record) for record in found[:limit]]
        end = page[-1].etag if page else str(start)
        position = encode_position(partition, [self._name, end])
        return Changes(page, position, more=len(found) > limit)

    async def commit(self, partition: Partition, changes: Sequence[Change]) -> None:
        """See ``RecordStore.commit``."""
        check_changes(partition, changes)
        for change in changes:
            if not isinstance(change, Delete):
                record_body(change.record)
        await asyncio.sleep(0)
        for change in changes:
            stored = self._live(_key(partition, change))
            match change:
                case Create() if stored is not None:
                    raise Conflict("A record of this id exists.")
                case Replace(record) if stored is None or stored.etag != record.etag:
                    raise Conflict("The record was changed or removed since it was read.")
                case Delete(etag=etag) if stored is None or etag not in {None, stored.etag}:
                    raise Conflict("The record was changed or removed since it was read.")
        for change in changes:
            key = _key(partition, change)
            if isinstance(change, Delete):
                del self._records[key]
            else:
                self._records[key] = replace(_copy(change.record), etag=str(next(self._etags)))

    def _live(self, key: _Key) -> Record | None:
        record = self._records.get(key)
        if record is None or (
            record.expires_at is not None and record.expires_at <= self.clock.now()
        ):
            return None
        return record


def _key(partition: Partition, change: Change) -> _Key:
    if isinstance(change, Delete):
        return partition, change.kind, change.id
    return partition, change.record.kind, change.record.id


def _copy(record: Record) -> Record:
    """The record with a body that nobody else holds."""
    return replace(record, body=json.loads(json.dumps(record.body)), index=dict(record.index))
