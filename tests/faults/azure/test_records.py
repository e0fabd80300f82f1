"""Every call to Cosmos DB fails once, and for good."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.adapters.azure.records import AzureRecords
from shared.base.errors import Conflict, InternalError, NotFound, StrongroomError, Unavailable
from shared.base.partitions import OPERATOR, Partition
from shared.ports.records import Create, Delete, Record, Replace
from tests.support.emulators.servers import Fault, Response
from tests.support.faults.cases import FAULTS

pytestmark = pytest.mark.anyio

HERE = Partition("ten_a", "2026-11")


def record(number: int, **index: str) -> Record:
    return Record(HERE, "document", f"doc_{number}", {"number": number}, index)


async def get(records: AzureRecords) -> None:
    assert (await records.get(HERE, "document", "doc_1")).body == {"number": 1}


async def query(records: AzureRecords) -> None:
    page = await records.query(HERE, "document", where={"state": "new"})
    assert [found.id for found in page.records] == ["doc_1", "doc_2"]


async def create(records: AzureRecords) -> None:
    await records.commit(HERE, [Create(record(3)), Create(record(4))])
    assert (await records.get(HERE, "document", "doc_4")).body == {"number": 4}


async def change(records: AzureRecords) -> None:
    first = await records.get(HERE, "document", "doc_1")
    changes = [Replace(replace(first, body={"number": 10})), Delete("document", "doc_2")]
    await records.commit(HERE, changes)  # type: ignore[arg-type]
    assert (await records.get(HERE, "document", "doc_1")).body == {"number": 10}
    with pytest.raises(NotFound):
        await records.get(HERE, "document", "doc_2")


async def delete(records: AzureRecords) -> None:
    await records.commit(HERE, [Delete("document", "doc_1"), Delete("document", "doc_2")])
    assert (await records.query(HERE, "document")).records == []


READS = [get, query]
WRITES = [create, change, delete]


@pytest.fixture
async def ready(records):
    """The adapter with two records, and past what the SDK asks an account at first."""
    await records.commit(HERE, [Create(record(1, state="new")), Create(record(2, state="new"))])
    await records.query(HERE, "document")
    return records


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", READS)
async def test_a_read_that_fails_once_succeeds(ready, records_proxy, operation, fault):
    FAULTS[fault](records_proxy)
    await operation(ready)
    assert records_proxy.pending_faults == 0


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", WRITES)
async def test_a_commit_that_fails_once_takes_effect_once(ready, records_proxy, operation, fault):
    armed = records_proxy.for_target("/docs", method="POST", fault=FAULTS[fault])
    await operation(ready)
    assert armed.times == 0


@pytest.mark.parametrize("operation", READS + WRITES)
async def test_an_account_that_refuses_connections_for_a_moment(
    ready, records_proxy, waits, operation
):
    records_proxy.stop()
    waits.meanwhile = records_proxy.start
    await operation(ready)
    assert len(waits.seconds) == 1


async def test_a_service_that_says_when_to_come_back_may_have_done_it_already(ready, records_proxy):
    later = Response(503, headers={"Retry-After": "1"})
    records_proxy.arm(Fault(1, lambda request: request.method == "POST", later, forwarded=True))
    await ready.commit(HERE, [Create(record(3))])
    assert records_proxy.pending_faults == 0


async def test_a_throttled_deletion_does_not_take_anothers_for_its_own(ready, records_proxy, waits):
    """429 is no effect for sure, so that what is missing now was removed by somebody else."""
    records_proxy.answer(429, method="POST", headers={"Retry-After": "1"})
    records_proxy.answer(404, method="POST")
    with pytest.raises(StrongroomError):
        await ready.commit(HERE, [Delete("document", "doc_1")])


async def test_a_lost_answer_does_not_hide_another_writers_commit(ready, records_proxy):
    """The commit never took effect, and what is stored is somebody else's: a conflict."""
    await ready.commit(HERE, [Create(record(3))])
    records_proxy.for_target("/docs", method="POST", fault=FAULTS["connection broken"])
    with pytest.raises(Conflict):
        await ready.commit(HERE, [Create(replace(record(3), body={"mine": True}))])
    assert (await ready.get(HERE, "document", "doc_3")).body == {"number": 3}


async def test_a_commit_is_known_though_others_changed_a_part_of_it_since(
    ready, records_proxy, waits, monkeypatch
):
    records_proxy.for_target("/docs", method="POST", fault=FAULTS["answer lost"])

    async def meanwhile(_seconds: float) -> None:
        first = await ready.get(HERE, "document", "doc_3")
        await ready.commit(HERE, [Replace(replace(first, body={"theirs": True}))])

    monkeypatch.setattr(type(waits), "__call__", lambda _waits, seconds: meanwhile(seconds))
    await ready.commit(HERE, [Create(record(3)), Create(record(4))])
    assert (await ready.get(HERE, "document", "doc_3")).body == {"theirs": True}


@pytest.mark.parametrize("operation", [get, query, create, delete])
async def test_a_container_that_was_not_deployed_is_no_missing_record(
    clients, records_proxy, clock, operation
):
    elsewhere = AzureRecords(clients, records_proxy.url, "absent", clock)
    with pytest.raises(StrongroomError) as refusal:
        await operation(elsewhere)
    assert type(refusal.value) is InternalError


async def test_a_container_that_was_removed_is_no_missing_record(ready, records_proxy):
    records_proxy.answer(404, headers={"x-ms-substatus": "1003"}, times=2)
    with pytest.raises(StrongroomError) as refusal:
        await get(ready)
    assert type(refusal.value) is InternalError


async def test_a_full_partition_is_not_taken_for_a_refused_identity(ready, records_proxy):
    records_proxy.answer(403, headers={"x-ms-substatus": "1014"}, method="POST")
    with pytest.raises(InternalError) as refusal:
        await ready.commit(HERE, [Create(record(3))])
    assert "full" in refusal.value.detail


async def test_a_stale_etag_is_a_conflict_and_changes_nothing(ready):
    stale = await ready.get(HERE, "document", "doc_1")
    await ready.commit(HERE, [Replace(replace(stale, body={"number": 2}))])
    with pytest.raises(Conflict):
        await ready.commit(HERE, [Create(record(5)), Replace(replace(stale, body={}))])
    with pytest.raises(NotFound):
        await ready.get(HERE, "document", "doc_5")


async def test_the_wait_that_the_account_asks_for_is_kept(ready, records_proxy, waits):
    records_proxy.answer(429, headers={"x-ms-retry-after-ms": "1500"}, times=2)
    await get(ready)
    assert waits.seconds == [1.5, 1.5]


async def test_a_longer_wait_than_a_caller_should_bear_is_passed_on(ready, records_proxy, waits):
    records_proxy.answer(429, headers={"x-ms-retry-after-ms": "90000"})
    with pytest.raises(Unavailable) as refusal:
        await get(ready)
    assert refusal.value.retry_after == 90
    assert waits.seconds == []


async def test_an_account_that_stays_away_is_given_up_within_the_deadline(
    ready, records_proxy, waits
):
    records_proxy.answer(500, times=100)
    with pytest.raises(Unavailable):
        await get(ready)
    assert 0 < sum(waits.seconds) <= 30


async def test_a_commit_larger_than_a_batch_may_be_is_refused_whole(ready):
    large = [replace(record(n), body={"x": "x" * 900_000}) for n in (7, 8, 9)]
    with pytest.raises(InternalError):
        await ready.commit(HERE, [Create(one) for one in large])
    with pytest.raises(NotFound):
        await ready.get(HERE, "document", "doc_7")


async def test_what_has_expired_but_was_not_removed_yet_makes_room(ready, clock):
    mortal = replace(record(5), expires_at=clock.now() + timedelta(seconds=60))
    await ready.commit(HERE, [Create(mortal)])
    clock.advance(60)
    with pytest.raises(NotFound):
        await ready.get(HERE, "document", "doc_5")
    assert len((await ready.query(HERE, "document")).records) == 2
    await ready.commit(HERE, [Create(record(5)), Create(record(6))])
    assert (await ready.get(HERE, "document", "doc_5")).body == {"number": 5}


async def test_the_operator_has_a_container_of_its_own(ready):
    directory = Partition(OPERATOR)
    await ready.commit(directory, [Create(replace(record(0), partition=directory))])
    assert (await ready.get(directory, "document", "doc_0")).partition == directory
    found = await ready.query(directory, "document")
    assert [each.id for each in found.records] == ["doc_0"]


@pytest.mark.parametrize("id_", ["a/b", "a\\b", "a?b#c", "a:b", "a=3Ab", "é " * 40, "\U0001f512"])
async def test_any_id_makes_an_item_and_pages(records, id_):
    odd = Record(HERE, "document", id_, {})
    await records.commit(HERE, [Create(odd), Create(Record(HERE, "document:a", "b", {}))])
    assert (await records.get(HERE, "document", id_)).id == id_
    page = await records.query(HERE, "document")
    assert [found.id for found in page.records] == [id_]
    await records.commit(HERE, [Delete("document", id_)])


async def test_ids_that_no_item_can_have_are_refused(records):
    for id_ in ("x" * 1_100, "a\x1fb"):
        with pytest.raises(ValueError):
            await records.commit(HERE, [Create(Record(HERE, "document", id_, {}))])
