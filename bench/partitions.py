"""How large the partitions of a busy tenant grow in three years: python -m bench.partitions

A million documents in three years, twenty audit entries each. The sizes are those of the records that
the services write, as Cosmos DB stores them; the counts are arithmetic. Nothing is stored.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import bench  # noqa: F401 - run as a script, it finds the project
from shared.adapters.azure.items import to_item
from shared.audit.index import LOGGED_KIND, log_part
from shared.audit.log import PART_ENTRIES
from shared.audit.models import LoggedEntry
from shared.base.ids import new_id
from shared.base.partitions import Partition, partition_of
from shared.documents.models import Document, Version
from shared.journal.entries import Action, Actor, Entry
from shared.keys.models import Epoch
from shared.ports.records import Record

YEARS = 3
DOCUMENTS = 1_000_000
ENTRIES_EACH = 20
VERSIONS_EACH = 2
USERS = 10_000
EPOCHS = YEARS * 365 + DOCUMENTS // 10_000
START = datetime(2026, 1, 1, tzinfo=UTC)
BOUND = 2_000_000_000

SYSTEM_FIELDS = 300
"""Bytes that Cosmos DB adds to an item (_rid, _self, _etag, _attachments, _ts), rounded up."""

INDEX_OVERHEAD = 1.2
"""The index of the few paths that the container indexes, rounded up."""


def random(size: int) -> bytes:
    return bytes(range(256))[:size].ljust(size, b"r")


def stored(record: Record) -> int:
    """Bytes of a record as an item, with its share of the index."""
    item = json.dumps(to_item(record, "0" * 32, START), separators=(",", ":"))
    return round((len(item) + SYSTEM_FIELDS) * INDEX_OVERHEAD)


def document_bytes() -> tuple[int, int]:
    """Of a document's record, and of the record of an earlier version."""
    document = new_id("doc", START, random)
    tenant = new_id("ten", START, random)
    version = Version(
        number=1,
        object=f"{tenant}/2026-01-01-00/{document}.1.0123456789abcdef",
        replica=f"{tenant}/2026-01-01-00/{document}.1.0123456789abcdef",
        epoch=new_id("epo", START, random),
        wrapped_key=random(40),
        names=random(29 + 384),
        size=1_000_000,
        sealed_blake3=random(32),
        created_at=START,
        created_by=new_id("usr", START, random),
    )
    partition = partition_of(tenant, document)
    whole = Document(id=document, created_at=START, current=version).model_dump(mode="json")
    return (
        stored(Record(partition, "document", document, whole, index={"state": "live"})),
        stored(Record(partition, "version", f"{document}.000001", version.model_dump(mode="json"))),
    )


def entry_bytes() -> int:
    """Of an audit entry in the log."""
    tenant = new_id("ten", START, random)
    entry = Entry(
        id=new_id("aud", START, random),
        time=START,
        tenant=tenant,
        actor=Actor(kind="user", id=new_id("usr", START, random)),
        action=Action.DOCUMENT_REPLICATE,
        resource=new_id("doc", START, random),
        address="2001:db8:0123:4567:89ab:cdef:0123:4567",
        trace="0" * 32,
        details={"version": 12, "start": 123_456_789, "end": 234_567_890},
    )
    logged = LoggedEntry(entry=entry, position=10_000_000)
    return stored(
        Record(
            log_part(tenant, 0),
            LOGGED_KIND,
            entry.id,
            logged.model_dump(mode="json"),
            index={"resource": entry.resource},
        )
    )


def epoch_bytes() -> int:
    """Of an epoch's record."""
    tenant = new_id("ten", START, random)
    epoch = Epoch(
        id=new_id("epo", START, random),
        created_at=START,
        intermediate=new_id("int", START, random),
        wrapped_key=random(40),
        reserved=10_000,
    )
    return stored(Record(Partition(tenant), "epoch", epoch.id, epoch.model_dump(mode="json")))


def main() -> int:
    document, version = document_bytes()
    entry, epoch = entry_bytes(), epoch_bytes()
    months: Counter[str] = Counter()
    step = timedelta(days=365 * YEARS) / 10_000
    for number in range(10_000):
        months[f"{START + number * step:%Y-%m}"] += DOCUMENTS // 10_000
    month, busiest = months.most_common(1)[0]
    of_month = busiest * (document + (VERSIONS_EACH - 1) * version)
    of_log = PART_ENTRIES * entry
    parts = -(-DOCUMENTS * ENTRIES_EACH // PART_ENTRIES)
    of_main = USERS * 2 * 1_000 + EPOCHS * epoch
    print(f"a document's record {document:,} B, an earlier version's {version:,} B,")
    print(f"an audit entry {entry:,} B, an epoch {epoch:,} B")
    print(f"month {month}: {busiest:,} documents with {VERSIONS_EACH} versions = {of_month:,} B")
    print(f"log: {parts:,} parts, each {PART_ENTRIES:,} entries = {of_log:,} B")
    print(f"main: {USERS:,} users and {EPOCHS:,} epochs = {of_main:,} B")
    largest = max(of_month, of_log, of_main)
    print(f"largest partition {largest:,} B; bound {BOUND:,} B; Cosmos DB's limit 20,000,000,000 B")
    return 0 if largest < BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
