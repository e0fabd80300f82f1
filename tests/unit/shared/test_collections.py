"""Typed collections: values in, values out, and pages that walk several partitions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.adapters.memory.records import MemoryRecords
from shared.base.errors import Conflict, Damaged, InvalidInput, NotFound
from shared.base.models import Model, UtcDatetime
from shared.base.partitions import Partition
from shared.journal import collections
from shared.journal.collections import Collection, Order, Stored, page_across
from shared.ports.records import Change, Create, Record
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

HERE = Partition("ten_a", "2026-03")
MONTHS = [Partition("ten_a", f"2026-{month:02}") for month in (3, 2, 1)]


class Note(Model):
    id: str
    text: str = ""
    state: str = "new"
    ends: UtcDatetime | None = None


def expiry(note: Note) -> datetime | None:
    return note.ends


def fields(note: Note) -> Mapping[str, str]:
    return {"state": note.state}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def notes(clock: FakeClock) -> Collection[Note]:
    return Collection(
        MemoryRecords(clock),
        Note,
        "note",
        lambda note: note.id,
        index_of=fields,
        expires_at=expiry,
        missing="There is no such note.",
    )


async def add(notes: Collection[Note], *ids: str, to: Partition = HERE, **values: Any) -> None:
    await notes.records.commit(to, [notes.create(to, Note(id=name, **values)) for name in ids])


def ids(items: Any) -> list[str]:
    return [item.value.id for item in items]


async def test_a_value_is_read_back_as_it_was_created(notes: Collection[Note]) -> None:
    await add(notes, "n1", text="hello")
    stored = await notes.get(HERE, "n1")
    assert stored.value == Note(id="n1", text="hello")
    assert stored.partition == HERE
    assert stored.etag != ""


async def test_a_missing_value_is_not_found_in_the_words_of_the_collection(
    notes: Collection[Note],
) -> None:
    assert await notes.find(HERE, "n1") is None
    with pytest.raises(NotFound) as refusal:
        await notes.get(HERE, "n1")
    assert refusal.value.detail == "There is no such note."


async def test_a_record_that_is_not_the_model_is_damaged_and_not_quoted(
    notes: Collection[Note],
) -> None:
    await notes.records.commit(HERE, [Create(Record(HERE, "note", "n1", {"secret": "hunter2"}))])
    for read in (notes.get(HERE, "n1"), notes.find(HERE, "n1"), notes.page(HERE)):
        with pytest.raises(Damaged) as refusal:
            await read
        assert "hunter2" not in str(refusal.value)
        assert refusal.value.__cause__ is None


async def test_replace_changes_value_index_and_expiry(
    notes: Collection[Note], clock: FakeClock
) -> None:
    await add(notes, "n1")
    stored = await notes.get(HERE, "n1")
    ends = clock.now() + timedelta(seconds=60)
    changed = Note(id="n1", state="sealed", ends=ends)
    await notes.records.commit(HERE, [notes.replace(stored, changed)])
    assert (await notes.get(HERE, "n1")).value == changed
    assert ids((await notes.page(HERE, where={"state": "new"})).items) == []
    assert ids((await notes.page(HERE, where={"state": "sealed"})).items) == ["n1"]
    clock.advance(60)
    assert await notes.find(HERE, "n1") is None


@pytest.mark.parametrize("change", ["replace", "touch", "delete"])
async def test_a_change_of_what_was_changed_since_is_a_conflict(
    notes: Collection[Note], change: str
) -> None:
    await add(notes, "n1")
    stale = await notes.get(HERE, "n1")
    newer = Note(id="n1", text="newer")
    await notes.records.commit(HERE, [notes.replace(stale, newer)])
    changes: dict[str, Change] = {
        "replace": notes.replace(stale, Note(id="n1", text="mine")),
        "touch": notes.touch(stale),
        "delete": notes.delete(stale),
    }
    with pytest.raises(Conflict):
        await notes.records.commit(HERE, [changes[change]])
    assert (await notes.get(HERE, "n1")).value == newer


async def test_touch_keeps_the_value_and_makes_a_new_etag(notes: Collection[Note]) -> None:
    await add(notes, "n1", text="hello")
    before = await notes.get(HERE, "n1")
    await notes.records.commit(HERE, [notes.touch(before)])
    after = await notes.get(HERE, "n1")
    assert after.value == before.value
    assert after.etag != before.etag


async def test_delete_removes_the_value(notes: Collection[Note]) -> None:
    await add(notes, "n1")
    await notes.records.commit(HERE, [notes.delete(await notes.get(HERE, "n1"))])
    assert await notes.find(HERE, "n1") is None


@pytest.mark.parametrize("order", ["ascending", "descending"])
async def test_scan_reads_every_page(
    notes: Collection[Note], monkeypatch: pytest.MonkeyPatch, order: Order
) -> None:
    monkeypatch.setattr(collections, "SCAN_PAGE", 2)
    await add(notes, "n1", "n2", "n3", "n4", "n5")
    await add(notes, "n6", state="sealed")
    found = [item async for item in notes.scan(HERE, where={"state": "new"}, order=order)]
    expected = ["n1", "n2", "n3", "n4", "n5"]
    assert ids(found) == (expected if order == "ascending" else expected[::-1])


async def walk(notes: Collection[Note], partitions: list[Partition], limit: int) -> list[list[str]]:
    """The ids of each page, newest first, by the cursors."""
    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        page = await page_across(notes, partitions, order="descending", limit=limit, cursor=cursor)
        pages.append(ids(page.items))
        cursor = page.cursor
        if cursor is None:
            return pages


@pytest.fixture
async def months(notes: Collection[Note]) -> Collection[Note]:
    """Three notes in March, none in February, two in January."""
    await add(notes, "c1", "c2", "c3", to=MONTHS[0])
    await add(notes, "a1", "a2", to=MONTHS[2])
    return notes


@pytest.mark.parametrize("limit", range(1, 7))
async def test_pages_across_partitions_hold_each_value_once_in_order(
    months: Collection[Note], limit: int
) -> None:
    pages = await walk(months, MONTHS, limit)
    assert [name for page in pages for name in page] == ["c3", "c2", "c1", "a2", "a1"]
    assert all(len(page) <= limit for page in pages)
    assert all(len(page) == limit for page in pages[:-1])


async def test_a_page_across_keeps_to_its_filter(months: Collection[Note]) -> None:
    await add(months, "b1", "b2", to=MONTHS[1], state="sealed")
    page = await page_across(months, MONTHS, where={"state": "sealed"}, limit=10, cursor=None)
    assert (ids(page.items), page.cursor) == (["b1", "b2"], None)


async def test_no_partitions_make_an_empty_page(notes: Collection[Note]) -> None:
    page = await page_across(notes, [], limit=10, cursor=None)
    assert (page.items, page.cursor) == ([], None)


@pytest.mark.parametrize("limit", [2, 3])
async def test_a_partition_that_is_new_does_not_disturb_a_cursor(
    months: Collection[Note], limit: int
) -> None:
    """Inside a partition, and at the border of two."""
    first = await page_across(months, MONTHS, order="descending", limit=limit, cursor=None)
    april = Partition("ten_a", "2026-04")
    await add(months, "d1", to=april)
    rest = await page_across(
        months, [april, *MONTHS], order="descending", limit=10, cursor=first.cursor
    )
    assert ids(first.items) + ids(rest.items) == ["c3", "c2", "c1", "a2", "a1"]


@pytest.mark.parametrize(
    "cursor", ["", "x", "2026-03", "2026-03.", "2026-03.x", "2025-01.start", ".start"]
)
async def test_a_cursor_across_that_is_not_ours_is_refused(
    months: Collection[Note], cursor: str
) -> None:
    with pytest.raises(InvalidInput):
        await page_across(months, MONTHS, limit=2, cursor=cursor)


async def test_a_cursor_across_belongs_to_its_query(months: Collection[Note]) -> None:
    first = await page_across(months, MONTHS, order="descending", limit=2, cursor=None)
    assert first.cursor is not None
    other_tenant = [Partition("ten_b", month.part) for month in MONTHS]
    with pytest.raises(InvalidInput):
        await page_across(months, MONTHS, order="ascending", limit=2, cursor=first.cursor)
    with pytest.raises(InvalidInput):
        await page_across(months, other_tenant, order="descending", limit=2, cursor=first.cursor)


def test_a_stored_value_names_its_record() -> None:
    record = Record(HERE, "note", "n1", {}, etag="e")
    stored = Stored(Note(id="n1"), record)
    assert (stored.etag, stored.partition) == ("e", HERE)
