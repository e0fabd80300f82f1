"""AzureRecords: the RecordStore port on Cosmos DB."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from shared.adapters.azure.calls import Attempts, call
from shared.adapters.azure.changes import FeedPosition
from shared.adapters.azure.clients import AzureClients
from shared.adapters.azure.items import (
    NOT_EXPIRED,
    has_expired,
    item_id,
    microseconds,
    place,
    places_of,
    to_item,
    to_record,
)
from shared.adapters.azure.record_errors import classify_commit, classify_read
from shared.adapters.checks import check_changes, check_limit, record_body
from shared.adapters.cursors import decode_cursor, encode_cursor, scope_of
from shared.base.errors import Conflict, NotFound
from shared.base.models import JsonObject
from shared.base.partitions import OPERATOR, Partition
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

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy

TENANTS_CONTAINER: Final = "records"
DIRECTORY_CONTAINER: Final = "directory"

Order = Literal["ascending", "descending"]


class AzureRecords:
    """A ``RecordStore`` in a Cosmos DB account, in the containers that the deployment made.

    Args:
        clients: The process's clients.
        account: The account's URL; for an emulator a connection string.
        database: The name of the database with the two containers.
        clock: Decides what has expired.
    """

    def __init__(self, clients: AzureClients, account: str, database: str, clock: Clock) -> None:
        self._clients = clients
        self._account = account
        self._database = database
        self._clock = clock

    async def get(self, partition: Partition, kind: str, id: str) -> Record:
        """See ``RecordStore.get``."""
        container = self._container(partition)
        name = item_id(kind, id)

        async def read(_attempts: Attempts) -> dict[str, Any]:
            return await container.read_item(name, partition_key=str(partition))

        item = await call(read, classify_read, self._clients.timeouts)
        if has_expired(item, self._clock.now()):
            raise NotFound("There is no such record.")
        return to_record(item)

    async def query(
        self,
        partition: Partition,
        kind: str,
        *,
        where: Mapping[str, str] | None = None,
        order: Order = "ascending",
        limit: int = 100,
        cursor: str | None = None,
        first: str | None = None,
        before: str | None = None,
    ) -> Page:
        """See ``RecordStore.query``."""
        check_limit(limit, MAX_PAGE)
        conditions = sorted((where or {}).items())
        scope = scope_of(partition, kind, conditions, order, first, before)
        after = None if cursor is None else decode_cursor(cursor, scope, length=1)[0]
        bounds = ((">=", "@first", first), ("<", "@before", before))
        sql, values = self._select(partition, kind, conditions, order, after, bounds, limit + 1)
        items = await self._rows(partition, sql, values)
        page = [to_record(item) for item in items[:limit]]
        if len(items) <= limit:
            return Page(page, None)
        return Page(page, encode_cursor(scope, [_place(items[limit - 1])]))

    async def changes(
        self, partition: Partition, *, after: str | None = None, limit: int = MAX_PAGE
    ) -> Changes:
        """See ``RecordStore.changes``."""
        check_limit(limit, MAX_PAGE)
        position = FeedPosition() if after is None else FeedPosition.parse(after, partition)
        sql, values = position.select(partition, limit, self._clock.now())
        loop = asyncio.get_running_loop()
        began = loop.time()
        items = await self._rows(partition, sql, values)
        return position.page(partition, items, limit, took=loop.time() - began)

    async def commit(self, partition: Partition, changes: Sequence[Change]) -> None:
        """See ``RecordStore.commit``.

        Raises:
            InternalError: The commit is larger than Cosmos DB's 2 MB as a whole.
        """
        check_changes(partition, changes)
        for change in changes:
            if not isinstance(change, Delete):
                record_body(change.record)
        mark = uuid.uuid4().hex
        container = self._container(partition)
        batch = [self._operation(change, mark) for change in changes]

        async def execute(attempts: Attempts) -> None:
            try:
                await container.execute_item_batch(batch, partition_key=str(partition))
            except Exception as error:
                classification = classify_commit(error)
                if classification is None or not isinstance(classification.error, Conflict):
                    raise
                # Even at the first attempt: the SDK sends a batch again by itself after a 503.
                if await self._took_effect(partition, changes, mark, attempts):
                    return
                if not await self._remove_expired(partition, changes):
                    raise
                await container.execute_item_batch(batch, partition_key=str(partition))

        await call(execute, classify_commit, self._clients.timeouts)

    def _operation(self, change: Change, mark: str) -> tuple[Any, ...]:
        """One operation of a transactional batch, in the form that the SDK takes."""
        match change:
            case Create(record):
                return ("create", (to_item(record, mark, self._clock.now()),))
            case Replace(record):
                item = to_item(record, mark, self._clock.now())
                # An empty condition would be none; no item ever has this etag.
                return ("replace", (item["id"], item), {"if_match_etag": record.etag or "none"})
            case Delete(kind, id_, None):
                return ("delete", (item_id(kind, id_),))
            case Delete(kind, id_, etag):
                return ("delete", (item_id(kind, id_),), {"if_match_etag": etag})

    async def _took_effect(
        self, partition: Partition, changes: Sequence[Change], mark: str, attempts: Attempts
    ) -> bool:
        """Whether this commit was made, by an attempt whose response was lost.

        A commit is all or nothing, so one item that still is as it wrote it speaks for all; others may
        have been changed since. Where it only deletes, what is gone is gone as it should be.
        """
        written = [c.record for c in changes if not isinstance(c, Delete)]
        if written:
            ids = {f"@id{n}": item_id(one.kind, one.id) for n, one in enumerate(written)}
            sql = f'SELECT TOP 1 * FROM c WHERE c.id IN ({", ".join(ids)}) AND c["commit"] = @mark'  # noqa: S608
            return bool(await self._rows(partition, sql, {**ids, "@mark": mark}))
        deleted = [c for c in changes if isinstance(c, Delete)]
        return attempts.uncertain and not any(
            [await self._stored(partition, c.kind, c.id) for c in deleted]
        )

    async def _remove_expired(self, partition: Partition, changes: Sequence[Change]) -> bool:
        """Make room for new records where expired ones are still there; whether there were any."""
        from azure.core import MatchConditions

        container = self._container(partition)
        removed = False
        for change in changes:
            if not isinstance(change, Create):
                continue
            item = await self._stored(partition, change.record.kind, change.record.id)
            if item is not None and has_expired(item, self._clock.now()):
                await container.delete_item(
                    item["id"],
                    partition_key=str(partition),
                    etag=item["_etag"],
                    match_condition=MatchConditions.IfNotModified,
                )
                removed = True
        return removed

    async def _stored(self, partition: Partition, kind: str, id_: str) -> dict[str, Any] | None:
        from azure.cosmos.exceptions import CosmosResourceNotFoundError

        try:
            return await self._container(partition).read_item(
                item_id(kind, id_), partition_key=str(partition)
            )
        except CosmosResourceNotFoundError:
            return None

    def _select(
        self,
        partition: Partition,
        kind: str,
        where: Sequence[tuple[str, str]],
        order: Order,
        after: str | None,
        bounds: Sequence[tuple[str, str, str | None]],
        limit: int,
    ) -> tuple[str, dict[str, Any]]:
        """The statement of a page, which begins after a place, with its parameters."""
        low, high = places_of(kind)
        if after is not None:
            low, high = (after, high) if order == "ascending" else (low, after)
        values: dict[str, Any] = {
            "@partition": str(partition),
            "@low": low,
            "@high": high,
            "@now": microseconds(self._clock.now()),
        }
        clauses = [NOT_EXPIRED]
        for comparison, parameter, id_ in bounds:
            if id_ is not None:
                clauses.append(f"c.place {comparison} {parameter}")
                values[parameter] = place(kind, id_)
        for number, (field, value) in enumerate(where):
            clauses.append(f"c.index[{json.dumps(field)}] = @value{number}")
            values[f"@value{number}"] = value
        sql = (
            f"SELECT TOP {limit} * FROM c WHERE c.partition = @partition"  # noqa: S608
            f" AND c.place > @low AND c.place < @high"
            f" AND {' AND '.join(clauses)}"
            f" ORDER BY c.place {'ASC' if order == 'ascending' else 'DESC'}"
        )
        return sql, values

    async def _rows(
        self, partition: Partition, sql: str, values: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        container = self._container(partition)
        parameters: list[JsonObject] = [{"name": k, "value": v} for k, v in values.items()]

        async def read(_attempts: Attempts) -> list[dict[str, Any]]:
            rows = container.query_items(
                sql,
                parameters=parameters,
                max_item_count=MAX_PAGE,
                partition_key=str(partition),
            )
            return [row async for row in rows]

        return await call(read, classify_read, self._clients.timeouts)

    def _container(self, partition: Partition) -> ContainerProxy:
        client = self._clients.cosmos(self._account)
        name = DIRECTORY_CONTAINER if partition.tenant == OPERATOR else TENANTS_CONTAINER
        return client.get_database_client(self._database).get_container_client(name)


def _place(item: Mapping[str, Any]) -> str:
    place: str = item["place"]
    return place
