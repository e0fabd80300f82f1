"""Exports: what a period holds, in order, with hashes from which the checkpoint's root follows."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shared.access.principal import Origin, Principal
from shared.adapters.memory.records import MemoryRecords
from shared.audit.export import ExportForm
from shared.audit.index import SPAN_KIND, log_part
from shared.audit.ocsf import MAPPING
from shared.audit.periods import Period
from shared.base.errors import Damaged, NotFound
from shared.base.partitions import OPERATOR, Partition
from shared.crypto import merkle
from shared.crypto.canonical import canonical_json
from shared.crypto.checkpoints import parse_checkpoint
from shared.crypto.notes import VerifierKey, parse_note
from shared.crypto.tiles import WIDTH
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.ports.records import Delete
from shared.wiring.audit import Audit
from tests.support.audit import HOST, AuditData
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

TENANT = "ten_a"
READER = Principal(TENANT, "usr_reader", ())
SCHEMAS = json.loads((Path(__file__).parent / "ocsf-1.3.0.json").read_bytes())
"""JSON Schemas of the classes that we use, made from https://schema.ocsf.io/1.3.0/export/schema by
ocsf-json-schema 1.2.0; objects that our events do not have are ``false``."""


@pytest.fixture
def data() -> AuditData:
    clock = FakeClock()
    return AuditData(MemoryRecords(clock), clock)


async def act(journal: Journal, count: int, partition: Partition) -> None:
    """So many things happen."""
    for start in range(0, count, 90):
        entries = [
            journal.entry(Action.DOCUMENT_OPEN, tenant=partition.tenant)
            for _ in range(min(90, count - start))
        ]
        await journal.commit_together(partition, entries, [], [])


async def exported(
    audit: Audit, period: Period | None = None, form: ExportForm = "ndjson", by: Principal = READER
) -> bytes:
    pieces = await audit.exports.export(by, period or Period(), form)
    return b"".join([piece async for piece in pieces])


def prove(export: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Check an export, written down from its description; its first line and its lines with entries."""
    assert export.endswith(b"\n")
    header, *rows, last = [json.loads(line) for line in export.splitlines()]
    note = parse_note(header["checkpoint"].encode())
    assert note.verified_by([VerifierKey.parse(key) for key in header["keys"]])
    checkpoint = parse_checkpoint(note.text)
    assert (header["format"], header["origin"]) == ("strongroom-audit-export/1", checkpoint.origin)
    assert len(rows) == header["end"] - header["start"]
    leaves = []
    for position, row in enumerate(rows, start=header["start"]):
        if "raw_data" in row:
            assert row["metadata"]["sequence"] == position
            leaves.append(row["raw_data"].encode())
        else:
            assert row["position"] == position
            leaves.append(canonical_json(row["entry"]))
    left, right = (
        [bytes.fromhex(node) for node in last["proof"][side]] for side in ("left", "right")
    )
    assert len(left) == len(merkle.subtrees(0, header["start"]))
    frontier: Sequence[bytes] = left
    for position, leaf in enumerate(leaves, start=header["start"]):
        frontier = merkle.append(frontier, position, merkle.leaf_hash(leaf))
    size = header["end"]
    nodes = merkle.subtrees(header["end"], checkpoint.size)
    for (level, _), node in zip(nodes, right, strict=True):
        frontier = merkle.extend(frontier, size, level, node)
        size += 1 << level
    assert merkle.root(frontier) == checkpoint.root
    return header, rows


async def test_a_log_without_a_checkpoint_cannot_be_exported(data: AuditData) -> None:
    audit, _ = data.process()
    with pytest.raises(NotFound, match="within a minute"):
        await exported(audit)


@pytest.mark.parametrize("size", [1, WIDTH - 1, WIDTH, WIDTH + 1, 3 * WIDTH + 7])
async def test_an_export_of_everything_has_every_entry(data: AuditData, size: int) -> None:
    audit, journal = data.process()
    await act(journal, size, Partition(TENANT))
    await audit.log.append_pending(Partition(TENANT))
    await audit.checkpoints.publish(TENANT)
    header, rows = prove(await exported(audit))
    assert (header["start"], header["end"], len(rows)) == (0, size, size)
    assert (header["from"], header["to"]) == ("", "")


async def test_a_period_has_all_of_its_entries_however_late_they_were_appended(
    data: AuditData,
) -> None:
    data.part_entries = 2 * WIDTH
    audit, journal = data.process()
    chance = random.Random(7)
    partitions = [Partition(TENANT), Partition(TENANT, "2026-01"), Partition(TENANT, "2026-02")]
    for _ in range(60):
        data.clock.advance(chance.randrange(0, 90))
        await act(journal, chance.randrange(1, 40), chance.choice(partitions))
        if chance.random() < 0.6:
            await audit.log.append_pending(chance.choice(partitions))
        if chance.random() < 0.3:
            await audit.checkpoints.publish(TENANT)
    for partition in partitions:
        await audit.log.append_pending(partition)
    await audit.checkpoints.publish(TENANT)
    _, rows = prove(await exported(audit))
    times = [datetime.fromisoformat(row["entry"]["time"]) for row in rows]
    assert len(times) > 4 * WIDTH
    assert times != sorted(times), "some were appended late"
    # As after records were restored: what is lost is read from the bundles.
    for number in range(2):
        page = await data.records.query(log_part(TENANT, number), SPAN_KIND, limit=10)
        await data.records.commit(
            log_part(TENANT, number), [Delete(SPAN_KIND, page.records[0].id, page.records[0].etag)]
        )
    moments = [*chance.sample(times, 12), times[0], times[-1], max(times) + timedelta(days=1)]
    for since in [None, *moments]:
        before = chance.choice([None, *moments, times[5] + timedelta(microseconds=300)])
        header, rows = prove(await exported(audit, Period(since, before)))
        inside = [
            position
            for position, time in enumerate(times)
            if (since is None or time >= since) and (before is None or time < before)
        ]
        expected = range(inside[0], inside[-1] + 1) if inside else range(0)
        assert range(header["start"], header["end"]) == expected, (since, before)
        assert header["from"] == (since.isoformat() if since else "")


async def test_personal_data_is_beside_the_entry_and_only_there(data: AuditData) -> None:
    audit, journal = data.process()
    officer = Principal(OPERATOR, "usr_officer", (), Origin("203.0.113.7", None, "zebra/1"))
    await journal.commit(journal.entry(Action.TENANT_LIST, by=officer))
    await journal.commit(journal.entry(Action.TENANT_LIST, tenant=OPERATOR))
    await audit.log.append_pending(Partition(OPERATOR))
    await audit.checkpoints.publish(OPERATOR)
    header, rows = prove(await exported(audit, by=officer))
    assert header["origin"] == f"{HOST}/log/{OPERATOR}"
    [sealed] = [row for row in rows if "sealed" in row["entry"]]
    assert sealed["opened"] == {"address": "203.0.113.7", "user_agent": "zebra/1"}
    assert "zebra" not in json.dumps(sealed["entry"])
    assert all("opened" not in row for row in rows if row is not sealed)
    _, events = prove(await exported(audit, form="ocsf", by=officer))
    [event] = [event for event in events if event["src_endpoint"] == {"ip": "203.0.113.7"}]
    assert event["http_request"] == {"user_agent": "zebra/1"}
    assert "zebra" not in event["raw_data"]


async def test_every_action_is_an_event_of_the_schema(data: AuditData) -> None:
    assert set(MAPPING) == set(Action)
    audit, journal = data.process()
    by = Principal(TENANT, "usr_someone", (), Origin("2001:db8::7", None, "zebra/1", "req_1"))
    for action in Action:
        resource = "doc_" + "0" * 26
        told = {"size": 1, "roles": ["reader"]}
        for entry, change in (
            (journal.entry(Action.DOCUMENT_LIST, resource, by=by), {"details": told}),
            (journal.entry(Action.DOCUMENT_LIST, tenant=TENANT), {"outcome": "failed"}),
            (journal.entry(Action.DOCUMENT_LIST, by=by), {"outcome": "refused"}),
        ):
            # Whatever release made it, and whatever the catalogue says of the action today.
            await journal.commit(entry.model_copy(update={"action": action, **change}))
    for part in ("main", "0000-00", "1970-01"):
        await audit.log.append_pending(Partition(TENANT, part))
    await audit.checkpoints.publish(TENANT)
    _, events = prove(await exported(audit, form="ocsf"))
    assert len(events) > 2 * len(Action)
    for event in events:
        schema = SCHEMAS["classes"][str(event["class_uid"])] | {"$defs": SCHEMAS["$defs"]}
        Draft202012Validator(schema).validate(event)
        entry = json.loads(event["raw_data"])
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        assert event["metadata"]["uid"] == entry["id"]
        assert event["activity_name"] == entry["action"]
        assert (event["status_id"] == 1) == (entry["outcome"] == "allowed")
        at = datetime.fromtimestamp(event["time"] / 1_000, UTC)
        assert abs(at - datetime.fromisoformat(entry["time"])) < timedelta(milliseconds=1)


async def test_an_export_is_audited_before_anything_of_it_is_read(data: AuditData) -> None:
    audit, journal = data.process()
    await act(journal, 5, Partition(TENANT))
    await audit.log.append_pending(Partition(TENANT))
    await audit.checkpoints.publish(TENANT)
    pieces = await audit.exports.export(READER, Period(), "ocsf")
    await audit.log.append_pending(Partition(TENANT))
    await audit.checkpoints.publish(TENANT)
    header, *_ = prove(b"".join([piece async for piece in pieces]))
    assert header["end"] == 5
    _, rows = prove(await exported(audit))
    assert rows[-1]["entry"]["action"] == "audit.export"
    assert rows[-1]["entry"]["details"] == {"format": "ocsf", "entries": 5}
    assert rows[-1]["entry"]["actor"]["id"] == READER.user


async def test_an_export_is_read_as_it_is_taken(
    data: AuditData, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit, journal = data.process()
    await act(journal, 12 * WIDTH, Partition(TENANT))
    await audit.log.append_pending(Partition(TENANT))
    await audit.checkpoints.publish(TENANT)
    read: list[str] = []
    real = type(data.store).get

    def get(store: Any, name: str, *args: Any) -> Any:
        read.append(name)
        return real(store, name, *args)

    monkeypatch.setattr(type(data.store), "get", get)
    pieces = await audit.exports.export(READER, Period(), "ndjson")
    sizes: list[int] = []
    async for piece in pieces:
        bundles = [name for name in read if "/entries/" in name]
        assert len(bundles) <= 1 + sum(sizes) // 65_536 + 1
        sizes.append(len(piece))
    assert len(sizes) > 4
    assert max(sizes) < 2 * 65_536


async def test_an_export_of_a_damaged_log_has_no_end(data: AuditData) -> None:
    audit, journal = data.process()
    await act(journal, 3 * WIDTH, Partition(TENANT))
    await audit.log.append_pending(Partition(TENANT))
    await audit.checkpoints.publish(TENANT)
    pieces = await audit.exports.export(READER, Period(), "ndjson")
    data.clock.advance(4_000 * 86_400)
    await data.store.delete(f"{TENANT}/tile/entries/002")
    taken: list[bytes] = []

    async def take() -> None:
        taken.extend([piece async for piece in pieces])

    with pytest.raises(Damaged):
        await take()
    assert b'"proof"' not in b"".join(taken)
