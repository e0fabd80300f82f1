"""Entries wait with their events: whatever ends when, events are published and entries announced."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from shared.adapters.memory.records import MemoryRecords
from shared.backup.scope import without_erasable
from shared.base.errors import Damaged, Unavailable
from shared.base.events import Event, EventType, VersionData
from shared.base.partitions import Partition
from shared.journal.agenda import COMMIT_MARGIN, Agenda
from shared.journal.announcing import PAUSE_SECONDS
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.journal.outbox import KIND, RELAY_AFTER, WINDOW, Outbox
from shared.journal.waiting import ENTRY_KIND, read_waiting
from shared.ports.clock import Runtime
from shared.ports.records import Delete, Replace
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

    async def commit(self, resource: str = "", events: int = 0) -> str:
        """Commit an entry with events about its resource; its id."""
        entry = self.journal.entry(Action.DOCUMENT_LIST, resource, tenant=TENANT)
        sealed = [
            self.journal.event(
                EventType.DOCUMENT_SEALED, TENANT, f"usr_{number}", VersionData(version=1)
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

    async def killed(self, events: int = 0) -> str:
        """An entry that a process committed right before it was killed; its id."""
        process = self.process()
        process.outbox.schedule_publish = lambda *_, **__: None  # type: ignore[method-assign]
        process.outbox.announce_entry = lambda *_: None  # type: ignore[method-assign]
        return await process.commit(events=events)


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
    ],
)
async def test_a_damaged_record_is_no_entry(body: dict[str, Any]) -> None:
    shared = Shared()
    await shared.killed(events=1)
    [record] = (await shared.records.query(MAIN, ENTRY_KIND)).records
    await shared.records.commit(MAIN, [Replace(replace(record, body=body))])
    [record] = (await shared.records.query(MAIN, ENTRY_KIND)).records
    with pytest.raises(Damaged):
        read_waiting(record)
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
