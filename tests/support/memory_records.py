"""A record store in memory that gives way to other tasks at each call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count

from shared.base.errors import Conflict, NotFound
from shared.base.partitions import Partition
from shared.ports.records import Change, Create, Delete, Page, Record
from tests.support.clock import FakeClock


class MemoryRecords:
    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._records: dict[tuple[Partition, str, str], Record] = {}
        self._etags = count(1)

    async def get(self, partition: Partition, kind: str, id: str) -> Record:
        await asyncio.sleep(0)
        try:
            return _copy(self._records[partition, kind, id])
        except KeyError:
            raise NotFound("There is no such record.") from None

    async def query(
        self,
        partition: Partition,
        kind: str,
        *,
        where: Mapping[str, str] | None = None,
        order: str = "ascending",
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        await asyncio.sleep(0)
        found = sorted(
            (r for (p, k, _), r in self._records.items() if (p, k) == (partition, kind)),
            key=lambda record: record.id,
            reverse=order == "descending",
        )
        start = int(cursor or 0)
        page = [_copy(record) for record in found[start : start + limit]]
        return Page(page, str(start + limit) if len(found) > start + limit else None)

    async def commit(self, partition: Partition, changes: Iterable[Change]) -> None:
        await asyncio.sleep(0)
        changes = list(changes)
        assert 1 <= len(changes) <= 100
        for change in changes:
            there = self._records.get(_name(partition, change))
            etag = change.etag if isinstance(change, Delete) else change.record.etag
            if isinstance(change, Create):
                if there is not None:
                    raise Conflict("It exists.")
            elif there is None or (etag is not None and there.etag != etag):
                raise Conflict("It was changed.")
        for change in changes:
            if isinstance(change, Delete):
                del self._records[_name(partition, change)]
            else:
                record = replace(_copy(change.record), etag=str(next(self._etags)))
                self._records[partition, record.kind, record.id] = record
        await asyncio.sleep(0)


def _name(partition: Partition, change: Change) -> tuple[Partition, str, str]:
    if isinstance(change, Delete):
        return partition, change.kind, change.id
    return partition, change.record.kind, change.record.id


def _copy(record: Record) -> Record:
    return replace(record, body=dict(record.body))
