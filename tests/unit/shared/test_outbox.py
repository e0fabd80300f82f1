"""The outbox: whatever happens between commit and publication, no event is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.embedded.records import SqliteRecords
from shared.base.errors import Unavailable
from shared.base.events import Event, EventType
from shared.base.ids import new_id
from shared.journal.outbox import BATCH, KIND, RELAY_AFTER, Outbox
from shared.ports.records import Replace
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio


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


class Office:
    """An outbox, its bus, its records and its clock."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.records = SqliteRecords(folder / "records.db", self.clock)
        self.bus = Bus()
        self.outbox = self.started()
        self._made = 0

    def started(self) -> Outbox:
        """What a new process has: the same records, nothing in memory."""
        return Outbox(self.records, self.bus, self.clock)  # type: ignore[arg-type]

    async def committed(self, count: int = 1, tenant: str = "ten_a") -> list[Event]:
        events = []
        for _ in range(count):
            self._made += 1
            made = self._made
            events.append(
                Event(
                    new_id("evt", self.clock.now(), lambda size, made=made: made.to_bytes(size)),
                    EventType.AUDIT_RECORDED,
                    "development",
                    tenant,
                    "aud_1",
                    self.clock.now(),
                )
            )
        for start in range(0, count, 50):
            await self.records.commit(tenant, Outbox.changes(events[start : start + 50]))
        return events

    async def left(self) -> int:
        return len((await self.records.query(KIND, tenant=None, limit=1_000)).records)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    office = Office(tmp_path)
    yield office
    await office.records.close()


async def test_events_are_published_and_forgotten(office: Office) -> None:
    events = await office.committed(3) + await office.committed(2, "ten_b")
    office.outbox.schedule_publish(events)
    await office.outbox.close()
    assert sorted(office.bus.published) == sorted(event.id for event in events)
    assert await office.left() == 0
    assert await office.outbox.relay() == 0


async def test_many_events_go_in_few_batches(office: Office) -> None:
    events = await office.committed(250)
    for event in events:
        office.outbox.schedule_publish([event])
    await office.outbox.close()
    assert len(office.bus.published) == 250
    assert max(office.bus.batches) <= BATCH
    assert len(office.bus.batches) <= 4
    assert await office.left() == 0


async def test_what_a_silent_bus_leaves_is_relayed(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.bus.down = True
    events = await office.committed(3)
    with caplog.at_level(logging.WARNING):
        office.outbox.schedule_publish(events)
        await office.outbox.close()
    assert "left 3 events to the relay: unavailable" in caplog.text
    assert await office.left() == 3
    office.clock.advance(60)
    with pytest.raises(Unavailable):
        await office.outbox.relay()
    assert await office.left() == 3
    office.bus.down = False
    assert await office.outbox.relay() == 3
    assert office.bus.published == [event.id for event in events]
    assert await office.left() == 0


async def test_a_defect_holds_up_neither_later_events_nor_the_end(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = office.bus.publish

    async def broken(events: Sequence[Event]) -> None:
        monkeypatch.setattr(office.bus, "publish", real)
        raise TypeError("said with a secret")

    monkeypatch.setattr(office.bus, "publish", broken)
    events = await office.committed(BATCH + 3)
    office.outbox.schedule_publish(events)
    await office.outbox.close()
    assert f"left {BATCH} events to the relay: TypeError" in caplog.text
    assert "said with a secret" not in caplog.text
    assert office.bus.published == [event.id for event in events[BATCH:]]
    assert await office.left() == BATCH
    office.clock.advance(60)
    assert await office.outbox.relay() == BATCH


async def test_what_a_crash_leaves_is_relayed_by_another_process(office: Office) -> None:
    events = await office.committed(230)
    office.clock.advance(60)
    assert await office.started().relay() == 230
    assert sorted(office.bus.published) == [event.id for event in events]
    assert await office.left() == 0


async def test_the_relay_leaves_young_events_to_those_who_made_them(office: Office) -> None:
    old = await office.committed()
    office.clock.advance(RELAY_AFTER.total_seconds() - 1)
    young = await office.committed()
    assert await office.outbox.relay() == 0
    office.clock.advance(1.001)
    assert await office.outbox.relay() == 1
    assert office.bus.published == [old[0].id]
    office.clock.advance(RELAY_AFTER.total_seconds())
    assert await office.outbox.relay() == 1
    assert office.bus.published == [old[0].id, young[0].id]


async def test_what_cannot_be_read_does_not_hold_up_the_rest(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable = await office.committed(BATCH + 1)
    for event in unreadable:
        record = await office.records.get(event.tenant, KIND, event.id)
        body = {"event": record.body["event"].replace("audit.recorded", "unheard.of")}
        await office.records.commit(event.tenant, [Replace(replace(record, body=body))])
    good = await office.committed(3)
    office.clock.advance(60)
    assert await office.outbox.relay() == 3
    assert office.bus.published == [event.id for event in good]
    assert await office.left() == len(unreadable)
    assert f"left {unreadable[0].id} of ten_a in the outbox" in caplog.text


async def test_two_relays_and_the_process_itself_at_once(office: Office) -> None:
    events = await office.committed(120) + await office.committed(40, "ten_b")
    office.clock.advance(timedelta(minutes=1).total_seconds())
    office.outbox.schedule_publish(events)
    await asyncio.gather(office.outbox.relay(), office.started().relay(), office.outbox.close())
    assert set(office.bus.published) == {event.id for event in events}
    assert await office.left() == 0


async def test_events_that_come_while_publishing_are_published(office: Office) -> None:
    first, second = await office.committed(), await office.committed()
    office.outbox.schedule_publish(first)
    await asyncio.sleep(0)
    office.outbox.schedule_publish(second)
    await office.outbox.close()
    assert office.bus.published == [first[0].id, second[0].id]
