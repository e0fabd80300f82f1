"""Idempotency keys: one effect, one scope, one day, and nothing of the request on record."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.adapters.embedded.records import SqliteRecords
from shared.base.errors import Conflict, IdempotencyKeyReused, InvalidInput
from shared.base.partitions import Partition
from shared.journal.idempotency import Idempotency, IdempotencyKey
from shared.ports.clock import Runtime
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

KEY = IdempotencyKey("ten_a", "usr_a\ndocuments", "k" * 16)
HERE = Partition("ten_a", "2026-11")
REQUEST = {"name": "zebra.txt", "labels": {"a": "1", "b": "2"}}


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[SqliteRecords]:
    store = SqliteRecords(tmp_path / "records.db", FakeClock())
    yield store
    await store.close()


@pytest.mark.parametrize("value", ["", "k" * 15, "k" * 256, "ü" * 20])
def test_a_key_of_a_bad_form(value: str) -> None:
    with pytest.raises(InvalidInput):
        IdempotencyKey("ten_a", "scope", value)


async def test_what_is_remembered_is_replayed(records: SqliteRecords) -> None:
    idempotency = Idempotency(records, Runtime(FakeClock(), os.urandom))
    assert await idempotency.replayed(KEY, REQUEST, HERE) is None
    await records.commit(HERE, idempotency.remember(KEY, REQUEST, "doc_1", HERE))
    assert await idempotency.replayed(KEY, REQUEST, HERE) == "doc_1"
    reordered = {"labels": {"b": "2", "a": "1"}, "name": "zebra.txt"}
    assert await idempotency.replayed(KEY, reordered, HERE) == "doc_1"
    with pytest.raises(IdempotencyKeyReused):
        await idempotency.replayed(KEY, REQUEST | {"name": "other"}, HERE)
    with pytest.raises(Conflict):
        await records.commit(HERE, idempotency.remember(KEY, REQUEST, "doc_2", HERE))


async def test_without_a_key_nothing_is_remembered(records: SqliteRecords) -> None:
    idempotency = Idempotency(records, Runtime(FakeClock(), os.urandom))
    assert idempotency.remember(None, REQUEST, "doc_1", HERE) == []
    assert await idempotency.replayed(None, REQUEST, HERE) is None
    assert await idempotency.reserve(None, "doc_1") == "doc_1"


async def test_scopes_do_not_meet(records: SqliteRecords) -> None:
    idempotency = Idempotency(records, Runtime(FakeClock(), os.urandom))
    await records.commit(HERE, idempotency.remember(KEY, REQUEST, "doc_1", HERE))
    for other in (
        IdempotencyKey("ten_b", KEY.scope, KEY.value),
        IdempotencyKey("ten_a", "usr_b\ndocuments", KEY.value),
        IdempotencyKey("ten_a", "usr_a\nuploads", KEY.value),
        IdempotencyKey("ten_a", KEY.scope, KEY.value + "x"),
    ):
        assert (
            await idempotency.replayed(other, REQUEST, Partition(other.tenant, HERE.part)) is None
        )


async def test_a_record_holds_neither_key_nor_request(records: SqliteRecords) -> None:
    (change,) = Idempotency(records, Runtime(FakeClock(), os.urandom)).remember(
        KEY, REQUEST, "doc_1", HERE
    )
    written = json.dumps([change.record.id, change.record.body, dict(change.record.index)])
    assert KEY.value not in written
    assert "zebra" not in written
    assert "usr_a" not in written


async def test_it_is_forgotten_after_a_day(tmp_path: Path) -> None:
    clock = FakeClock()
    store = SqliteRecords(tmp_path / "records.db", clock)
    idempotency = Idempotency(store, Runtime(clock, os.urandom))
    await store.commit(HERE, idempotency.remember(KEY, REQUEST, "doc_1", HERE))
    clock.advance(24 * 3600 - 1)
    assert await idempotency.replayed(KEY, REQUEST, HERE) == "doc_1"
    clock.advance(1)
    assert await idempotency.replayed(KEY, REQUEST, HERE) is None
    await store.commit(HERE, idempotency.remember(KEY, REQUEST, "doc_2", HERE))
    await store.close()


async def test_every_attempt_under_a_key_gets_the_first_ones_id(records: SqliteRecords) -> None:
    idempotency = Idempotency(records, Runtime(FakeClock(), os.urandom))
    ids = await asyncio.gather(*(idempotency.reserve(KEY, f"doc_{n}") for n in range(10)))
    assert len(set(ids)) == 1
    assert await idempotency.reserve(KEY, "doc_late") == ids[0]
    other = IdempotencyKey("ten_a", "usr_b\ndocuments", KEY.value)
    assert await idempotency.reserve(other, "doc_other") == "doc_other"
