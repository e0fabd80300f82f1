"""RecordStore: every adapter keeps what ``shared.ports.records`` promises."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.base.errors import Conflict, InvalidInput, NotFound
from shared.base.partitions import Partition
from shared.ports.records import (
    MAX_CHANGES,
    MAX_PAGE,
    MAX_RECORD_BYTES,
    Create,
    Delete,
    Record,
    Replace,
)
from tests.support.contract.harness import RecordsHarness

pytestmark = pytest.mark.anyio

HERE = Partition("ten_a", "2026-11")
OTHER_PART = Partition("ten_a", "2026-12")
OTHER_TENANT = Partition("ten_b", "2026-11")


def document(number: int, partition: Partition = HERE, **index: str) -> Record:
    return Record(partition, "document", f"doc_{number:04}", {"number": number}, index)


async def ids(harness: RecordsHarness, **query) -> list[str]:
    """All pages of a query, by their cursors."""
    partition = query.pop("partition", HERE)
    found, cursor = [], None
    while True:
        page = await harness.store.query(partition, "document", cursor=cursor, **query)
        found += [record.id for record in page.records]
        cursor = page.cursor
        if cursor is None:
            return found


async def test_what_was_committed_is_read_back(records):
    body = {  # type: ignore[var-annotated]
        "text": "Zoë \u2028 \U0001f512 \x00",
        "list": [1, 2.5, None, True, {"deep": []}],
        "": "",
    }
    expires_at = records.now() + timedelta(hours=1, microseconds=7)
    written = Record(HERE, "document", "doc_1", body, {"state": "sealed"}, expires_at)
    await records.store.commit(HERE, [Create(written)])
    read = await records.store.get(HERE, "document", "doc_1")
    assert read.etag != ""
    assert replace(read, etag="") == written


async def test_what_was_committed_survives_the_process(records):
    await records.store.commit(HERE, [Create(document(1, state="new"))])
    again = await records.reopen()
    assert (await again.get(HERE, "document", "doc_0001")).body == {"number": 1}


async def test_a_missing_record_is_not_found(records):
    with pytest.raises(NotFound):
        await records.store.get(HERE, "document", "doc_1")


async def test_create_refuses_what_exists(records):
    await records.store.commit(HERE, [Create(document(1))])
    with pytest.raises(Conflict):
        await records.store.commit(HERE, [Create(replace(document(1), body={"other": True}))])
    assert (await records.store.get(HERE, "document", "doc_0001")).body == {"number": 1}


async def test_replace_needs_the_present_etag_and_makes_a_new_one(records):
    await records.store.commit(HERE, [Create(document(1))])
    first = await records.store.get(HERE, "document", "doc_0001")
    await records.store.commit(HERE, [Replace(replace(first, body={"number": 2}))])
    second = await records.store.get(HERE, "document", "doc_0001")
    assert second.body == {"number": 2}
    assert second.etag != first.etag
    for stale in (first, replace(first, etag=""), replace(first, etag="no-such-etag")):
        with pytest.raises(Conflict):
            await records.store.commit(HERE, [Replace(replace(stale, body={}))])
    assert await records.store.get(HERE, "document", "doc_0001") == second


async def test_replace_and_delete_refuse_what_is_missing(records):
    with pytest.raises(Conflict):
        await records.store.commit(HERE, [Replace(replace(document(1), etag="e"))])
    with pytest.raises(Conflict):
        await records.store.commit(HERE, [Delete("document", "doc_0001")])


async def test_an_etag_does_not_come_back_with_a_new_record_of_the_same_id(records):
    await records.store.commit(HERE, [Create(document(1))])
    first = await records.store.get(HERE, "document", "doc_0001")
    await records.store.commit(HERE, [Delete("document", "doc_0001")])
    await records.store.commit(HERE, [Create(document(1))])
    with pytest.raises(Conflict):
        await records.store.commit(HERE, [Replace(first)])


async def test_delete_with_and_without_an_etag(records):
    await records.store.commit(HERE, [Create(document(1)), Create(document(2))])
    with pytest.raises(Conflict):
        await records.store.commit(HERE, [Delete("document", "doc_0001", etag="stale")])
    etag = (await records.store.get(HERE, "document", "doc_0001")).etag
    await records.store.commit(HERE, [Delete("document", "doc_0001", etag=etag)])
    await records.store.commit(HERE, [Delete("document", "doc_0002")])
    assert await ids(records) == []


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_one_bad_change_undoes_the_others(records, position):
    await records.store.commit(HERE, [Create(document(8)), Create(document(9, state="new"))])
    nine = await records.store.get(HERE, "document", "doc_0009")
    changes = [Create(document(1)), Replace(replace(nine, body={}, index={"state": "gone"}))]
    changes.insert(position, Create(document(8)))
    with pytest.raises(Conflict):
        await records.store.commit(HERE, changes)
    assert await ids(records) == ["doc_0008", "doc_0009"]
    assert await records.store.get(HERE, "document", "doc_0009") == nine
    assert await ids(records, where={"state": "new"}) == ["doc_0009"]
    assert await ids(records, where={"state": "gone"}) == []


async def test_a_commit_of_the_most_changes(records):
    await records.store.commit(HERE, [Create(document(n)) for n in range(MAX_CHANGES)])
    assert len(await ids(records)) == MAX_CHANGES


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([], id="none"),
        pytest.param([Create(document(n)) for n in range(MAX_CHANGES + 1)], id="too many"),
        pytest.param([Create(document(1)), Create(document(2, OTHER_TENANT))], id="of two tenants"),
        pytest.param([Create(document(1)), Create(document(2, OTHER_PART))], id="of two parts"),
        pytest.param([Create(document(1)), Delete("document", "doc_0001")], id="named twice"),
        pytest.param(
            [Create(document(1)), Create(replace(document(2), body={"x": "x" * MAX_RECORD_BYTES}))],
            id="too large",
        ),
        pytest.param([Create(replace(document(1), body={"x": float("nan")}))], id="no JSON"),
    ],
)
async def test_a_commit_out_of_limits_is_refused_whole(records, changes):
    with pytest.raises(ValueError):
        await records.store.commit(HERE, changes)
    assert await ids(records) == []


async def test_a_record_of_the_largest_size(records):
    text = "x" * (MAX_RECORD_BYTES - len('{"x":""}'))
    await records.store.commit(HERE, [Create(replace(document(1), body={"x": text}))])
    assert (await records.store.get(HERE, "document", "doc_0001")).body == {"x": text}


async def test_of_many_writers_with_one_etag_one_wins(records):
    await records.store.commit(HERE, [Create(document(0))])
    start = await records.store.get(HERE, "document", "doc_0000")

    async def write(number: int) -> int | None:
        try:
            await records.store.commit(
                HERE, [Replace(replace(start, body={"winner": number})), Create(document(number))]
            )
        except Conflict:
            return None
        return number

    outcomes = await asyncio.gather(*(write(number) for number in range(1, 21)))
    [winner] = [number for number in outcomes if number is not None]
    assert (await records.store.get(HERE, "document", "doc_0000")).body == {"winner": winner}
    assert await ids(records) == ["doc_0000", f"doc_{winner:04}"]


async def test_of_many_creators_one_wins(records):
    outcomes = await asyncio.gather(
        *(records.store.commit(HERE, [Create(document(1))]) for _ in range(20)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [Conflict] * 19


async def test_no_increment_is_lost_among_writers_that_retry(records):
    await records.store.commit(HERE, [Create(replace(document(1), body={"count": 0}))])

    async def increment() -> None:
        while True:
            record = await records.store.get(HERE, "document", "doc_0001")
            try:
                await records.store.commit(
                    HERE, [Replace(replace(record, body={"count": record.body["count"] + 1}))]
                )
            except Conflict:
                continue
            return

    await asyncio.gather(*(increment() for _ in range(10)))
    assert (await records.store.get(HERE, "document", "doc_0001")).body == {"count": 10}


@pytest.mark.parametrize("other", [OTHER_PART, OTHER_TENANT], ids=["part", "tenant"])
async def test_partitions_do_not_see_each_other(records, other):
    for partition in (HERE, other):
        await records.store.commit(partition, [Create(document(1, partition, state="new"))])
    await records.store.commit(other, [Create(document(2, other, state="new"))])
    with pytest.raises(NotFound):
        await records.store.get(HERE, "document", "doc_0002")
    assert await ids(records) == ["doc_0001"]
    assert await ids(records, where={"state": "new"}) == ["doc_0001"]
    with pytest.raises(Conflict):
        await records.store.commit(HERE, [Delete("document", "doc_0002")])
    await records.store.commit(HERE, [Delete("document", "doc_0001")])
    assert await ids(records, partition=other) == ["doc_0001", "doc_0002"]


@pytest.mark.parametrize("other", [OTHER_PART, OTHER_TENANT], ids=["part", "tenant"])
async def test_a_cursor_belongs_to_its_partition(records, other):
    for partition in (HERE, other):
        changes = [Create(document(number, partition)) for number in range(4)]
        await records.store.commit(partition, changes)
    page = await records.store.query(HERE, "document", limit=2)
    with pytest.raises(InvalidInput):
        await records.store.query(other, "document", limit=2, cursor=page.cursor)


async def test_kinds_are_apart(records):
    upload = Record(HERE, "upload", "doc_0001", {}, {"state": "new"})
    await records.store.commit(HERE, [Create(document(1, state="new")), Create(upload)])
    await records.store.commit(HERE, [Delete("upload", "doc_0001")])
    assert await ids(records, where={"state": "new"}) == ["doc_0001"]


@pytest.mark.parametrize("limit", [1, 3, 7, 10, 11, MAX_PAGE])
@pytest.mark.parametrize("where", [{}, {"state": "new"}, {"state": "new", "owner": "u"}])
async def test_pages_in_both_orders(records, limit, where):
    shuffled = [7, 3, 9, 1, 0, 8, 2, 6, 5, 4]
    await records.store.commit(
        HERE, [Create(document(number, state="new", owner="u")) for number in shuffled]
    )
    expected = [f"doc_{number:04}" for number in range(10)]
    assert await ids(records, limit=limit, where=where) == expected
    assert await ids(records, limit=limit, where=where, order="descending") == expected[::-1]


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("where", [{}, {"state": "new"}])
async def test_ids_are_bounded_below_and_above(records, order, where):
    await records.store.commit(
        HERE, [Create(document(number, state="new")) for number in range(10)]
    )
    every = [f"doc_{number:04}" for number in range(10)]

    async def found(**bounds: str) -> list[str]:
        names = await ids(records, limit=3, where=where, order=order, **bounds)
        return names if order == "ascending" else names[::-1]

    assert await found(first="doc_0003") == every[3:]
    assert await found(before="doc_0003") == every[:3]
    assert await found(first="doc_0003", before="doc_0008") == every[3:8]
    assert await found(first="doc_0003x", before="doc_0004x") == every[4:5]
    assert await found(first="doc_0005", before="doc_0005") == []
    page = await records.store.query(HERE, "document", limit=2, order=order, first="doc_0001")
    for bounds in ({}, {"first": "doc_0002"}, {"first": "doc_0001", "before": "doc_0009"}):
        with pytest.raises(InvalidInput):
            await records.store.query(
                HERE, "document", limit=2, order=order, cursor=page.cursor, **bounds
            )


async def test_a_page_that_ends_with_the_last_record_may_have_no_cursor_or_an_empty_next_page(
    records,
):
    await records.store.commit(HERE, [Create(document(number)) for number in range(4)])
    page = await records.store.query(HERE, "document", limit=4)
    assert [record.id for record in page.records] == [f"doc_{number:04}" for number in range(4)]
    if page.cursor is not None:
        rest = await records.store.query(HERE, "document", limit=4, cursor=page.cursor)
        assert (list(rest.records), rest.cursor) == ([], None)


async def test_where_is_an_intersection_of_exact_values(records):
    await records.store.commit(
        HERE,
        [
            Create(document(1, state="new", owner="u1", case="c")),
            Create(document(2, state="new", owner="u2", case="c")),
            Create(document(3, state="sealed", owner="u1", case="c")),
            Create(document(4, owner="u1")),
            Create(document(5, state="New", owner="u1")),
            Create(document(6)),
        ],
    )
    assert await ids(records, where={"state": "new"}) == ["doc_0001", "doc_0002"]
    assert await ids(records, where={"owner": "u1", "state": "new"}) == ["doc_0001"]
    assert await ids(records, where={"owner": "u1", "case": "c", "state": "sealed"}) == ["doc_0003"]
    assert await ids(records, where={"state": "new", "owner": "u3"}) == []
    assert await ids(records, where={"no-such-field": "x"}) == []
    assert await ids(records, where={"state": "%"}) == []


async def test_replace_and_delete_keep_the_index_true(records):
    await records.store.commit(HERE, [Create(document(1, state="new", owner="u"))])
    record = await records.store.get(HERE, "document", "doc_0001")
    await records.store.commit(HERE, [Replace(replace(record, index={"state": "sealed"}))])
    assert await ids(records, where={"state": "new"}) == []
    assert await ids(records, where={"owner": "u"}) == []
    assert await ids(records, where={"state": "sealed"}) == ["doc_0001"]
    await records.store.commit(HERE, [Delete("document", "doc_0001")])
    assert await ids(records, where={"state": "sealed"}) == []
    await records.store.commit(HERE, [Create(document(1))])
    assert await ids(records, where={"state": "sealed"}) == []


async def test_a_cursor_goes_on_from_its_place_while_records_come_and_go(records):
    await records.store.commit(HERE, [Create(document(number)) for number in range(10, 60, 10)])
    page = await records.store.query(HERE, "document", limit=2)
    assert [record.id for record in page.records] == ["doc_0010", "doc_0020"]
    await records.store.commit(
        HERE,
        [
            Create(document(15)),
            Create(document(25)),
            *(Delete("document", f"doc_00{n}") for n in (20, 30)),
        ],
    )
    rest = await records.store.query(HERE, "document", limit=10, cursor=page.cursor)
    assert [record.id for record in rest.records] == ["doc_0025", "doc_0040", "doc_0050"]


async def test_no_record_is_missed_or_seen_twice_under_concurrent_inserts(records):
    await records.store.commit(HERE, [Create(document(number)) for number in range(0, 200, 4)])

    async def insert() -> None:
        for number in range(1, 200, 4):
            await records.store.commit(HERE, [Create(document(number))])

    inserting = asyncio.create_task(insert())
    seen = await ids(records, limit=3)
    await inserting
    assert seen == sorted(set(seen))
    assert {f"doc_{number:04}" for number in range(0, 200, 4)} <= set(seen)


async def test_a_cursor_that_is_not_ours_is_refused(records):
    await records.store.commit(HERE, [Create(document(number)) for number in range(4)])
    page = await records.store.query(HERE, "document", limit=2)
    forged = base64.urlsafe_b64encode(json.dumps(["doc_0000", "ten_b"]).encode()).decode()
    hostile = ["", "x", "é", "!!!!", "bnVsbA", "W10", forged, page.cursor[:-4], page.cursor[4:]]
    middle = len(page.cursor) // 2
    swapped = "A" if page.cursor[middle] != "A" else "B"
    hostile.append(page.cursor[:middle] + swapped + page.cursor[middle + 1 :])
    for cursor in hostile:
        with pytest.raises(InvalidInput):
            await records.store.query(HERE, "document", limit=2, cursor=cursor)


@pytest.mark.parametrize("limit", [-1, 0, MAX_PAGE + 1])
async def test_a_limit_out_of_range_is_refused(records, limit):
    with pytest.raises(ValueError):
        await records.store.query(HERE, "document", limit=limit)


async def test_an_expired_record_is_gone(records):
    expires_at = records.now() + timedelta(seconds=60)
    mortal = replace(document(1, state="new"), expires_at=expires_at)
    await records.store.commit(HERE, [Create(mortal), Create(document(2, state="new"))])
    await records.advance(59)
    stored = await records.store.get(HERE, "document", "doc_0001")
    await records.advance(1)
    with pytest.raises(NotFound):
        await records.store.get(HERE, "document", "doc_0001")
    assert await ids(records) == ["doc_0002"]
    assert await ids(records, where={"state": "new"}) == ["doc_0002"]
    for change in (Replace(stored), Delete("document", "doc_0001")):
        with pytest.raises(Conflict):
            await records.store.commit(HERE, [change])


async def test_an_expired_record_makes_room_for_a_new_one(records):
    expires_at = records.now() + timedelta(seconds=60)
    await records.store.commit(
        HERE, [Create(replace(document(1, state="old"), expires_at=expires_at))]
    )
    await records.advance(60)
    await records.store.commit(HERE, [Create(replace(document(1, state="new"), body={"n": 2}))])
    assert (await records.store.get(HERE, "document", "doc_0001")).body == {"n": 2}
    assert await ids(records, where={"state": "old"}) == []
    assert await ids(records, where={"state": "new"}) == ["doc_0001"]


async def test_an_expired_record_makes_room_for_one_of_many_new_ones(records):
    expires_at = records.now() + timedelta(seconds=60)
    await records.store.commit(
        HERE, [Create(replace(document(2, state="old"), expires_at=expires_at))]
    )
    await records.advance(60)
    await records.store.commit(HERE, [Create(document(n, state="new")) for n in range(1, 4)])
    assert await ids(records, where={"state": "old"}) == []
    assert await ids(records, where={"state": "new"}) == ["doc_0001", "doc_0002", "doc_0003"]


async def test_a_replace_can_put_off_the_expiry(records):
    expires_at = records.now() + timedelta(seconds=60)
    await records.store.commit(HERE, [Create(replace(document(1), expires_at=expires_at))])
    record = await records.store.get(HERE, "document", "doc_0001")
    await records.store.commit(HERE, [Replace(replace(record, expires_at=None))])
    await records.advance(3_600)
    assert (await records.store.get(HERE, "document", "doc_0001")).expires_at is None


async def changed(
    harness: RecordsHarness, after: str | None = None, **how
) -> tuple[list[str], str]:
    """The ids that the feed gives after a position, all pages of it, and where it ends."""
    partition, found = how.pop("partition", HERE), []
    while True:
        feed = await harness.store.changes(partition, after=after, **how)
        found += [record.id for record in feed.records]
        after = feed.position
        if not feed.more:
            return found, after


async def test_the_feed_gives_every_record_of_every_kind_from_the_beginning(records):
    upload = Record(HERE, "upload", "upl_1", {"deep": [{}]}, {"state": "new"})
    await records.store.commit(HERE, [Create(document(1, state="new")), Create(upload)])
    feed = await records.store.changes(HERE)
    assert sorted(record.id for record in feed.records) == ["doc_0001", "upl_1"]
    for record in feed.records:
        assert record == await records.store.get(HERE, record.kind, record.id)
    assert feed.more is False


async def test_an_empty_partition_has_a_position_after_which_changes_come(records):
    found, position = await changed(records)
    assert found == []
    await records.store.commit(HERE, [Create(document(1))])
    assert (await changed(records, position))[0] == ["doc_0001"]


async def test_after_a_position_the_feed_gives_what_changed_since(records):
    await records.store.commit(HERE, [Create(document(number)) for number in range(4)])
    _, position = await changed(records)
    assert (await changed(records, position))[0] == []
    second = await records.store.get(HERE, "document", "doc_0002")
    await records.store.commit(HERE, [Replace(replace(second, body={"new": True}))])
    await records.store.commit(HERE, [Create(document(9))])
    feed = await records.store.changes(HERE, after=position)
    assert sorted(record.id for record in feed.records) == ["doc_0002", "doc_0009"]
    [second] = [record for record in feed.records if record.id == "doc_0002"]
    assert second == await records.store.get(HERE, "document", "doc_0002")
    assert second.body == {"new": True}
    assert (await changed(records, feed.position))[0] == []


async def test_a_record_that_changed_often_comes_once_as_it_is_now(records):
    await records.store.commit(HERE, [Create(document(1)), Create(document(2))])
    _, position = await changed(records)
    for number in range(3):
        stored = await records.store.get(HERE, "document", "doc_0001")
        await records.store.commit(HERE, [Replace(replace(stored, body={"number": number}))])
    feed = await records.store.changes(HERE, after=position)
    assert [record.body for record in feed.records] == [{"number": 2}]


async def test_a_position_is_good_for_as_long_as_nothing_changes(records):
    await records.store.commit(HERE, [Create(document(1))])
    _, position = await changed(records)
    for _ in range(3):
        feed = await records.store.changes(HERE, after=position)
        assert (list(feed.records), feed.more) == ([], False)
        position = feed.position
    await records.store.commit(HERE, [Create(document(2))])
    assert (await changed(records, position))[0] == ["doc_0002"]


async def test_the_feed_can_be_read_again_from_an_earlier_position(records):
    await records.store.commit(HERE, [Create(document(1))])
    _, first = await changed(records)
    await records.store.commit(HERE, [Create(document(2))])
    for _ in range(2):
        assert (await changed(records, first))[0] == ["doc_0002"]
        assert (await changed(records))[0] == ["doc_0001", "doc_0002"]


async def test_the_feed_does_not_give_what_was_deleted_or_has_expired(records):
    expires_at = records.now() + timedelta(seconds=60)
    mortal = replace(document(3), expires_at=expires_at)
    await records.store.commit(HERE, [Create(document(1)), Create(document(2)), Create(mortal)])
    _, position = await changed(records)
    await records.store.commit(HERE, [Delete("document", "doc_0001")])
    assert (await changed(records, position))[0] == []
    assert (await changed(records))[0] == ["doc_0002", "doc_0003"]
    await records.advance(60)
    assert (await changed(records))[0] == ["doc_0002"]


async def test_a_record_that_was_made_anew_comes_again(records):
    await records.store.commit(HERE, [Create(document(1)), Create(document(2))])
    _, position = await changed(records)
    await records.store.commit(HERE, [Delete("document", "doc_0002")])
    await records.store.commit(HERE, [Create(document(2))])
    assert (await changed(records, position))[0] == ["doc_0002"]


async def test_a_new_record_in_the_place_of_an_expired_one_comes(records):
    mortal = replace(document(1), expires_at=records.now() + timedelta(seconds=60))
    await records.store.commit(HERE, [Create(mortal)])
    _, position = await changed(records)
    await records.advance(60)
    await records.store.commit(HERE, [Create(document(1))])
    assert (await changed(records, position))[0] == ["doc_0001"]


@pytest.mark.parametrize("limit", [1, 3, 7, 12, MAX_PAGE])
async def test_the_pages_of_the_feed_lose_nothing(records, limit):
    """Commits of several records, too, that a page may end within."""
    for first in (0, 4, 8):
        await records.store.commit(HERE, [Create(document(first + n)) for n in range(4)])
    found, position = await changed(records, limit=limit)
    assert sorted(found) == [f"doc_{number:04}" for number in range(12)]
    assert (await changed(records, position))[0] == []
    feed = await records.store.changes(HERE, limit=limit)
    assert feed.more is (limit < 12)


@pytest.mark.parametrize("other", [OTHER_PART, OTHER_TENANT], ids=["part", "tenant"])
async def test_the_feed_is_of_one_partition(records, other):
    for partition in (HERE, other):
        await records.store.commit(partition, [Create(document(1, partition))])
    _, position = await changed(records)
    await records.store.commit(other, [Create(document(2, other))])
    assert (await changed(records, position))[0] == []
    assert (await changed(records))[0] == ["doc_0001"]
    assert (await changed(records, partition=other))[0] == ["doc_0001", "doc_0002"]
    with pytest.raises(ValueError):
        await records.store.changes(other, after=position)


async def test_a_reader_that_follows_many_writers_loses_nothing(records):
    await records.store.commit(HERE, [Create(replace(document(0), body={"count": 0}))])
    writers, rounds = 8, 6
    seen: dict[str, object] = {}

    async def write(writer: int) -> None:
        for number in range(rounds):
            mine = 100 * (writer + 1) + 2 * number
            await records.store.commit(HERE, [Create(document(mine)), Create(document(mine + 1))])
            stored = await records.store.get(HERE, "document", f"doc_{mine:04}")
            await records.store.commit(HERE, [Replace(replace(stored, body={"again": number}))])

    async def follow(after: str | None) -> str:
        while True:
            feed = await records.store.changes(HERE, after=after, limit=5)
            seen.update((record.id, record.body) for record in feed.records)
            after = feed.position
            if not feed.more:
                return after

    writing = asyncio.gather(*(write(writer) for writer in range(writers)))
    position = None
    while not writing.done():
        position = await follow(position)
    await writing
    await follow(position)
    page = await records.store.query(HERE, "document", limit=MAX_PAGE)
    assert len(page.records) == 1 + writers * rounds * 2
    assert seen == {record.id: record.body for record in page.records}


async def test_a_position_outlives_the_process(records):
    await records.store.commit(HERE, [Create(document(1)), Create(document(2))])
    _, position = await changed(records)
    # The newest record's position must not be used again, whoever is the next to write.
    await records.store.commit(HERE, [Delete("document", "doc_0002")])
    again = await records.reopen()
    assert list((await again.changes(HERE, after=position)).records) == []
    await again.commit(HERE, [Create(document(3))])
    feed = await again.changes(HERE, after=position)
    assert [record.id for record in feed.records] == ["doc_0003"]


async def test_a_position_that_is_not_ours_is_refused(records):
    await records.store.commit(HERE, [Create(document(number)) for number in range(4)])
    page = await records.store.query(HERE, "document", limit=2)
    _, position = await changed(records)
    assert page.cursor is not None
    for bad in ["", "x", "é", "!!!!", "bnVsbA", page.cursor, position[:-4], position[4:]]:
        with pytest.raises(ValueError):
            await records.store.changes(HERE, after=bad)


@pytest.mark.parametrize("limit", [-1, 0, MAX_PAGE + 1])
async def test_a_limit_of_the_feed_out_of_range_is_refused(records, limit):
    with pytest.raises(ValueError):
        await records.store.changes(HERE, limit=limit)
