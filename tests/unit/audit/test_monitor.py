"""The monitor: a clean log gives no finding, whatever happens to it that should; a finding is said once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.memory.records import MemoryRecords
from shared.adapters.memory.write_once import MemoryWriteOnce
from shared.audit.index import LOGGED_KIND, log_part
from shared.base.errors import Damaged, Unavailable
from shared.base.events import DifferenceData, Event, EventType
from shared.base.partitions import Partition
from shared.journal.agenda import Agenda, Task
from shared.ports.clock import Runtime
from shared.ports.records import Create
from tests.support.audit import AuditData
from tests.support.identity import NoBus
from tests.support.log_tampering import RawMemory, with_entry
from tests.support.monitored import (
    MAIN,
    TENANT,
    append,
    look,
    new_data,
    open_findings,
    state_of,
)
from tests.support.records import waiting

pytestmark = pytest.mark.anyio

PERIOD = timedelta(days=16).total_seconds()
"""After it, the next look goes over the whole log."""


def raw_of(data: AuditData) -> RawMemory:
    assert isinstance(data.records, MemoryRecords)
    assert isinstance(data.store, MemoryWriteOnce)
    return RawMemory(data.records, data.store)


async def entries_of(data: AuditData, tenant: str, action: str) -> list[dict[str, Any]]:
    """The entries that wait to be appended, of one action."""
    page = await data.records.query(Partition(tenant), "audit", limit=1_000)
    found = [waiting(record.body) for record in page.records]
    return [entry for entry in found if entry["action"] == action]


@pytest.mark.parametrize("steps", [[1], [256], [255, 1, 1], [300, 7], [2_560, 1]])
async def test_a_clean_log_gives_no_finding(steps: list[int]) -> None:
    data = new_data()
    for count in steps:
        await append(data, count)
        data.clock.advance(7_200)
        assert await look(data) == []
    state = await state_of(data)
    assert state.judged == state.size == sum(steps)


@pytest.mark.parametrize("size", [511, 512, 513, 1_100])
async def test_a_log_in_several_parts_gives_no_finding(size: int) -> None:
    data = new_data(part_entries=512)
    await append(data, size)
    await append(data, 30, publish=False)
    data.clock.advance(7_200)
    assert await look(data) == []


async def test_a_log_that_grows_while_it_is_looked_at_gives_no_finding() -> None:
    data = new_data(part_entries=256)
    await append(data, 200)

    async def grow() -> None:
        for _ in range(12):
            await append(data, 30)

    async def watch() -> None:
        for _ in range(4):
            await look(data)
            data.clock.advance(60)

    await asyncio.gather(grow(), watch())
    data.clock.advance(PERIOD)
    assert await look(data) == []


async def test_a_log_whose_index_was_completed_from_its_tiles_gives_no_finding() -> None:
    data = new_data()
    await append(data, 300)
    backup = MemoryRecords(data.clock)
    for partition in (MAIN, log_part(TENANT, 0), Partition("operator")):
        for record in (await data.records.changes(partition)).records:
            if record.kind != "audit-checkpoint":
                await backup.commit(record.partition, [Create(record)])
    await append(data, 600)
    assert await look(data) == []
    data.records = backup
    await append(data, 5)
    assert await look(data) == []
    keys = await data.records.get(Partition("operator"), "audit-keys", "keys")
    data.records = MemoryRecords(data.clock)  # everything is lost but the public keys
    await data.records.commit(keys.partition, [Create(keys)])
    await append(data, 5)
    assert await look(data) == []


async def test_rows_that_the_index_may_forget_are_not_missed() -> None:
    data = new_data()
    await append(data, 300)
    assert await look(data) == []
    data.clock.advance(timedelta(days=3_653).total_seconds() + 86_400)
    await append(data, 10)
    page = await data.records.query(log_part(TENANT, 0), LOGGED_KIND, limit=1_000)
    assert len(page.records) == 10
    assert await look(data) == []


async def test_a_finding_is_reported_once_in_both_logs_and_as_an_event(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[Event] = []

    async def publish(_: object, events: Sequence[Event]) -> None:
        published.extend(events)

    monkeypatch.setattr(NoBus, "publish", publish)
    data = new_data()
    await append(data, 300)
    assert await look(data) == []
    raw = raw_of(data)
    raw.write(f"{TENANT}/tile/0/000", bytes(256 * 32))
    data.clock.advance(PERIOD)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            [finding] = await look(data)
            data.clock.advance(600)
    assert str(finding) == "tile changed: tile/0/000 at 0, 256"
    said = [line for line in caplog.messages if line.startswith("audit.difference")]
    assert said == [f"audit.difference in the log of {TENANT}, {finding}"]
    for tenant in (TENANT, "operator"):
        [entry] = await entries_of(data, tenant, "audit.difference")
        assert entry["details"]["object"] == "tile/0/000"
        assert entry["outcome"] == "failed"
    await asyncio.sleep(0.05)  # events are published soon after the commit
    [event] = [each for each in published if each.type is EventType.AUDIT_DIFFERENCE]
    assert event.data_as(DifferenceData).object == "tile/0/000"


async def test_what_was_put_right_is_closed_and_reported_when_it_comes_again() -> None:
    data = new_data()
    await append(data, 300)
    assert await look(data) == []
    raw = raw_of(data)
    name = f"{TENANT}/tile/0/000"
    right = raw.read(name)
    for _ in range(2):
        raw.write(name, bytes(256 * 32))
        data.clock.advance(PERIOD)
        assert len(await look(data)) == 1
        raw.write(name, right)
        data.clock.advance(PERIOD)
        assert await look(data) == []
    assert len(await entries_of(data, TENANT, "audit.difference")) == 2


async def test_many_rows_of_one_piece_are_one_finding() -> None:
    data = new_data()
    await append(data, 300)
    assert await look(data) == []
    raw = raw_of(data)
    for row in raw.rows(log_part(TENANT, 0), LOGGED_KIND)[20:120]:
        raw.drop_row(row)
    data.clock.advance(PERIOD)
    [finding] = await look(data)
    assert str(finding) == "row missing: 0-299 at 20, 100"


async def test_the_timer_looks_at_what_grew_and_again_within_the_period() -> None:
    data = new_data()
    audit = await append(data, 5)
    await audit.monitor.run()
    with pytest.raises(Exception, match="no such record"):
        await state_of(data)
    data.clock.advance(3_600)
    await audit.monitor.run()
    state = await state_of(data)
    assert (state.size, state.full) == (5, None)
    runtime = Runtime(data.clock, bytes)
    due = [item.value.due async for item in Agenda(data.records, runtime).due(Task.MONITOR_LOG)]
    assert due == []
    raw_of(data).drop(f"{TENANT}/tile/0/000.p/5")
    data.clock.advance(timedelta(days=15).total_seconds())
    await audit.monitor.run()
    assert [str(each) for each in await open_findings(data)] == [
        "tile missing: tile/0/000.p/5 at 0, 5"
    ]


async def test_a_log_that_cannot_be_looked_at_stays_on_the_agenda(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = new_data()
    audit = await append(data, 5)
    data.clock.advance(3_600)

    async def silent(*_: object, **__: object) -> None:
        raise Unavailable("The store does not respond.")

    with monkeypatch.context() as patched:
        patched.setattr(type(audit.monitor.store), "read_tile", silent)
        await audit.monitor.run()
    assert "audit.monitor-failed" in caplog.text
    await audit.monitor.run()
    assert (await state_of(data)).size == 5


async def test_partial_tiles_go_once_they_are_full_and_their_date_has_come() -> None:
    data = new_data()
    for count in (100, 100, 100):
        await append(data, count)
    await look(data)
    names = raw_of(data).objects
    partial = {f"{TENANT}/tile/{kind}/000.p/{n}" for kind in ("0", "entries") for n in (100, 200)}
    assert partial <= set(names())
    data.clock.advance(timedelta(days=4).total_seconds())
    await look(data)
    assert partial <= set(names()), "their date has not come"
    data.clock.advance(timedelta(days=4).total_seconds())
    assert await look(data) == []
    assert not partial & set(names())
    assert (await state_of(data)).partial_bundle == 1
    kept = raw_of(data).store._dates
    for path in ("tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1"):
        assert kept[f"{TENANT}/{path}"] > data.clock.now(), "it is not superseded"


async def test_old_checkpoints_go_and_the_newest_stays() -> None:
    data = new_data()
    for count in (10, 10, 10):
        await append(data, count)
    await look(data)
    sizes = [name[-2:] for name in raw_of(data).objects() if "checkpoints" in name]
    assert sizes == ["10", "20", "30"]
    for _ in range(4):
        data.clock.advance(timedelta(days=31).total_seconds())
        assert await look(data) == []
    sizes = [name[-2:] for name in raw_of(data).objects() if "checkpoints" in name]
    assert sizes == ["30"]
    assert raw_of(data).store._dates[f"{TENANT}/checkpoints/{30:020d}"] > data.clock.now()


async def test_the_index_is_rebuilt_from_the_bundles() -> None:
    data = new_data()
    audit = await append(data, 300)
    assert await look(data) == []
    raw, part = raw_of(data), log_part(TENANT, 0)
    rows = raw.rows(part, LOGGED_KIND)
    before = {row.id: (row.body, row.index) for row in rows}
    for row in rows[10:20]:
        raw.drop_row(row)
    raw.put_row(with_entry(rows[30], action="document.read"))
    forged = f"aud_{rows[40].id[4:14]}{7:016d}"
    raw.put_row(with_entry(type(rows[0])(part, LOGGED_KIND, forged, rows[40].body), id=forged))
    data.clock.advance(PERIOD)
    assert len(await look(data)) == 3
    rebuilt = await audit.rebuilder.rebuild(TENANT)
    assert (rebuilt.created, rebuilt.replaced, rebuilt.removed) == (10, 1, 1)
    rows = raw.rows(part, LOGGED_KIND)
    assert {row.id: (row.body, row.index) for row in rows} == before
    data.clock.advance(PERIOD)
    assert await look(data) == []
    for tenant in (TENANT, "operator"):
        [entry] = await entries_of(data, tenant, "audit.rebuild")
        assert entry["details"]["created"] == 10


async def test_the_index_is_not_rebuilt_from_a_bundle_that_was_changed() -> None:
    data = new_data()
    audit = await append(data, 300)
    raw = raw_of(data)
    name = f"{TENANT}/tile/entries/000"
    raw.write(name, raw.read(name).replace(b"document.list", b"document.read"))
    raw.drop_row(raw.rows(log_part(TENANT, 0), LOGGED_KIND)[7])
    with pytest.raises(Damaged):
        await audit.rebuilder.rebuild(TENANT)
    assert len(raw.rows(log_part(TENANT, 0), LOGGED_KIND)) == 299
