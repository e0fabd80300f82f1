"""Upgrade of a data folder that release 0.1 made.

In release 0.1 all records of a tenant shared one partition. The records are written anew into a second
file, which then takes the place of the first in one rename. So a process that is killed half-way leaves
the folder as it was, and the next start begins again.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from shared.adapters.embedded import turns
from shared.adapters.embedded.folders import sync_folder
from shared.adapters.embedded.moments import from_microseconds
from shared.adapters.embedded.records import SqliteRecords
from shared.audit.index import (
    HEAD_ID,
    HEAD_KIND,
    LOGGED_KIND,
    POINTER_ID,
    POINTER_KIND,
    log_part,
)
from shared.audit.log import EMPTY, PART_ENTRIES
from shared.audit.models import LogPointer, PartHead, TreeHead
from shared.base.errors import Damaged
from shared.base.events import Event
from shared.base.models import JsonObject
from shared.base.partitions import Partition, partition_of
from shared.crypto import merkle
from shared.crypto.canonical import canonical_json
from shared.documents.naming import former_day
from shared.journal.agenda import Agenda, Task
from shared.journal.idempotency import RESERVATION_KIND
from shared.journal.months import DOCUMENT_MONTHS
from shared.journal.outbox import RELAY_AFTER
from shared.journal.waiting import ENTRY_KIND
from shared.ports.clock import Runtime
from shared.ports.records import MAX_CHANGES, Create, Record, RecordStore

_DROPPED: Final = frozenset({"audit-head", "audit-leaf", "sweep"})
"""Kinds that the upgrade computes anew, or that nothing needs any more."""

_SWEPT_DAYS: Final = timedelta(days=3)
"""Objects of uploads that were killed so long ago may still lie in the stores."""


async def rewrite(data: Path, runtime: Runtime) -> None:
    """Write the records of a data folder of release 0.1 anew, in today's form.

    Raises:
        Damaged: The audit log of a tenant does not agree with its head: nothing was changed.
        OSError, sqlite3.Error: The disk refused.
    """
    rewritten = data / "records.upgrade.db"
    await asyncio.to_thread(_remove_database, rewritten)
    records = SqliteRecords(rewritten, runtime.clock)
    upgrade = _Upgrade(records, Agenda(records, runtime), runtime)
    try:
        with closing(sqlite3.connect(data / "records.db")) as former:
            await upgrade.run(former)
            # What is still in the write-ahead log must not stay behind beside another database.
            former.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            former.execute("PRAGMA journal_mode = DELETE")
    finally:
        await records.close()
    await asyncio.to_thread(_take_over, data, rewritten)


@dataclass(slots=True)
class _Upgrade:
    """One run: reads the former records and commits today's."""

    records: RecordStore
    agenda: Agenda
    runtime: Runtime
    _batch: list[Record] = field(default_factory=list, init=False)
    _months: set[Partition] = field(default_factory=set, init=False)
    _with_events: set[Partition] = field(default_factory=set, init=False)
    _with_uploads: set[Partition] = field(default_factory=set, init=False)
    _tenants: list[str] = field(default_factory=list, init=False)

    async def run(self, former: sqlite3.Connection) -> None:
        """Write every record anew, then what today's timers look for."""
        for record in _rows(former):
            for moved in self._moved(record):
                await self._write(moved)
        for tenant in [row[0] for row in former.execute("SELECT DISTINCT tenant FROM records")]:
            async for record in self._log(former, tenant):
                await self._write(record)
        for partition in sorted(self._months):
            await self._write(
                Record(
                    Partition(partition.tenant),
                    DOCUMENT_MONTHS,
                    partition.part,
                    {"id": partition.part},
                )
            )
        await self._flush()
        now = self.runtime.now()
        for partition in sorted(self._with_events):
            await self.agenda.add(Task.RELAY_EVENTS, partition, now + RELAY_AFTER)
        for partition in sorted(self._with_uploads):
            await self.agenda.add(Task.EXPIRE_UPLOADS, partition, now)
        for tenant in self._tenants:
            await self.agenda.add(Task.ROTATE_TENANT_KEY, Partition(tenant), now)
            day = now - _SWEPT_DAYS
            while day <= now:
                await self.agenda.add(Task.SWEEP_OBJECTS, former_day(tenant, day), now)
                day += timedelta(days=1)

    def _moved(self, record: Record) -> Iterator[Record]:
        """A former record as today's, which may be none or two."""
        tenant, body = record.partition.tenant, record.body
        if record.kind in _DROPPED:
            return
        if record.kind == "tenant":
            self._tenants.append(record.id)
        if record.kind in {"document", "version", "upload"}:
            partition = partition_of(tenant, record.id.partition(".")[0])
            if record.kind == "document":
                self._months.add(partition)
            if record.index.get("state") == "granted":
                self._with_uploads.add(partition)
            yield _placed(record, partition)
        elif record.kind == "audit":
            if body["position"] is None:
                yield _placed(record, Partition(tenant), body["entry"], index={})
        elif record.kind == "outbox":
            event = Event.from_json(str(body["event"]).encode())
            self._with_events.add(event.partition)
            waiting = {"id": event.id, "event": event.to_json().decode()}
            yield _placed(record, event.partition, waiting)
        elif record.kind == "idempotency":
            expires = None if record.expires_at is None else record.expires_at.isoformat()
            common = {"id": record.id, "expires_at": expires}
            yield _placed(record, partition_of(tenant, body["made"]), body | common)
            yield Record(
                Partition(tenant),
                RESERVATION_KIND,
                record.id,
                common | {"reserved": body["made"]},
                expires_at=record.expires_at,
            )
        else:
            yield _placed(record, Partition(tenant))

    async def _log(self, former: sqlite3.Connection, tenant: str) -> AsyncIterator[Record]:
        """The log of a tenant in parts, with their heads, held against the former head."""
        rows = former.execute(
            "SELECT a.body FROM records l JOIN records a ON a.tenant = l.tenant AND a.kind = 'audit'"
            " AND a.id = json_extract(CAST(l.body AS TEXT), '$.entry')"
            " WHERE l.tenant = ? AND l.kind = 'audit-leaf' ORDER BY l.id",
            (tenant,),
        )
        frontier: tuple[bytes, ...] = ()
        size = 0
        tree = EMPTY
        for (raw,) in rows:
            body = json.loads(raw)
            entry = body["entry"]
            leaf = merkle.leaf_hash(canonical_json(entry))
            frontier = merkle.append(frontier, size, leaf)
            resource = entry["resource"]
            into = log_part(tenant, size // PART_ENTRIES)
            yield Record(
                into,
                LOGGED_KIND,
                entry["id"],
                {"entry": entry, "position": size},
                index={"resource": resource} if resource else {},
            )
            size += 1
            tree = TreeHead(
                size=size,
                root=merkle.root(frontier).hex(),
                frontier=tuple(node.hex() for node in frontier),
            )
            if size % PART_ENTRIES == 0:
                yield Record(into, HEAD_KIND, HEAD_ID, PartHead(tree=tree).model_dump(mode="json"))
        head = former.execute(
            "SELECT body FROM records WHERE tenant = ? AND kind = 'audit-head'", (tenant,)
        ).fetchone()
        expected = EMPTY.root if head is None else json.loads(head[0])["root"]
        if tree.root != expected:
            raise Damaged(
                f"The audit log of {tenant} does not agree with its head; the folder was not upgraded."
                " Restore it from a backup."
            )
        if size == 0:
            return
        last = (size - 1) // PART_ENTRIES
        if size % PART_ENTRIES:
            body = PartHead(tree=tree).model_dump(mode="json")
            yield Record(log_part(tenant, last), HEAD_KIND, HEAD_ID, body)
        pointer = LogPointer(part=last).model_dump(mode="json")
        yield Record(Partition(tenant), POINTER_KIND, POINTER_ID, pointer)

    async def _write(self, record: Record) -> None:
        """Commit a record with others of its partition."""
        if self._batch and (
            self._batch[0].partition != record.partition or len(self._batch) == MAX_CHANGES
        ):
            await self._flush()
        self._batch.append(record)

    async def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            await self.records.commit(batch[0].partition, [Create(record) for record in batch])


def _placed(
    record: Record,
    partition: Partition,
    body: JsonObject | None = None,
    index: dict[str, str] | None = None,
) -> Record:
    return Record(
        partition,
        ENTRY_KIND if record.kind == "audit" else record.kind,
        record.id,
        record.body if body is None else body,
        index=record.index if index is None else index,
        expires_at=record.expires_at,
    )


def _rows(former: sqlite3.Connection) -> Iterator[Record]:
    rows = former.execute(
        "SELECT tenant, kind, id, body, fields, expires_at FROM records ORDER BY tenant, kind, id"
    )
    for tenant, kind, name, body, fields, expires_at in rows:
        yield Record(
            Partition(tenant),
            kind,
            name,
            json.loads(body),
            index=json.loads(fields),
            expires_at=None if expires_at is None else from_microseconds(expires_at),
        )


def _remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", *turns.SUFFIXES):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _take_over(data: Path, rewritten: Path) -> None:
    """Let the second file take the place of the first, and sealed content its folder's new name."""
    former, primary = data / "vault", data / "primary"
    if former.exists() and not primary.exists():
        os.rename(former, primary)
    os.replace(rewritten, data / "records.db")
    _remove_database(rewritten)  # what lies beside it
    sync_folder(data)
