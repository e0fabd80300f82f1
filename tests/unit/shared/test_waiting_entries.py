"""Entries wait with their events: whatever ends when, events are published and entries announced."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from shared.adapters.memory.records import MemoryRecords
from shared.backup.scope import without_erasable
from shared.base import telemetry
from shared.base.errors import Damaged, Unavailable
from shared.base.events import Event, EventType, VersionData
from shared.base.partitions import OPERATOR, Partition
from shared.journal.agenda import COMMIT_MARGIN, SHARDS, Agenda, Task
from shared.journal.announcing import PAUSE_SECONDS
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.journal.outbox import KIND, LOOK_AGAIN, RELAY_AFTER, WINDOW, Outbox
from shared.journal.waiting import ENTRY_KIND, read_waiting
from shared.ports.clock import Runtime
from shared.ports.records import Create, Delete, Page, Record, Replace
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

TENANT = "ten_a"
MAIN = Partition(TENANT)
DUE = (WINDOW + COMMIT_MARGIN).total_seconds()


class Bus:
    """Remembers what was published; can be down."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.down = False

    async def publish(self, events: Sequence[Event]) -> None:
        if self.down:
            raise Unavailable("The bus does not respond.")
        self.events += events

    def take(self) -> list[tuple[str, str]]:
        """The types and subjects of what was published since the last call."""
        taken = [(each.type.value, each.subject) for each in self.events]
        self.events.clear()
        return taken


class Process:
    """A journal and its outbox, in which time passes when the test says so."""

    def __init__(self, records: MemoryRecords, bus: Bus, clock: FakeClock) -> None:
        self.pauses: list[float] = []
        self.go_on = asyncio.Event()

        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)
            await self.go_on.wait()

        runtime = Runtime(clock, os.urandom, pause)
        self.outbox = Outbox(records, bus, Agenda(records, runtime), "development", runtime)  # type: ignore[arg-type]
        self.journal = Journal(records, self.outbox, "development", runtime)

    async def commit(self, resource: str = "", events: int = 0, tenant: str = TENANT) -> str:
        """Commit an entry with events about its resource; its id."""
        entry = self.journal.entry(Action.DOCUMENT_LIST, resource, tenant=tenant)
        sealed = [
            self.journal.event(
                EventType.DOCUMENT_SEALED, tenant, f"usr_{number}", VersionData(version=1)
            )
            for number in range(events)
        ]
        await self.journal.commit(entry, events=sealed)
        return entry.id


class Shared:
    """What processes share."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = MemoryRecords(self.clock)
        self.bus = Bus()

    def process(self) -> Process:
        return Process(self.records, self.bus, self.clock)

    async def ids(self, kind: str = ENTRY_KIND) -> list[str]:
        page = await self.records.query(MAIN, kind, limit=1_000)
        return [each.id for each in page.records]

    async def killed(
        self, events: int = 0, tenant: str = TENANT, process: Process | None = None
    ) -> str:
        """An entry that a process, or a new one, committed right before it was killed; its id."""
        process = process or self.process()
        process.outbox.schedule_publish = lambda *_, **__: None  # type: ignore[method-assign]
        process.outbox.announce_entry = lambda *_: None  # type: ignore[method-assign]
        return await process.commit(events=events, tenant=tenant)

    async def record(self, kind: str = ENTRY_KIND) -> Record:
        """The only record of a kind."""
        [record] = (await self.records.query(MAIN, kind)).records
        return record

    async def rewrite(self, record: Record, body: dict[str, Any]) -> None:
        """Change what a record says."""
        await self.records.commit(MAIN, [Replace(replace(record, body={**record.body, **body}))])


async def test_a_commit_with_an_event_is_one_record_that_the_event_needs_no_other() -> None:
    shared = Shared()
    process = shared.process()
    entry = await process.commit(events=2)
    assert await shared.ids() == [entry]
    assert await shared.ids(KIND) == []
    await process.outbox.close()
    assert shared.bus.take() == [
        ("document.sealed", "usr_0"),
        ("document.sealed", "usr_1"),
        ("audit.recorded", entry),
    ]
    [record] = (await shared.records.query(MAIN, ENTRY_KIND)).records
    waiting = read_waiting(record)
    assert waiting.entry["id"] == entry
    assert len(waiting.events) == 2


async def test_entries_of_one_pause_are_announced_together_and_partitions_apart() -> None:
    shared = Shared()
    process = shared.process()
    entries = [await process.commit() for _ in range(50)]
    other = process.journal.entry(Action.DOCUMENT_LIST, tenant="ten_b")
    await process.journal.commit(other)
    await asyncio.sleep(0)
    assert process.pauses == [PAUSE_SECONDS]
    assert shared.bus.take() == [], "others may come"
    process.go_on.set()
    await asyncio.sleep(0)
    await process.outbox.close()
    assert shared.bus.take() == [("audit.recorded", entries[-1]), ("audit.recorded", other.id)]


async def test_an_entry_that_comes_while_others_are_announced_is_announced_after_them() -> None:
    shared = Shared()
    process = shared.process()
    process.go_on.set()
    first = await process.commit()
    second: list[str] = []
    real = shared.bus.publish

    async def publish(events: Sequence[Event]) -> None:
        if not second:
            second.append(await process.commit())
        await real(events)

    shared.bus.publish = publish  # type: ignore[method-assign]
    await process.outbox.close()
    assert shared.bus.take() == [("audit.recorded", first), ("audit.recorded", second[0])]


async def test_the_end_of_a_process_waits_for_no_pause() -> None:
    shared = Shared()
    process = shared.process()
    entry = await process.commit()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await process.outbox.close()
    assert not process.go_on.is_set()
    assert shared.bus.take() == [("audit.recorded", entry)]


async def test_a_killed_process_leaves_its_events_and_entries_to_the_relay() -> None:
    shared = Shared()
    entry = await shared.killed(events=2)
    relay = shared.process().outbox
    assert await relay.relay() == 0, "a commit of its window may be under way"
    shared.clock.advance(DUE)
    assert await relay.relay() == 3
    assert shared.bus.take() == [
        ("document.sealed", "usr_0"),
        ("document.sealed", "usr_1"),
        ("audit.recorded", entry),
    ]
    assert await shared.ids() == [entry], "it waits until it is in the log"
    shared.clock.advance(DUE)
    assert await relay.relay() == 0


async def test_the_relay_tries_again_while_the_bus_is_down() -> None:
    shared = Shared()
    shared.bus.down = True
    process = shared.process()
    entry = await process.commit(events=1)
    await process.outbox.close()
    shared.clock.advance(DUE)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await process.outbox.relay()
    shared.bus.down = False
    assert await process.outbox.relay() >= 2
    assert set(shared.bus.take()) == {("document.sealed", "usr_0"), ("audit.recorded", entry)}


async def test_the_relay_tells_the_operators_what_the_bus_did_not_take(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shared = Shared()
    shared.bus.down = True
    process = shared.process()
    await process.commit()
    with caplog.at_level(logging.WARNING):
        await process.outbox.close()
    assert "left entries of 1 partitions to the relay: unavailable" in caplog.text


async def test_the_relay_does_not_publish_again_what_waits_for_hours() -> None:
    """An entry waits for as long as its log cannot be appended to; its events were published once."""
    shared = Shared()
    old = await shared.killed(events=1)
    relay = shared.process().outbox
    shared.clock.advance(DUE)
    await relay.relay()
    shared.clock.advance(3_600)
    shared.bus.take()
    young = await shared.killed(events=1)
    shared.clock.advance(DUE)
    await shared.process().outbox.relay()
    assert shared.bus.take() == [("document.sealed", "usr_0"), ("audit.recorded", old)]
    assert await shared.ids() == [old, young]


async def test_the_relay_leaves_young_entries_to_those_who_made_them() -> None:
    shared = Shared()
    await shared.killed()
    shared.clock.advance(DUE)
    await shared.records.commit(MAIN, [Delete(ENTRY_KIND, (await shared.ids())[0])])
    await shared.killed(events=1)
    assert await shared.process().outbox.relay() == 0
    shared.clock.advance(RELAY_AFTER.total_seconds())
    assert await shared.process().outbox.relay(everything=True) == 2


async def test_who_moves_an_entry_publishes_what_its_process_has_not() -> None:
    shared = Shared()
    await shared.killed(events=2)
    [record] = (await shared.records.query(MAIN, ENTRY_KIND)).records
    events = read_waiting(record).events
    process = shared.process()
    await process.journal.ensure_published(MAIN, events)
    await process.journal.ensure_published(MAIN, events)
    assert shared.bus.take() == [("document.sealed", "usr_0"), ("document.sealed", "usr_1")]


async def test_who_moves_an_entry_does_not_repeat_what_the_same_process_has_published() -> None:
    shared = Shared()
    process = shared.process()
    await process.commit(events=1)
    await process.outbox.close()
    shared.bus.take()
    [record] = (await shared.records.query(MAIN, ENTRY_KIND)).records
    await process.journal.ensure_published(MAIN, read_waiting(record).events)
    assert shared.bus.take() == []


async def test_who_moves_an_entry_does_not_publish_what_has_arrived_at_its_process() -> None:
    shared = Shared()
    await shared.killed(events=2)
    [record] = (await shared.records.query(MAIN, ENTRY_KIND)).records
    events = read_waiting(record).events
    process = shared.process()
    process.outbox.record_published(Event.from_json(events[0].encode()).id)
    await process.journal.ensure_published(MAIN, events)
    assert shared.bus.take() == [("document.sealed", "usr_1")]


async def test_an_event_of_a_later_release_stays_when_its_entry_goes() -> None:
    shared = Shared()
    await shared.killed(events=1)
    [record] = (await shared.records.query(MAIN, ENTRY_KIND)).records
    later = read_waiting(record).events[0].replace("document.sealed", "unheard.of")
    process = shared.process()
    for _ in range(2):
        await process.journal.ensure_published(MAIN, [later])
    assert await shared.ids(KIND) == [json.loads(later)["id"]]
    assert shared.bus.take() == []
    with pytest.raises(Damaged):
        await process.journal.ensure_published(MAIN, ["no event"])


@pytest.mark.parametrize(
    "body",
    [
        {"id": "aud_other"},
        {"entry": {"id": "aud_other"}, "events": []},
        {"entry": "text", "events": []},
        {"unreadable": True},
        {"events": [5]},
        {"events": "text"},
    ],
)
async def test_a_damaged_record_is_no_entry(body: dict[str, Any]) -> None:
    shared = Shared()
    await shared.killed(events=1)
    record = await shared.record()
    if "events" in body and "entry" not in body:
        body = {**record.body, **body}
    await shared.records.commit(MAIN, [Replace(replace(record, body=body))])
    with pytest.raises(Damaged):
        read_waiting(await shared.record())
    shared.clock.advance(DUE)
    assert await shared.process().outbox.relay() == 1, "it is announced, and the append says so"


async def test_a_set_of_the_backups_has_the_entry_without_its_events() -> None:
    shared = Shared()
    await shared.killed(events=1)
    [record] = (await shared.records.query(MAIN, ENTRY_KIND)).records
    assert without_erasable(record) == read_waiting(record).entry
    await shared.killed()
    plain = (await shared.records.query(MAIN, ENTRY_KIND)).records[-1]
    assert without_erasable(plain) == read_waiting(plain).entry


OTHERS = [f"ten_o{number}" for number in range(20)]
"""Tenants whose partitions are due in all shards of the agenda, before and after that of ``TENANT``."""


async def damage_entry(shared: Shared) -> None:
    await shared.rewrite(await shared.record(), {"events": [5]})


async def damage_outbox(shared: Shared) -> None:
    unreadable = Record(MAIN, KIND, "evt_x", {"unreadable": True})
    await shared.records.commit(MAIN, [Create(unreadable)])


def damage_agenda(body: dict[str, Any]) -> Callable[[Shared], Awaitable[None]]:
    async def damage(shared: Shared) -> None:
        """The first item of each shard is damaged."""
        for number in range(SHARDS):
            shard = Partition(OPERATOR, f"agenda-{number}")
            item = Record(shard, f"agenda-{Task.RELAY_EVENTS}", "2025", body)
            await shared.records.commit(shard, [Create(item)])

    return damage


@pytest.mark.parametrize("everything", [False, True], ids=["the due", "everything"])
@pytest.mark.parametrize(
    ("damage", "logged"),
    [
        (damage_entry, ""),
        (damage_outbox, "record.damaged kind=outbox id=evt_x"),
        (damage_agenda({"unreadable": True}), "record.damaged kind=agenda-relay-events id=2025"),
        (
            damage_agenda({"partition": "nowhere", "due": "2025-12-31T00:00:00Z"}),
            "record.damaged kind=agenda-relay-events id=2025",
        ),
    ],
    ids=["entry", "outbox", "agenda", "agenda, of no partition"],
)
async def test_what_is_damaged_in_one_partition_holds_up_no_other(
    damage: Callable[[Shared], Awaitable[None]],
    logged: str,
    everything: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shared = Shared()
    entry = await shared.killed(events=1)
    await damage(shared)
    others = {("audit.recorded", await shared.killed(events=1, tenant=tenant)) for tenant in OTHERS}
    shared.clock.advance(DUE)
    await shared.process().outbox.relay(everything=everything)
    assert logged in caplog.text
    sealed = [each for each in shared.bus.events if each.type is EventType.DOCUMENT_SEALED]
    assert {each.partition.tenant for each in sealed} >= {*OTHERS}
    assert {*shared.bus.take()} >= others | {("audit.recorded", entry)}
    shared.clock.advance(DUE)
    assert await shared.process().outbox.relay() == 0, "their items were taken off"


class Defective(MemoryRecords):
    """Records whose waiting entries of one partition nobody can read, for a defect."""

    defect = True

    async def query(self, partition: Partition, kind: str, **how: Any) -> Page:
        if self.defect and (partition, kind) == (MAIN, ENTRY_KIND):
            raise TypeError("said with a secret")
        return await super().query(partition, kind, **how)


async def test_a_partition_whose_relay_has_a_defect_holds_up_no_other_and_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shared = Shared()
    shared.records = records = Defective(shared.clock)
    entry = await shared.killed(events=1)
    for tenant in OTHERS:
        await shared.killed(events=1, tenant=tenant)
    shared.clock.advance(DUE)
    relay = shared.process().outbox
    assert await relay.relay() == 2 * len(OTHERS)
    assert "left the events of ten_a/main to the next relay: TypeError" in caplog.text
    assert "said with a secret" not in caplog.text
    shared.bus.take()
    records.defect = False
    assert await relay.relay() == 2
    assert shared.bus.take() == [("document.sealed", "usr_0"), ("audit.recorded", entry)]


async def relayed_twice(shared: Shared, process: Process, event: str) -> None:
    """Two hours pass, and the relay leaves an event of a later release."""
    for _ in range(2):
        shared.clock.advance(LOOK_AGAIN.total_seconds() + DUE)
        assert await process.outbox.relay() == 0
        assert await shared.ids(KIND) == [event]
    assert shared.bus.take() == []


async def test_an_event_of_a_later_release_is_published_once_it_can_be_read() -> None:
    shared = Shared()
    await shared.killed(events=1)
    record = await shared.record()
    good = read_waiting(record).events[0]
    later = good.replace("document.sealed", "unheard.of")
    await shared.rewrite(record, {"events": [later]})
    process = shared.process()
    shared.clock.advance(DUE)
    await process.outbox.relay()
    await process.journal.ensure_published(MAIN, [later])
    await shared.records.commit(MAIN, [Delete(ENTRY_KIND, record.id)])
    shared.bus.take()
    await relayed_twice(shared, process, json.loads(good)["id"])
    # The later release comes: it can read the event.
    await shared.rewrite(await shared.record(KIND), {"event": good})
    shared.clock.advance(LOOK_AGAIN.total_seconds() + DUE)
    assert await shared.process().outbox.relay() == 1
    assert shared.bus.take() == [("document.sealed", "usr_0")]
    assert await shared.ids(KIND) == []


async def test_the_relay_of_a_clock_that_was_set_back_leaves_what_others_count_on() -> None:
    shared = Shared()
    shared.clock.advance(60)
    relay = shared.process()
    await relay.outbox.relay()
    front = shared.process()
    await front.commit()
    await front.outbox.close()
    await relay.outbox.relay()
    shared.clock.advance(-20)
    await relay.outbox.relay()
    shared.clock.advance(21)
    await shared.records.commit(MAIN, [Delete(ENTRY_KIND, (await shared.ids())[0])])
    entry = await shared.killed(events=1, process=front)
    shared.bus.take()
    shared.clock.advance(DUE)
    assert await shared.process().outbox.relay() == 2
    assert shared.bus.take() == [("document.sealed", "usr_0"), ("audit.recorded", entry)]


async def test_a_process_whose_clock_was_set_back_notes_its_partition_again() -> None:
    shared = Shared()
    shared.clock.advance(60)
    front = shared.process()
    await front.commit()
    await front.outbox.close()
    # The process of the timers has brought the item forward, and taken it off.
    await shared.process().outbox.relay(everything=True)
    await shared.records.commit(MAIN, [Delete(ENTRY_KIND, (await shared.ids())[0])])
    shared.clock.advance(-20)
    entry = await shared.killed(events=1, process=front)
    shared.bus.take()
    shared.clock.advance(DUE)
    assert await shared.process().outbox.relay() == 2
    assert shared.bus.take() == [("document.sealed", "usr_0"), ("audit.recorded", entry)]


async def test_the_gauge_knows_an_entry_that_nobody_could_announce(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ages: list[float] = []

    class Gauge:
        def set(self, seconds: float) -> None:
            ages.append(round(seconds))

    monkeypatch.setattr(telemetry, "OUTBOX_AGE", Gauge())
    shared = Shared()
    shared.bus.down = True
    process = shared.process()
    await process.commit()
    await process.outbox.close()
    shared.clock.advance(7_200)
    with pytest.raises(Unavailable):
        await process.outbox.relay()
    with pytest.raises(Unavailable):
        await shared.process().outbox.relay()
    assert ages == [7_200, 7_200]
    await shared.records.commit(MAIN, [Delete(ENTRY_KIND, (await shared.ids())[0])])
    await process.outbox.relay()
    assert ages == [7_200, 7_200, 0]
