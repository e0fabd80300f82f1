"""The index of the audit logs: where an entry is found by who, what and when.

It holds a copy of each entry with its position, for as long as policy says. The tiles are the log;
``shared.audit.rebuilding`` makes the index anew from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from shared.audit.models import BundleSpan, LogCheckpoint, LoggedEntry, LogPointer, PartHead
from shared.base.models import JsonObject
from shared.base.partitions import Partition
from shared.crypto.tiles import WIDTH
from shared.journal.collections import Collection
from shared.journal.entries import Action
from shared.ports.records import Record, RecordStore

LOGGED_KIND: Final = "audit-logged"
HEAD_KIND: Final = "audit-head"
HEAD_ID: Final = "head"
POINTER_KIND: Final = "audit-log"
POINTER_ID: Final = "log"
CHECKPOINT_KIND: Final = "audit-checkpoint"
SPAN_KIND: Final = "audit-span"

FILTERS: Final = ("actor", "action", "grant", "outcome", "resource")
"""The fields by which entries can be found."""


def log_index(records: RecordStore) -> Collection[LoggedEntry]:
    """The entries of a part of a log, by their ids."""
    return Collection(records, LoggedEntry, LOGGED_KIND)


def logged_record(part: Partition, entry: JsonObject, position: int, until: datetime) -> Record:
    """The record of an entry in the index.

    Args:
        part: Of the log.
        entry: As the log holds it.
        position: In the log.
        until: When the index may forget it. What says how a backup's manifest hashes stays.
    """
    return Record(
        part,
        LOGGED_KIND,
        entry["id"],
        {"entry": entry, "position": position},
        index=index_of(entry, position),
        expires_at=None if entry["action"] == Action.BACKUP_CREATE else until,
    )


def index_of(entry: JsonObject, position: int) -> Mapping[str, str]:
    """The index fields of an entry; one that is empty is left out."""
    fields = {
        "actor": entry["actor"]["id"],
        "action": entry["action"],
        "bundle": str(position // WIDTH),
        "grant": entry.get("grant", ""),
        "outcome": entry["outcome"],
        "resource": entry["resource"],
    }
    return {name: value for name, value in fields.items() if value}


def log_heads(records: RecordStore) -> Collection[PartHead]:
    """The head of each part of a log, in that part."""
    return Collection(records, PartHead, HEAD_KIND, lambda _: HEAD_ID)


def log_pointers(records: RecordStore) -> Collection[LogPointer]:
    """Where each tenant's log goes on, in its main partition."""
    return Collection(records, LogPointer, POINTER_KIND, lambda _: POINTER_ID)


def log_checkpoints(records: RecordStore) -> Collection[LogCheckpoint]:
    """The newest checkpoint of each log, in its tenant's main partition."""
    return Collection(records, LogCheckpoint, CHECKPOINT_KIND, lambda checkpoint: checkpoint.id)


def bundle_spans(records: RecordStore) -> Collection[BundleSpan]:
    """When the entries of each full bundle were made, in the part of its first entry."""
    return Collection(records, BundleSpan, SPAN_KIND, lambda span: span.id)


async def newest_log_part(records: RecordStore, tenant: str) -> int:
    """The number of the last part of a tenant's log that is known to have begun."""
    pointer = await log_pointers(records).find(Partition(tenant), POINTER_ID)
    return 0 if pointer is None else pointer.value.part


def log_part(tenant: str, number: int) -> Partition:
    """The partition of one part of a tenant's log."""
    return Partition(tenant, f"log-{number:06d}")


def parts_of(tenant: str, start: int, end: int, part_entries: int) -> Sequence[Partition]:
    """The parts that hold the entries at the positions from ``start`` on, before ``end``."""
    return [
        log_part(tenant, number) for number in range(start // part_entries, -(-end // part_entries))
    ]
