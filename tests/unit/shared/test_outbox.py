"""The outbox: whatever happens between commit and publication, no event is lost."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.embedded.records import SqliteRecords
from shared.base.errors import Unavailable
from shared.base.events import Event, EventType
from shared.base.ids import new_id
from shared.base.partitions import OPERATOR, Partition
from shared.journal.agenda import COMMIT_MARGIN, SHARDS, Agenda, Task
from shared.journal.outbox import BATCH, KIND, WINDOW, Outbox
from shared.ports.clock import Runtime
from shared.ports.records import Page, Replace
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

DUE = (WINDOW + COMMIT_MARGIN).total_seconds()


class Bus:
    """Remembers what was published; can be down."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.batches: list[int] = []
        self.down = False

    async def publish(self, events: Sequence[Event]) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise Unavailable("The bus does not answer.")
        self.batches.append(len(events))
        self.published += [event.id for event in events]


class Publisher:
    """An outbox, its bus, its records and its clock."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.records = SqliteRecords(folder / "records.db", self.clock)
        self.bus = Bus()
        self.outbox = self.started()
        self._made = 0

    def started(self) -> Outbox:
        """What a new process has: the same records, nothing in memory."""
        runtime = Runtime(self.clock, os.urandom)
        return Outbox(self.records, self.bus, Agenda(self.records, runtime), "development", runtime)  # type: ignore[arg-type]

    async def committed(self, count: int = 1, tenant: str = "ten_a") -> list[Event]:
        events = []
        for _ in range(count):
            self._made += 1
            made = self._made
            events.append(
                Event(
                    new_id("evt", self.clock.now(), lambda size, made=made: made.to_bytes(size)),  # type: ignore[misc]
                    EventType.AUDIT_RECORDED,
                    "development",
                    Partition(tenant),
                    "aud_1",
                    self.clock.now(),
                )
            )
        partition = Partition(tenant)
        await self.outbox.prepare(partition)
        for start in range(0, count, 50):
            changes = self.outbox.changes(partition, events[start : start + 50])
            await self.records.commit(partition, changes)
        return events

    async def left(self) -> int:
        found = [
            await self.records.query(Partition(tenant), KIND, limit=1_000)
            for tenant in ("ten_a", "ten_b")
        ]
        return sum(len(page.records) for page in found)


@pytest.fixture
async def publisher(tmp_path: Path) -> AsyncIterator[Publisher]:
    publisher = Publisher(tmp_path)
    yield publisher
    await publisher.records.close()


async def test_events_are_published_and_forgotten(publisher: Publisher) -> None:
    events = await publisher.committed(3) + await publisher.committed(2, "ten_b")
    publisher.outbox.schedule_publish(events, recorded=True)
    await publisher.outbox.close()
    assert sorted(publisher.bus.published) == sorted(event.id for event in events)
    assert await publisher.left() == 0
    assert await publisher.outbox.relay() == 0


async def test_many_events_go_in_few_batches(publisher: Publisher) -> None:
    events = await publisher.committed(250)
    for event in events:
        publisher.outbox.schedule_publish([event], recorded=True)
    await publisher.outbox.close()
    assert len(publisher.bus.published) == 250
    assert max(publisher.bus.batches) <= BATCH
    assert len(publisher.bus.batches) <= 4
    assert await publisher.left() == 0


async def test_what_a_silent_bus_leaves_is_relayed(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.bus.down = True
    events = await publisher.committed(3)
    with caplog.at_level(logging.WARNING):
        publisher.outbox.schedule_publish(events, recorded=True)
        await publisher.outbox.close()
    assert "left 3 events to the relay: unavailable" in caplog.text
    assert await publisher.left() == 3
    publisher.clock.advance(DUE)
    with pytest.raises(Unavailable):
        await publisher.outbox.relay()
    assert await publisher.left() == 3
    publisher.bus.down = False
    assert await publisher.outbox.relay() == 3
    assert publisher.bus.published == [event.id for event in events]
    assert await publisher.left() == 0


async def test_a_defect_holds_up_neither_later_events_nor_the_end(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = publisher.bus.publish

    async def broken(events: Sequence[Event]) -> None:
        monkeypatch.setattr(publisher.bus, "publish", real)
        raise TypeError("said with a secret")

    monkeypatch.setattr(publisher.bus, "publish", broken)
    events = await publisher.committed(BATCH + 3)
    publisher.outbox.schedule_publish(events, recorded=True)
    await publisher.outbox.close()
    assert f"left {BATCH} events to the relay: TypeError" in caplog.text
    assert "said with a secret" not in caplog.text
    assert publisher.bus.published == [event.id for event in events[BATCH:]]
    assert await publisher.left() == BATCH
    publisher.clock.advance(DUE)
    assert await publisher.outbox.relay() == BATCH


async def test_what_a_crash_leaves_is_relayed_by_another_process(publisher: Publisher) -> None:
    events = await publisher.committed(230)
    publisher.clock.advance(DUE)
    assert await publisher.started().relay() == 230
    assert sorted(publisher.bus.published) == [event.id for event in events]
    assert await publisher.left() == 0


async def test_the_relay_leaves_young_events_to_those_who_made_them(publisher: Publisher) -> None:
    old = await publisher.committed()
    publisher.clock.advance(DUE - 1)
    assert await publisher.outbox.relay() == 0, "a commit of its window may be under way"
    young = await publisher.committed()
    publisher.clock.advance(1)
    assert await publisher.outbox.relay() == 1
    assert publisher.bus.published == [old[0].id]
    publisher.clock.advance(DUE)
    assert await publisher.outbox.relay() == 1
    assert publisher.bus.published == [old[0].id, young[0].id]


async def test_the_only_process_relays_everything_at_its_start(publisher: Publisher) -> None:
    events = await publisher.committed(3)
    assert await publisher.started().relay() == 0
    assert await publisher.started().relay(everything=True) == 3
    assert publisher.bus.published == [event.id for event in events]


async def test_the_relay_reads_only_partitions_with_work(publisher: Publisher) -> None:
    await publisher.committed()
    publisher.clock.advance(DUE)
    assert await publisher.started().relay() == 1
    asked: list[Partition] = []
    real = publisher.records.query

    async def query(partition: Partition, kind: str, **how: Any) -> Page:
        asked.append(partition)
        return await real(partition, kind, **how)

    publisher.records.query = query  # type: ignore[method-assign]
    assert await publisher.started().relay() == 0
    assert {partition.tenant for partition in asked} == {OPERATOR}
    assert len(asked) == SHARDS


async def test_what_cannot_be_read_does_not_hold_up_the_rest(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable = await publisher.committed(BATCH + 1)
    for event in unreadable:
        record = await publisher.records.get(event.partition, KIND, event.id)
        body = record.body | {"event": record.body["event"].replace("audit.recorded", "unheard.of")}
        await publisher.records.commit(event.partition, [Replace(replace(record, body=body))])
    good = await publisher.committed(3)
    publisher.clock.advance(DUE)
    assert await publisher.outbox.relay() == 3
    assert publisher.bus.published == [event.id for event in good]
    assert await publisher.left() == len(unreadable)
    assert f"left {unreadable[0].id} of ten_a/main in the outbox" in caplog.text


async def test_two_relays_and_the_process_itself_at_once(publisher: Publisher) -> None:
    events = await publisher.committed(120) + await publisher.committed(40, "ten_b")
    publisher.clock.advance(DUE)
    publisher.outbox.schedule_publish(events, recorded=True)
    await asyncio.gather(
        publisher.outbox.relay(), publisher.started().relay(), publisher.outbox.close()
    )
    assert set(publisher.bus.published) == {event.id for event in events}
    assert await publisher.left() == 0


async def test_events_that_come_while_publishing_are_published(publisher: Publisher) -> None:
    first, second = await publisher.committed(), await publisher.committed()
    publisher.outbox.schedule_publish(first, recorded=True)
    await asyncio.sleep(0)
    publisher.outbox.schedule_publish(second, recorded=True)
    await publisher.outbox.close()
    assert publisher.bus.published == [first[0].id, second[0].id]


@pytest.mark.parametrize("restarted", [False, True])
async def test_events_of_a_time_when_the_clock_was_ahead_are_relayed(
    publisher: Publisher, restarted: bool
) -> None:
    await publisher.outbox.relay()
    publisher.clock.advance(3 * 86_400)
    events = await publisher.committed(3)
    await publisher.outbox.relay()
    publisher.clock.advance(-3 * 86_400)
    if restarted:
        await publisher.started().relay(everything=True)
    else:
        await publisher.outbox.relay()
    assert publisher.bus.published == [event.id for event in events]
    assert await publisher.left() == 0


async def test_the_set_of_what_was_committed_while_the_clock_was_ahead_is_due(
    publisher: Publisher,
) -> None:
    runtime = Runtime(publisher.clock, os.urandom)
    agenda = Agenda(publisher.records, runtime)
    publisher.clock.advance(3 * 86_400)
    await publisher.committed(1)
    publisher.clock.advance(DUE)
    await publisher.outbox.relay()
    publisher.clock.advance(-3 * 86_400)
    assert [item async for item in agenda.due(Task.BACK_UP)] == []
    await publisher.outbox.relay()
    assert [item.value.partition async for item in agenda.due(Task.BACK_UP)] == ["ten_a/main"]


async def test_what_has_a_long_time_to_wait_is_not_brought_forward(publisher: Publisher) -> None:
    agenda = Agenda(publisher.records, Runtime(publisher.clock, os.urandom))
    far = publisher.clock.now() + timedelta(days=365)
    for task in (Task.EMPTY_TRASH, Task.ROTATE_TENANT_KEY, Task.DRILL, Task.PRUNE_BACKUPS):
        await agenda.add(task, Partition("ten_a"), far)
    soon = publisher.clock.now() + timedelta(minutes=3)
    await agenda.add(Task.RELAY_EVENTS, Partition("ten_a"), soon)
    await agenda.bring_forward()
    for task in Task:
        assert [item async for item in agenda.due(task)] == []
