"""Typed records: a collection reads and changes the records of one kind as values of one model."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar

from pydantic import ValidationError

from shared.base import telemetry
from shared.base.errors import Conflict, Damaged, InvalidInput, NotFound
from shared.base.models import Model
from shared.base.partitions import Partition
from shared.ports.records import MAX_PAGE, Create, Delete, Record, RecordStore, Replace

M = TypeVar("M", bound=Model)
Order = Literal["ascending", "descending"]

SCAN_PAGE: Final = 200

_log = logging.getLogger("strongroom.records")

_START: Final = "start"
"""In a cursor: from the beginning of the partition."""


@dataclass(frozen=True, slots=True)
class Stored(Generic[M]):
    """A value as last committed, with the record that it takes to change it."""

    value: M
    record: Record

    @property
    def etag(self) -> str:
        """The record's entity tag: new with each change."""
        return self.record.etag

    @property
    def partition(self) -> Partition:
        """Where the record lies."""
        return self.record.partition


@dataclass(frozen=True, slots=True)
class StoredPage(Generic[M]):
    """A page of values.

    Attributes:
        items: Those that can be read.
        cursor: Where there may be more, what continues after them.
        damaged: The ids of those that cannot be read.
    """

    items: Sequence[Stored[M]]
    cursor: str | None
    damaged: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Collection(Generic[M]):
    """The records of one kind.

    Attributes:
        records: The record store.
        model: What the bodies are.
        kind: Of the records.
        id_of: The record's id, from a value; None where ``create`` is told.
        index_of: The index fields of a value.
        expires_at: When the store may forget a value; None: never.
        missing: The error's detail where there is no such record: what to tell a client.
    """

    records: RecordStore
    model: type[M]
    kind: str
    id_of: Callable[[M], str] | None = None
    index_of: Callable[[M], Mapping[str, str]] = lambda _: {}
    expires_at: Callable[[M], datetime | None] = lambda _: None
    missing: str = "There is no such record."

    async def get(self, partition: Partition, id: str) -> Stored[M]:
        """The value with this id.

        Raises:
            NotFound: There is none; with the collection's ``missing`` as its detail.
            Damaged: The record is not what this collection writes.
        """
        found = await self.find(partition, id)
        if found is None:
            raise NotFound(self.missing)
        return found

    async def find(self, partition: Partition, id: str) -> Stored[M] | None:
        """The value with this id; None where there is none.

        Raises:
            Damaged: The record is not what this collection writes.
        """
        try:
            record = await self.records.get(partition, self.kind, id)
        except NotFound:
            return None
        return self.stored(record)

    async def page(
        self,
        partition: Partition,
        *,
        where: Mapping[str, str] | None = None,
        order: Order = "ascending",
        limit: int = MAX_PAGE,
        cursor: str | None = None,
        first: str | None = None,
        before: str | None = None,
        tolerant: bool = False,
    ) -> StoredPage[M]:
        """Values of one partition in the order of their ids.

        The arguments are ``RecordStore.query``'s, and ``tolerant``: to name and log what is damaged, for a
        list that is shown, where it must hide nothing else.

        Raises:
            InvalidInput: The cursor does not belong to this query.
            Damaged: A record is not what this collection writes, and ``tolerant`` is not set.
        """
        page = await self.records.query(
            partition,
            self.kind,
            where=where,
            order=order,
            limit=limit,
            cursor=cursor,
            first=first,
            before=before,
        )
        if not tolerant:
            return StoredPage([self.stored(record) for record in page.records], page.cursor)
        read = [(record.id, self.readable(record)) for record in page.records]
        return StoredPage(
            [stored for _, stored in read if stored is not None],
            page.cursor,
            [name for name, stored in read if stored is None],
        )

    async def scan(
        self,
        partition: Partition,
        *,
        where: Mapping[str, str] | None = None,
        order: Order = "ascending",
        first: str | None = None,
        before: str | None = None,
        tolerant: bool = False,
    ) -> AsyncIterator[Stored[M]]:
        """Every value of one partition in the order of their ids, read page by page.

        The arguments are ``RecordStore.query``'s, and ``tolerant``: to log and leave out what is damaged,
        where others must not wait for it.

        Raises:
            Damaged: A record is not what this collection writes, and ``tolerant`` is not set.
        """
        cursor: str | None = None
        while True:
            page = await self.page(
                partition,
                where=where,
                order=order,
                limit=SCAN_PAGE,
                cursor=cursor,
                first=first,
                before=before,
                tolerant=tolerant,
            )
            for item in page.items:
                yield item
            cursor = page.cursor
            if cursor is None:
                return

    def create(self, partition: Partition, value: M, id: str | None = None) -> Create:
        """The change that adds a value; a conflict if its id exists.

        Raises:
            ValueError: Neither ``id`` nor the collection says which id.
        """
        if id is not None:
            return Create(self._record(partition, value, id))
        if self.id_of is None:
            raise ValueError("a record needs an id")
        return Create(self._record(partition, value, self.id_of(value)))

    def replace(self, stored: Stored[M], value: M) -> Replace:
        """The change to another value of the same id; a conflict if the record was changed since."""
        return Replace(self._record(stored.partition, value, stored.record.id, stored.etag))

    def put(
        self, partition: Partition, stored: Stored[M] | None, value: M, id: str | None = None
    ) -> Create | Replace:
        """The change that makes a value what is kept: a conflict if somebody changed, or added, it since.

        Args:
            partition: Where it lies.
            stored: What was read before; None: there was nothing.
            value: Of the same id.
            id: As for ``create``.
        """
        return self.create(partition, value, id) if stored is None else self.replace(stored, value)

    def touch(self, stored: Stored[M]) -> Replace:
        """The change that changes nothing: the commit holds only if the record was not changed since."""
        return self.replace(stored, stored.value)

    def delete(self, stored: Stored[M]) -> Delete:
        """The change that removes a value; a conflict if the record was changed since."""
        return Delete(self.kind, stored.record.id, stored.etag)

    def stored(self, record: Record) -> Stored[M]:
        """A record of this kind as a value.

        Raises:
            Damaged: The record is not what this collection writes.
        """
        try:
            return Stored(self.model.model_validate(record.body), record)
        except ValidationError:
            # Not chained: its message quotes the record.
            raise Damaged(f"A record of the kind {self.kind} is damaged.") from None

    def readable(self, record: Record) -> Stored[M] | None:
        """``stored`` where others must not wait for what is damaged: that is None, and logged."""
        try:
            return self.stored(record)
        except Damaged:
            _log.error("record.damaged kind=%s id=%s", self.kind, record.id)
            telemetry.RECORDS_DAMAGED.add(1, {telemetry.RECORD: self.kind})
            return None

    def _record(self, partition: Partition, value: M, id: str, etag: str = "") -> Record:
        return Record(
            partition,
            self.kind,
            id,
            value.model_dump(mode="json"),
            index=self.index_of(value),
            expires_at=self.expires_at(value),
            etag=etag,
        )


async def remove_all(records: RecordStore, partition: Partition, deletes: Sequence[Delete]) -> None:
    """Remove records; those that were removed at the same time are left.

    Args:
        records: The record store.
        partition: Of the records.
        deletes: 1 to ``MAX_CHANGES``.
    """
    try:
        await records.commit(partition, deletes)
    except Conflict:
        for delete in deletes:
            with suppress(Conflict):
                await records.commit(partition, [delete])


async def page_across(
    collection: Collection[M],
    partitions: Sequence[Partition],
    *,
    where: Mapping[str, str] | None = None,
    order: Order = "ascending",
    limit: int,
    cursor: str | None,
    first: str | None = None,
    before: str | None = None,
) -> StoredPage[M]:
    """A page of the values of several partitions of one tenant, one partition after the other.

    What is damaged is named and logged, and hides nothing else.

    Args:
        collection: Of the values.
        partitions: In the order in which to walk them, the same at each call; one that is new since the
            cursor was given does not matter.
        where: See ``RecordStore.query``.
        order: By id, within each partition.
        limit: Values at most.
        cursor: From the page before, for the same query.
        first: See ``RecordStore.query``, and so is the next.
        before: See ``first``.

    Raises:
        InvalidInput: The cursor does not belong to this query.
    """
    parts = {partition.part: number for number, partition in enumerate(partitions)}
    at, inner = 0, None
    if cursor is not None:
        part, _, inner = cursor.partition(".")
        if part not in parts or not inner:
            raise InvalidInput("The cursor is not valid for this query; start again without one.")
        at, inner = parts[part], None if inner == _START else inner
    found: list[Stored[M]] = []
    damaged: list[str] = []
    for number, partition in enumerate(partitions[at:], start=at):
        left = limit - len(found) - len(damaged)
        page = await collection.page(
            partition,
            where=where,
            order=order,
            limit=left,
            cursor=inner,
            first=first,
            before=before,
            tolerant=True,
        )
        inner = None
        found += page.items
        damaged += page.damaged
        if page.cursor is not None:
            return StoredPage(found, f"{partition.part}.{page.cursor}", damaged)
        if len(found) + len(damaged) == limit and number + 1 < len(partitions):
            return StoredPage(found, f"{partitions[number + 1].part}.{_START}", damaged)
    return StoredPage(found, None, damaged)
