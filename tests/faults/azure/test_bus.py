"""Every call to Service Bus fails once, and for good; locks are lost, messages come twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from shared.adapters.azure.bus import AzureBus
from shared.adapters.azure.source import AzureSource
from shared.base.errors import Conflict, InternalError, Unavailable
from shared.base.events import Event, EventType, NoData, ReleasedData
from shared.base.partitions import Partition
from shared.base.topology import Topology
from shared.ports.bus import Delivery
from tests.support.emulators.servicebus import Broker

pytestmark = [
    pytest.mark.anyio,
    # The SDK forgets the socket of a connection that broke.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BUSY = "com.microsoft:server-busy"
PUBLISH_FAULTS: dict[str, Callable[[Broker], None]] = {
    "throttled": lambda broker: broker.fail_sends(BUSY, 1),
    "internal error": lambda broker: broker.fail_sends("amqp:internal-error", 1),
    "timeout": lambda broker: broker.hang_sends(1),
    "response lost": lambda broker: broker.lose_answers(1),
    "connection broken": lambda broker: broker.drop_connections(),
    "link detached": lambda broker: broker.detach_links(),
}


def event(number: int, tenant: str = "ten_a", text: str = "") -> Event:
    return Event(
        id=f"evt_{tenant}_{number}",
        type=EventType.DOCUMENT_DELETED,
        environment="development",
        partition=Partition(tenant, "2026-11"),
        subject="doc_1",
        time=datetime(2026, 11, 23, tzinfo=UTC),
        data=ReleasedData(objects=(text,)),
    )


def recorded(number: int) -> Event:
    """What the subscription with sessions takes."""
    return replace(event(number), type=EventType.AUDIT_RECORDED, data=NoData())


EVENTS = {"replication": event, "audit": recorded}


async def one(source: AzureSource, subscription: str = "replication") -> Delivery:
    [delivery] = await source.receive(subscription, wait_seconds=5)
    return delivery


def stored(broker: Broker, subscription: str = "replication") -> list[str]:
    return [message.message_id for message in broker.messages(subscription)]


@pytest.mark.parametrize("fault", PUBLISH_FAULTS)
async def test_a_publication_that_fails_once_arrives_once(bus, broker, fault):
    await bus.publish([event(0)])
    PUBLISH_FAULTS[fault](broker)
    await bus.publish([event(1), event(2)])
    assert stored(broker) == ["evt_ten_a_0", "evt_ten_a_1", "evt_ten_a_2"]


async def test_a_lost_response_makes_duplicates_that_the_topic_drops(bus, broker):
    broker.lose_answers(1)
    await bus.publish([event(1)])
    assert broker.counts["duplicate"] == 1
    assert stored(broker) == ["evt_ten_a_1"]


async def test_a_namespace_that_refuses_connections_for_a_moment(bus, broker, waits):
    broker.refuse_connections()
    waits.meanwhile = broker.accept_connections
    await bus.publish([event(1)])
    assert len(waits.seconds) == 1
    assert stored(broker) == ["evt_ten_a_1"]


async def test_a_busy_namespace_is_given_ten_seconds_and_then_up(bus, broker, waits):
    broker.fail_sends(BUSY, 10)
    with pytest.raises(Unavailable) as refusal:
        await bus.publish([event(1)])
    assert set(waits.seconds) == {10.0}
    assert refusal.value.retry_after == 10
    assert stored(broker) == []


async def test_many_events_are_sent_in_a_few_batches(bus, broker):
    large = [event(number, text="x" * 20_000) for number in range(40)]
    await bus.publish(large)
    assert stored(broker) == [one.id for one in large]
    assert 1 < broker.counts["send"] < 10


async def test_an_event_that_no_batch_holds_is_refused(bus, broker):
    with pytest.raises(InternalError):
        await bus.publish([event(1, text="x" * 300_000)])
    assert stored(broker) == []


async def test_a_topic_that_was_not_deployed_is_no_outage(clients, broker):
    topology = Topology.model_validate(
        {"topics": [{"name": "absent", "duplicateDetectionMinutes": 1, "subscriptions": [
            {"name": "a", "types": ["document.deleted"], "sessions": False, "lockSeconds": 60,
             "maxDeliveryCount": 1}]}]}
    )  # fmt: skip
    bus = AzureBus(clients, broker.connection_string, topology)
    with pytest.raises(InternalError):
        await bus.publish([event(1)])
    await bus.close()


@pytest.mark.parametrize("subscription", ["replication", "audit"])
async def test_a_receiver_whose_connection_is_refused_for_a_moment(
    bus, source, broker, waits, subscription
):
    await bus.publish([EVENTS[subscription](1)])
    broker.refuse_connections()
    waits.meanwhile = broker.accept_connections
    assert (await one(source, subscription)).message_id == "evt_ten_a_1"
    assert len(waits.seconds) == 1


@pytest.mark.parametrize("break_", ["drop_connections", "detach_links"])
async def test_an_idle_link_that_broke_is_opened_again(bus, source, broker, break_):
    await bus.publish([event(1)])
    await source.complete(await one(source))
    getattr(broker, break_)()
    await bus.publish([event(2)])
    again = await one(source)
    assert again.message_id == "evt_ten_a_2"
    await source.complete(again)
    assert stored(broker) == []


@pytest.mark.parametrize("break_", ["drop_connections", "detach_links"])
async def test_a_message_is_settled_though_its_link_broke(bus, source, broker, break_):
    await bus.publish([event(1)])
    delivery = await one(source)
    getattr(broker, break_)()
    await source.complete(delivery)
    assert stored(broker) == []


@pytest.mark.parametrize("break_", ["drop_connections", "detach_links"])
async def test_a_session_whose_link_broke_is_lost_and_its_message_comes_again(
    bus, source, broker, break_
):
    await bus.publish([recorded(1)])
    delivery = await one(source, "audit")
    getattr(broker, break_)()
    with pytest.raises(Conflict):
        await source.complete(delivery)
    again = await one(source, "audit")
    assert (again.message_id, again.delivery_count) == ("evt_ten_a_1", 1)
    await source.complete(again)
    assert stored(broker, "audit") == []


@pytest.mark.parametrize("settle", ["complete", "abandon", "dead_letter", "renew"])
@pytest.mark.parametrize("subscription", ["replication", "audit"])
async def test_a_lost_lock_is_a_conflict_and_the_message_comes_again(
    bus, source, broker, settle, subscription
):
    await bus.publish([EVENTS[subscription](1)])
    lost = await one(source, subscription)
    broker.lose_locks()
    arguments = (lost, "broken") if settle == "dead_letter" else (lost,)
    with pytest.raises(Conflict):
        await getattr(source, settle)(*arguments)
    again = await one(source, subscription)
    assert (again.message_id, again.delivery_count) == ("evt_ten_a_1", 2)
    await source.complete(again)
    assert stored(broker, subscription) == []
    assert broker.dead_letters(subscription) == []


async def test_a_settlement_that_fails_once_is_tried_again(bus, source, broker, waits):
    await bus.publish([event(1)])
    delivery = await one(source)
    broker.fail_settlements(BUSY, 1)
    await source.complete(delivery)
    assert waits.seconds == [10.0]
    assert stored(broker) == []


async def test_long_work_keeps_its_lock_by_renewing_it(bus, source, broker):
    for number, subscription in enumerate(EVENTS):
        await bus.publish([EVENTS[subscription](number)])
        delivery = await one(source, subscription)
        for _ in range(5):
            broker.advance(50)
            delivery = await source.renew(delivery)
        await source.complete(delivery)
        assert stored(broker, subscription) == []


async def test_a_poison_message_ends_as_a_dead_letter_and_holds_up_nobody(bus, source, broker):
    await bus.publish([recorded(1), recorded(2)])
    for attempt in range(1, 11):
        poison = await one(source, "audit")
        assert (poison.message_id, poison.delivery_count) == ("evt_ten_a_1", attempt)
        await source.abandon(poison)
        async with asyncio.timeout(10):
            while broker.counts["abandon"] < attempt:  # noqa: ASYNC110 - the broker has no event
                await asyncio.sleep(0.01)
    following = await one(source, "audit")
    assert following.message_id == "evt_ten_a_2"
    await source.complete(following)
    [letter] = await bus.dead_letters("audit")
    assert (letter.message_id, letter.reason) == ("evt_ten_a_1", "delivery-limit")
    assert (letter.delivery_count, letter.event) == (10, recorded(1))


async def test_the_back_off_grows_and_ends_before_the_lock(bus, source, broker, waits):
    await bus.publish([event(1)])
    for attempt in range(1, 10):
        await source.abandon(await one(source))
        async with asyncio.timeout(10):
            while broker.counts["abandon"] < attempt:  # noqa: ASYNC110 - the broker has no event
                await asyncio.sleep(0.01)
    assert waits.seconds[:6] == [1, 2, 4, 8, 16, 32]
    assert all(54 < pause <= 55 for pause in waits.seconds[6:])


async def test_a_process_that_ends_during_a_back_off_loses_nothing(bus, source, broker, waits):
    await bus.publish([event(1)])
    never = asyncio.Event()
    source._rest = lambda _seconds: never.wait()
    await source.abandon(await one(source))
    await asyncio.sleep(0)
    await source.close()
    broker.advance(61)
    again = await one(source)
    assert (again.message_id, again.delivery_count) == ("evt_ten_a_1", 2)


async def test_a_replay_that_fails_half_way_can_be_repeated(bus, source, broker):
    await bus.publish([event(1)])
    await source.dead_letter(await one(source), "broken")
    broker.lose_answers(1)
    assert await bus.replay("replication", ["evt_ten_a_1"]) == 1
    assert len(broker.messages("replication")) == 1
    assert broker.dead_letters("replication") == []
    assert len(broker.messages("targets")) == 1


async def test_a_dead_letter_of_a_type_that_its_subscription_takes_no_more_is_replayed(
    bus, source, broker
):
    await bus.publish([event(1)])
    await source.dead_letter(await one(source, "targets"), "broken")
    broker.namespace.topics["events"].subscriptions["targets"].types = frozenset()
    assert await bus.replay("targets", ["evt_ten_a_1"]) == 1
    await bus.publish([event(2)])
    [again] = broker.messages("targets")
    assert again.message_id.startswith("evt_ten_a_1;replay=")
    assert broker.dead_letters("targets") == []
