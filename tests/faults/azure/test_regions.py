"""A record is read as it was last committed, so never from the region that lags behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.adapters.azure.records import AzureRecords
from shared.base.partitions import Partition
from shared.ports.records import Create, Record
from tests.support.contract.azure import DATABASE, fresh_cosmosdb, machine
from tests.support.emulators.regions import Account
from tests.support.faults.cases import FAULTS

pytestmark = pytest.mark.anyio

PARTITION = Partition("ten_a", "2026-11")
RECORD = Record(PARTITION, "document", "doc_1", {"number": 1})


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    async with fresh_cosmosdb(machine().cosmosdb()):
        account = Account(machine().cosmosdb(), machine().certificate)
        yield account
        account.stop()


@pytest.fixture
async def records(clients, account, clock) -> AzureRecords:
    records = AzureRecords(clients, account.url, DATABASE, clock)
    await records.commit(PARTITION, [Create(RECORD)])
    return records


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", ["get", "query"])
async def test_a_read_that_fails_is_not_repeated_where_records_are_old(
    records, account, operation, fault
):
    written, lagging = account.regions
    FAULTS[fault](written)
    if operation == "get":
        found = await records.get(PARTITION, "document", "doc_1")
    else:
        [found] = (await records.query(PARTITION, "document")).records
    assert found.body == {"number": 1}
    assert written.pending_faults == 0
    assert lagging.counts["data"] == 0


async def test_a_region_that_stays_away_does_not_send_reads_to_the_other(records, account, waits):
    written, lagging = account.regions
    written.stop()
    waits.meanwhile = written.start
    assert (await records.get(PARTITION, "document", "doc_1")).body == {"number": 1}
    assert lagging.counts["data"] == 0


async def test_reads_and_writes_follow_the_account_when_it_fails_over(
    records, account, monkeypatch
):
    policy = "azure.cosmos._endpoint_discovery_retry_policy.EndpointDiscoveryRetryPolicy"
    monkeypatch.setattr(f"{policy}.Retry_after_in_milliseconds", 0)
    account.fail_over()
    written, lagging = account.regions
    await records.commit(PARTITION, [Create(Record(PARTITION, "document", "doc_2", {}))])
    read_there = lagging.counts["data"]
    assert (await records.get(PARTITION, "document", "doc_2")).id == "doc_2"
    assert written.counts["data"] == 2
    assert lagging.counts["data"] == read_there
