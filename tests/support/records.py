"""What the records of a data folder hold, read past the application."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.base.partitions import Partition


@dataclass(frozen=True)
class FoundRecord:
    """One record as SQLite has it."""

    partition: Partition
    kind: str
    id: str
    body: Any


def find_records(data: Path, *kinds: str, tenant: str | None = None) -> Iterator[FoundRecord]:
    """Every record of these kinds in all partitions, of one tenant or of all, in the order of ids."""
    marks = ", ".join("?" for _ in kinds)
    sql = f"SELECT partition, kind, id, body FROM records WHERE kind IN ({marks}) ORDER BY id"
    with closing(sqlite3.connect(data / "records.db")) as database:
        for partition, kind, name, body in database.execute(sql, kinds):
            place = Partition.parse(partition)
            if tenant in {None, place.tenant}:
                yield FoundRecord(place, kind, name, json.loads(body))


def waiting(body: Any) -> dict[str, Any]:
    """The entry that a record of one that waits holds, with its events or by itself."""
    entry: dict[str, Any] = body.get("entry", body)
    return entry


def find_entries(data: Path, tenant: str) -> list[dict[str, Any]]:
    """A tenant's audit entries with their positions, oldest first; None while an entry waits."""
    found = [
        {"entry": waiting(record.body), "position": None} if record.kind == "audit" else record.body
        for record in find_records(data, "audit", "audit-logged", tenant=tenant)
    ]
    return sorted(found, key=lambda logged: str(logged["entry"]["id"]))


def under_way(data: Path) -> str | None:
    """What work is left, as the databases of a server say, be it running or stopped; None: none is.

    A message becomes an entry, and an entry messages: where the bus changes meanwhile, work may have moved
    from the database that is read last to the one that was read first.
    """
    with (
        closing(_read_only(data / "records.db")) as records,
        closing(_read_only(data / "bus.db")) as bus,
    ):
        before = _number(bus, "PRAGMA data_version")
        if _number(bus, "SELECT EXISTS (SELECT 1 FROM messages)"):
            return "messages"
        waiting = "SELECT EXISTS (SELECT 1 FROM records WHERE kind IN ('outbox', 'audit'))"
        if _number(records, waiting):
            return "events in the outbox, or entries without a position"
        return None if _number(bus, "PRAGMA data_version") == before else "what changed the bus"


def _read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{file}?mode=ro", uri=True)


def _number(database: sqlite3.Connection, statement: str) -> int:
    [number] = database.execute(statement).fetchone()
    return int(number)
