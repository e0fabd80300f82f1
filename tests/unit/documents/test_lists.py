"""Lists walk the months that hold documents, newest first."""

from __future__ import annotations

import asyncio

import pytest

from shared.base.errors import InvalidInput
from shared.base.partitions import Partition
from tests.support.documents import USER, DocumentData
from tests.support.keys import TENANT, KilledError

pytestmark = pytest.mark.anyio

MONTHS = [(2026, 1, 3), (2026, 2, 1), (2026, 12, 2), (2031, 6, 4)]
"""Year, month, and the documents of it."""


async def filled(data: DocumentData) -> list[str]:
    """Documents of several months, newest first."""
    made = []
    for year, month, documents in MONTHS:
        for day in range(1, documents + 1):
            data.at(year, month, day)
            made.append((await data.process().create()).document.id)
    return made[::-1]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 9, 10, 11, 100])
async def test_pages_of_every_size_hold_every_document_once_newest_first(
    data: DocumentData, limit: int
) -> None:
    made = await filled(data)
    assert len(made) == 10
    assert await data.process().listed(limit) == made


async def test_a_list_looks_into_months_that_hold_documents_alone(data: DocumentData) -> None:
    made = await filled(data)
    process = data.process()
    data.records.months_looked_into()
    assert await process.listed(3) == made
    assert data.records.months_looked_into() == {"2026-01", "2026-02", "2026-12", "2031-06"}
    await process.reader.page(USER, limit=2, cursor=None)
    assert data.records.months_looked_into() == {"2031-06"}


async def test_a_list_of_no_documents(data: DocumentData) -> None:
    assert await data.process().listed() == []


async def test_deleted_documents_are_not_listed_and_leave_full_pages(data: DocumentData) -> None:
    made = await filled(data)
    process = data.process()
    kept = []
    for number, document in enumerate(made):
        if number % 3 == 1:
            kept.append(document)
        elif number % 3:
            await process.erase(document)
        else:
            await process.trash.delete(USER, document, None)
    assert await process.listed(2) == kept
    page = await process.reader.page(USER, limit=3, cursor=None)
    assert [each.document.id for each in page.items] == kept[:3]


async def test_a_month_that_begins_between_two_pages_skips_and_repeats_nothing(
    data: DocumentData,
) -> None:
    made = await filled(data)
    process = data.process()
    first = await process.reader.page(USER, limit=5, cursor=None)
    data.at(2031, 7)
    newer = (await process.create()).document.id
    rest = await process.reader.page(USER, limit=100, cursor=first.cursor)
    assert [each.document.id for each in (*first.items, *rest.items)] == made
    assert await process.listed() == [newer, *made]


@pytest.mark.parametrize("cursor", ["", ".", "x", "2026-01", "2026-01.", "2026-03.start", "x.y"])
async def test_a_cursor_that_is_not_of_the_list_is_refused(data: DocumentData, cursor: str) -> None:
    await filled(data)
    with pytest.raises(InvalidInput):
        await data.process().reader.page(USER, limit=2, cursor=cursor)


async def test_a_month_is_known_before_its_first_document(data: DocumentData) -> None:
    data.records.killed_before = "document-month"
    with pytest.raises(KilledError):
        await data.process().create()
    data.records.killed_before = ""
    page = await data.records.query(Partition(TENANT, "2026-01"), "document")
    assert page.records == [], "no list would have found it"

    made = await asyncio.gather(*(data.process().create() for _ in range(4)))
    assert sorted(await data.process().listed()) == sorted(each.document.id for each in made)
    months = await data.records.query(Partition(TENANT), "document-month")
    assert [record.id for record in months.records] == ["2026-01"]


async def test_a_process_asks_for_a_month_once(data: DocumentData) -> None:
    process = data.process()
    await process.create()
    data.records.killed_before = "document-month"  # it would not survive a second time
    await process.create()
    assert len(await process.listed()) == 2
