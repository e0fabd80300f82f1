"""SqliteBus: how waiting receivers wake, and what the topology may say."""

from __future__ import annotations

import asyncio
import json
import stat
from dataclasses import replace

import pytest
from pydantic import ValidationError

from shared.adapters.embedded.bus import SqliteBus
from shared.base.errors import NotFound
from shared.base.events import Event, EventType, NoData, VersionData
from shared.base.partitions import Partition
from shared.base.topology import TOPOLOGY_FILE, Topology, load_topology
from shared.ports.clock import system_entropy
from tests.support.clock import FakeClock
from tests.support.topology import FAN_OUT

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def bus(tmp_path, clock):
    bus = SqliteBus(tmp_path / "bus.sqlite", load_topology(), clock, system_entropy)
    yield bus
    await bus.close()


def event(number: int) -> Event:
    return Event(
        id=f"evt_{number}",
        type=EventType.DOCUMENT_SEALED,
        environment="development",
        partition=Partition("ten_a"),
        subject="doc_1",
        time=FakeClock().now(),
        data=VersionData(version=1),
    )


def recorded(number: int) -> Event:
    """What the subscription with sessions takes."""
    return replace(event(number), type=EventType.AUDIT_RECORDED, data=NoData())


async def waiting(bus, subscription):
    """A receiver that has looked once and found nothing."""
    task = asyncio.create_task(bus.receive(subscription, wait_seconds=60))
    await bus.receive(subscription)
    assert not task.done()
    return task


async def test_files_are_private(bus, tmp_path):
    await bus.publish([event(1)])
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}


async def test_a_receiver_wakes_when_a_back_off_ends(bus, clock):
    await bus.publish([event(1)])
    [delivery] = await bus.receive("replication")
    await bus.abandon(delivery)
    # The pause that is left is a hundredth of a second; then the receiver looks by itself.
    clock.advance(0.99)
    task = await waiting(bus, "replication")
    clock.advance(0.01)
    [again] = await asyncio.wait_for(task, 5)
    assert again.delivery_count == 2


async def test_a_receiver_wakes_when_a_lock_ends(bus, clock):
    await bus.publish([event(1)])
    await bus.receive("replication")
    clock.advance(59.99)
    task = await waiting(bus, "replication")
    clock.advance(0.01)
    [again] = await asyncio.wait_for(task, 5)
    assert again.delivery_count == 2


async def test_a_receiver_learns_that_a_back_off_is_shorter_than_the_lock(bus, clock):
    await bus.publish([event(1)])
    [delivery] = await bus.receive("replication")
    task = await waiting(bus, "replication")
    clock.advance(1)
    await bus.abandon(delivery)
    clock.advance(1)
    # Nothing tells the receiver but that the message was abandoned.
    await bus.publish([])
    [again] = await asyncio.wait_for(task, 5)
    assert again.delivery_count == 2


async def test_a_receiver_wakes_when_the_message_before_it_in_its_session_is_done(bus):
    await bus.publish([recorded(1), recorded(2)])
    [head] = await bus.receive("audit")
    task = await waiting(bus, "audit")
    await bus.complete(head)
    [following] = await asyncio.wait_for(task, 5)
    assert following.message_id == "evt_2"


async def test_a_receiver_wakes_when_a_dead_letter_is_replayed(bus):
    await bus.publish([event(1)])
    [delivery] = await bus.receive("replication")
    await bus.dead_letter(delivery, "broken")
    task = await waiting(bus, "replication")
    await bus.replay("replication", ["evt_1"])
    assert len(await asyncio.wait_for(task, 5)) == 1


async def test_a_waiting_receiver_does_not_look_again_without_a_cause(bus, monkeypatch):
    task = await waiting(bus, "replication")
    looks = []
    write = bus._database.write

    async def noted(work):
        looks.append(work)
        return await write(work)

    monkeypatch.setattr(bus._database, "write", noted)
    for _ in range(100):
        await asyncio.sleep(0)
    assert looks == []
    task.cancel()


async def test_an_old_event_id_is_new_even_while_many_others_wait_to_be_forgotten(bus, clock):
    await bus.publish([event(number) for number in range(500)])
    while deliveries := await bus.receive("replication", limit=100):
        await asyncio.gather(*(bus.complete(delivery) for delivery in deliveries))
    clock.advance(601)
    await bus.publish([event(499)])
    assert len(await bus.receive("replication")) == 1


async def test_an_unknown_subscription_is_not_found(bus):
    for call in (
        bus.receive("no-such"),
        bus.dead_letters("no-such"),
        bus.replay("no-such", ["evt_1"]),
    ):
        with pytest.raises(NotFound):
            await call


@pytest.mark.parametrize("limit", [0, 101])
async def test_a_limit_out_of_range_is_refused(bus, limit):
    with pytest.raises(ValueError):
        await bus.receive("replication", limit=limit)


async def test_the_lock_token_is_random(tmp_path, clock):
    tokens = iter([b"\1" * 16, b"\2" * 16])
    bus = SqliteBus(tmp_path / "bus.sqlite", load_topology(), clock, lambda size: next(tokens))
    await bus.publish([event(1), event(2)])
    deliveries = await bus.receive("replication", limit=2)
    assert [delivery.lock_token for delivery in deliveries] == ["01" * 16, "02" * 16]
    await bus.close()


def topology(**changes) -> str:
    raw = json.loads(TOPOLOGY_FILE.read_bytes())
    raw["topics"][0]["subscriptions"][0].update(changes)
    return json.dumps(raw)


def test_the_topology_that_is_deployed_is_read():
    [topic] = load_topology().topics
    assert topic.duplicate_detection_minutes == 10
    sessions = {part.name: part.sessions for part in topic.subscriptions}
    assert sessions == {"encryption": False, "replication": False, "targets": False, "audit": True}
    assert topic.subscriptions[0].types == {EventType.UPLOAD_COMPLETED}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "audit"},
        {"name": "Audit"},
        {"name": "a" * 51},
        {"types": ["no.such.event"]},
        {"types": None},
        {"lockSeconds": 4},
        {"lockSeconds": 301},
        {"maxDeliveryCount": 0},
        {"option": True},
        {"sessions": None},
    ],
    ids=str,
)
def test_a_topology_that_cannot_be_is_refused(changes):
    with pytest.raises(ValidationError):
        Topology.model_validate_json(topology(**changes))


def test_two_topics_of_one_name_are_refused():
    raw = json.loads(TOPOLOGY_FILE.read_bytes())
    raw["topics"].append({**raw["topics"][0], "subscriptions": []})
    with pytest.raises(ValidationError, match="used more than once: events"):
        Topology.model_validate(raw)


async def test_a_clock_that_is_set_back_holds_up_no_session(bus, clock):
    await bus.publish([recorded(1), recorded(2)])
    [held] = await bus.receive("audit")
    await bus.abandon(held)
    clock.advance(-3600)
    await bus.publish([recorded(3)])
    for number in (1, 2, 3):
        [delivery] = await bus.receive("audit")
        assert delivery.message_id == f"evt_{number}"
        await bus.complete(delivery)


async def test_what_was_published_while_the_clock_was_ahead_is_due_after_a_restart(tmp_path, clock):
    ahead = SqliteBus(tmp_path / "bus.sqlite", load_topology(), clock, system_entropy)
    clock.advance(3 * 86_400)
    await ahead.publish([event(1)])
    await ahead.receive("replication")  # killed while it had the message
    await ahead.close()
    clock.advance(-3 * 86_400)
    bus = SqliteBus(tmp_path / "bus.sqlite", load_topology(), clock, system_entropy)
    [delivery] = await bus.receive("replication")
    await bus.complete(delivery)
    assert await bus.receive("replication") == []
    await bus.close()


async def test_a_lock_and_a_back_off_hold_as_long_as_they_should(bus, clock):
    await bus.publish([event(1)])
    [delivery] = await bus.receive("replication")
    assert await bus.receive("replication") == []
    clock.advance(-20)
    assert await bus.receive("replication") == []
    await bus.abandon(delivery)
    assert await bus.receive("replication") == []


async def test_another_process_hears_of_what_is_published_and_is_woken(bus, tmp_path, clock):
    other = SqliteBus(tmp_path / "bus.sqlite", load_topology(), clock, system_entropy)
    bus.announce_to(other.wake)
    try:
        receiver = await waiting(other, "replication")
        async with asyncio.timeout(30):  # of the 60 seconds that the receiver would wait
            await bus.publish([event(1)])
            [delivery] = await receiver
        assert delivery.message_id == "evt_1"
    finally:
        await other.close()


async def test_nothing_is_announced_once_nobody_is_to_hear_it(bus):
    heard: list[str] = []
    bus.announce_to(heard.append)
    await bus.publish([event(1)])
    first = list(heard)
    bus.announce_to(None)
    await bus.publish([event(2)])
    assert "replication" in first
    assert heard == first


async def test_what_a_subscription_takes_no_more_is_delivered_and_replayed(tmp_path, clock):
    path = tmp_path / "bus.sqlite"
    former = SqliteBus(path, FAN_OUT, clock, system_entropy)
    await former.publish([event(1), event(2)])
    await former.close()
    bus = SqliteBus(path, load_topology(), clock, system_entropy)
    await bus.publish([event(3)])
    first, second = await bus.receive("targets", limit=10)
    assert (first.message_id, second.message_id) == ("evt_1", "evt_2")
    await bus.complete(first)
    await bus.dead_letter(second, "broken")
    assert await bus.replay("targets", ["evt_2"]) == 1
    [again] = await bus.receive("targets", limit=10)
    assert again.message_id == "evt_2"
    await bus.close()
