"""EventBus and EventSource: every adapter keeps what ``shared.ports.bus`` promises.

The subscriptions are those of ``tests/support/topology.py``: ``encryption`` and ``replication`` without
sessions, ``audit`` with them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.base.errors import Conflict, NotFound
from shared.base.events import (
    DATA,
    AlertData,
    DifferenceData,
    Event,
    EventData,
    EventType,
    NoData,
    ReleasedData,
    VersionData,
)
from shared.base.partitions import Partition
from shared.base.topology import Subscription
from shared.ports.bus import Delivery
from tests.support.contract.harness import BusHarness
from tests.support.topology import FAN_OUT

pytestmark = pytest.mark.anyio

LONGEST_BACK_OFF = 300
SUBSCRIPTIONS: dict[str, Subscription] = {
    subscription.name: subscription
    for topic in FAN_OUT.topics
    for subscription in topic.subscriptions
}


DATA_OF_MODEL: dict[type[EventData], EventData] = {
    NoData: NoData(),
    VersionData: VersionData(version=3),
    ReleasedData: ReleasedData(objects=("ten_a/doc_1/1",), replicas=("ten_a/doc_1/2",)),
    DifferenceData: DifferenceData(
        kind="tile", difference="changed", object="tile/0/000", position=7, count=1
    ),
    AlertData: AlertData(rule="refusals", severity="warning", count=50, seconds=600, user=""),
}


def event(
    harness: BusHarness,
    number: int,
    type_: EventType = EventType.DOCUMENT_SEALED,
    tenant: str = "ten_a",
) -> Event:
    return Event(
        id=f"evt_{tenant}_{number:04}",
        type=type_,
        environment="development",
        partition=Partition(tenant, "2026-11"),
        subject=f"doc_{number}",
        time=harness.now(),
        data=DATA_OF_MODEL[DATA[type_]],
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def recorded(harness: BusHarness, number: int, tenant: str = "ten_a") -> Event:
    """What the subscription with sessions takes."""
    return event(harness, number, EventType.AUDIT_RECORDED, tenant)


async def one(harness: BusHarness, subscription: str) -> Delivery:
    [delivery] = await harness.bus.receive(subscription)
    return delivery


async def drain(harness: BusHarness, subscription: str) -> list[str]:
    """Receive and complete all that is due; the message ids in their order."""
    seen = []
    while deliveries := await harness.bus.receive(subscription):
        for delivery in deliveries:
            seen.append(delivery.message_id)
            await harness.bus.complete(delivery)
    return seen


async def wear_out(harness: BusHarness, subscription: str) -> None:
    """Abandon the message that is due until the delivery limit is reached."""
    for attempt in range(1, SUBSCRIPTIONS[subscription].max_delivery_count + 1):
        delivery = await one(harness, subscription)
        assert delivery.delivery_count == attempt
        await harness.bus.abandon(delivery)
        await harness.advance(LONGEST_BACK_OFF)


async def test_an_event_arrives_as_it_was_published(bus):
    published = event(bus, 1, EventType.UPLOAD_COMPLETED)
    await bus.bus.publish([published])
    delivery = await one(bus, "encryption")
    assert Event.from_json(delivery.body) == published
    assert delivery.subscription == "encryption"
    assert delivery.message_id == published.id
    assert delivery.session_id == published.tenant
    assert delivery.delivery_count == 1
    assert abs(delivery.enqueued_at - bus.now()) <= timedelta(seconds=5)
    lock = timedelta(seconds=SUBSCRIPTIONS["encryption"].lock_seconds)
    assert abs(delivery.locked_until - bus.now() - lock) <= timedelta(seconds=5)


async def test_publishing_nothing_is_fine(bus):
    await bus.bus.publish([])
    assert await bus.bus.receive("audit") in ([], ())


@pytest.mark.parametrize("type_", list(EventType))
async def test_each_subscription_sees_the_types_of_its_filter_and_no_others(bus, type_):
    await bus.bus.publish([event(bus, 1, type_)])
    for subscription in SUBSCRIPTIONS.values():
        expected = ["evt_ten_a_0001"] if type_ in subscription.types else []
        assert await drain(bus, subscription.name) == expected


async def test_subscriptions_are_settled_apart(bus):
    await bus.bus.publish([event(bus, 1)])
    await bus.bus.complete(await one(bus, "replication"))
    assert await drain(bus, "replication") == []
    assert await drain(bus, "targets") == ["evt_ten_a_0001"]


async def test_an_event_id_takes_effect_once_within_the_window(bus):
    await bus.bus.publish([event(bus, 1), event(bus, 1), event(bus, 2)])
    await bus.bus.publish([event(bus, 2), event(bus, 3)])
    expected = ["evt_ten_a_0001", "evt_ten_a_0002", "evt_ten_a_0003"]
    assert await drain(bus, "replication") == expected
    await bus.bus.publish([event(bus, 1)])
    assert await drain(bus, "replication") == []


async def test_an_event_id_is_forgotten_after_the_window(bus):
    window = FAN_OUT.topics[0].duplicate_detection_minutes * 60
    await bus.bus.publish([event(bus, 1)])
    assert await drain(bus, "replication") == ["evt_ten_a_0001"]
    await bus.advance(window + 1)
    await bus.bus.publish([event(bus, 1)])
    assert await drain(bus, "replication") == ["evt_ten_a_0001"]


async def test_a_locked_message_is_nobody_elses(bus):
    await bus.bus.publish([event(bus, 1), event(bus, 2)])
    first, second = await one(bus, "replication"), await one(bus, "replication")
    assert {first.message_id, second.message_id} == {"evt_ten_a_0001", "evt_ten_a_0002"}
    assert first.lock_token != second.lock_token
    assert await drain(bus, "replication") == []


async def test_concurrent_receivers_share_the_messages_out(bus):
    await bus.bus.publish([event(bus, number) for number in range(30)])
    batches = await asyncio.gather(*(bus.bus.receive("replication", limit=5) for _ in range(8)))
    received = [delivery.message_id for batch in batches for delivery in batch]
    received += [d.message_id for d in await bus.bus.receive("replication", limit=30)]
    assert sorted(received) == [f"evt_ten_a_{number:04}" for number in range(30)]
    assert all(len(batch) <= 5 for batch in batches)


async def test_a_lock_that_ran_out_leads_to_redelivery_and_conflicts(bus):
    await bus.bus.publish([event(bus, 1)])
    lost = await one(bus, "replication")
    await bus.advance(SUBSCRIPTIONS["replication"].lock_seconds + 1)
    again = await one(bus, "replication")
    assert (again.message_id, again.delivery_count) == (lost.message_id, 2)
    assert again.lock_token != lost.lock_token
    for settle in (
        bus.bus.complete(lost),
        bus.bus.abandon(lost),
        bus.bus.dead_letter(lost, "broken"),
        bus.bus.renew(lost),
    ):
        with pytest.raises(Conflict):
            await settle
    await bus.bus.complete(again)
    assert await drain(bus, "replication") == []


async def test_a_lock_that_ran_out_is_lost_even_before_redelivery(bus):
    await bus.bus.publish([event(bus, 1)])
    lost = await one(bus, "replication")
    await bus.advance(SUBSCRIPTIONS["replication"].lock_seconds + 1)
    with pytest.raises(Conflict):
        await bus.bus.complete(lost)
    assert await drain(bus, "replication") == ["evt_ten_a_0001"]


@pytest.mark.parametrize("settlement", ["complete", "abandon", "dead_letter"])
async def test_a_delivery_is_settled_once(bus, settlement):
    await bus.bus.publish([event(bus, 1)])
    delivery = await one(bus, "replication")
    arguments = (delivery, "broken") if settlement == "dead_letter" else (delivery,)
    await getattr(bus.bus, settlement)(*arguments)
    with pytest.raises(Conflict):
        await bus.bus.complete(delivery)


async def test_of_messages_completed_at_once_only_one_with_a_lost_lock_conflicts(bus):
    await bus.bus.publish([event(bus, number) for number in range(3)])
    deliveries = await bus.bus.receive("replication", limit=3)
    await bus.bus.complete(deliveries[1])
    outcomes = await asyncio.gather(
        *(bus.bus.complete(delivery) for delivery in deliveries), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), Conflict, type(None)]
    await bus.advance(SUBSCRIPTIONS["replication"].lock_seconds + 1)
    assert await drain(bus, "replication") == []


async def test_a_guessed_lock_settles_nothing(bus):
    await bus.bus.publish([event(bus, 1)])
    delivery = await one(bus, "replication")
    with pytest.raises(Conflict):
        await bus.bus.complete(replace(delivery, lock_token="0" * 32))
    await bus.bus.complete(delivery)


async def test_a_renewed_lock_holds_for_another_lock_time(bus):
    lock = SUBSCRIPTIONS["replication"].lock_seconds
    await bus.bus.publish([event(bus, 1)])
    delivery = await one(bus, "replication")
    for _ in range(3):
        await bus.advance(lock - 2)
        before = delivery.locked_until
        delivery = await bus.bus.renew(delivery)
        assert delivery.locked_until > before
        assert abs(delivery.locked_until - bus.now() - timedelta(seconds=lock)) <= timedelta(
            seconds=1
        )
    assert await drain(bus, "replication") == []
    await bus.bus.complete(delivery)


async def test_an_abandoned_message_comes_back_after_a_growing_pause(bus):
    await bus.bus.publish([event(bus, 1)])
    delivery = await one(bus, "replication")
    pauses = []
    for attempt in range(2, 6):
        await bus.bus.abandon(delivery)
        pause = 0
        while not (deliveries := await bus.bus.receive("replication")):
            await bus.advance(1)
            pause += 1
        [delivery] = deliveries
        assert delivery.delivery_count == attempt
        pauses.append(pause)
    assert pauses == sorted(pauses)
    assert 1 <= pauses[0] < pauses[-1] <= LONGEST_BACK_OFF


async def test_after_the_delivery_limit_a_message_is_dead(bus):
    published = event(bus, 1)
    await bus.bus.publish([published])
    await wear_out(bus, "replication")
    assert await drain(bus, "replication") == []
    [letter] = await bus.bus.dead_letters("replication")
    assert letter.event == published
    assert letter.message_id == published.id
    assert letter.reason == "delivery-limit"
    assert letter.delivery_count == SUBSCRIPTIONS["replication"].max_delivery_count
    assert letter.subscription == "replication"
    assert await bus.bus.dead_letters("audit") in ([], ())


async def test_locks_that_run_out_count_towards_the_limit(bus):
    subscription = SUBSCRIPTIONS["replication"]
    await bus.bus.publish([event(bus, 1)])
    for attempt in range(1, subscription.max_delivery_count + 1):
        assert (await one(bus, "replication")).delivery_count == attempt
        await bus.advance(subscription.lock_seconds + 1)
    assert await drain(bus, "replication") == []
    [letter] = await bus.bus.dead_letters("replication")
    assert letter.reason == "delivery-limit"
    assert letter.delivery_count == subscription.max_delivery_count


async def test_a_message_can_be_dead_lettered_with_a_reason(bus):
    await bus.bus.publish([event(bus, 1)])
    await bus.bus.dead_letter(await one(bus, "replication"), "unknown-document")
    [letter] = await bus.bus.dead_letters("replication")
    assert (letter.reason, letter.delivery_count) == ("unknown-document", 1)
    assert abs(letter.dead_lettered_at - bus.now()) <= timedelta(seconds=5)
    assert await drain(bus, "replication") == []


@pytest.mark.parametrize("reason", ["", "Not A Slug", "über", "a" * 65, "-a", "a\n"])
async def test_a_reason_that_is_no_slug_is_refused(bus, reason):
    await bus.bus.publish([event(bus, 1)])
    delivery = await one(bus, "replication")
    with pytest.raises(ValueError, match="must be a slug"):
        await bus.bus.dead_letter(delivery, reason)
    await bus.bus.complete(delivery)


async def test_dead_letters_are_listed_oldest_first_up_to_the_limit(bus):
    for number in range(5):
        await bus.bus.publish([event(bus, number)])
        await bus.bus.dead_letter(await one(bus, "replication"), "broken")
        await bus.advance(1)
    listed = await bus.bus.dead_letters("replication", limit=3)
    assert [letter.message_id for letter in listed] == [f"evt_ten_a_{n:04}" for n in range(3)]
    assert len(await bus.bus.dead_letters("replication")) == 5


@pytest.mark.parametrize("limit", [0, -1, 1_001])
async def test_a_limit_of_dead_letters_out_of_range_is_refused(bus, limit):
    with pytest.raises(ValueError, match="limit must be"):
        await bus.bus.dead_letters("replication", limit=limit)


@pytest.mark.parametrize("limit", [0, 101])
async def test_a_limit_of_deliveries_out_of_range_is_refused(bus, limit):
    with pytest.raises(ValueError, match="limit must be"):
        await bus.bus.receive("replication", limit=limit)


async def test_an_unknown_subscription_is_not_found(bus):
    for call in (
        bus.bus.receive("no-such"),
        bus.bus.dead_letters("no-such"),
        bus.bus.replay("no-such", ["evt_1"]),
    ):
        with pytest.raises(NotFound):
            await call


async def test_replay_delivers_again_to_that_subscription_alone(bus):
    await bus.bus.publish([event(bus, 1), event(bus, 2), event(bus, 3)])
    assert len(await drain(bus, "targets")) == 3
    for _ in range(3):
        await bus.bus.dead_letter(await one(bus, "replication"), "broken")
    wanted = ["evt_ten_a_0003", "evt_ten_a_0001", "evt_no_such"]
    assert await bus.bus.replay("replication", wanted) == 2
    left = await bus.bus.dead_letters("replication")
    assert [letter.message_id for letter in left] == ["evt_ten_a_0002"]
    again = await bus.bus.receive("replication", limit=10)
    assert sorted(d.message_id for d in again) == ["evt_ten_a_0001", "evt_ten_a_0003"]
    assert [delivery.delivery_count for delivery in again] == [1, 1]
    assert Event.from_json(again[0].body).tenant == "ten_a"
    assert await drain(bus, "targets") == []
    assert await bus.bus.replay("replication", wanted) == 0


async def test_a_replayed_message_has_all_its_tries_again(bus):
    await bus.bus.publish([event(bus, 1)])
    await wear_out(bus, "replication")
    assert await bus.bus.replay("replication", ["evt_ten_a_0001"]) == 1
    await wear_out(bus, "replication")
    assert len(await bus.bus.dead_letters("replication")) == 1


async def test_messages_without_sessions_come_in_order_when_nothing_fails(bus):
    await bus.bus.publish([event(bus, number) for number in range(10)])
    assert await drain(bus, "replication") == [f"evt_ten_a_{number:04}" for number in range(10)]


async def test_one_message_of_a_session_is_locked_at_a_time(bus):
    for number in range(3):
        for tenant in ("ten_a", "ten_b"):
            await bus.bus.publish([recorded(bus, number, tenant=tenant)])
    heads = [await one(bus, "audit"), await one(bus, "audit")]
    assert sorted(head.message_id for head in heads) == ["evt_ten_a_0000", "evt_ten_b_0000"]
    assert await drain(bus, "audit") == []
    await bus.bus.complete(heads[0])
    following = await one(bus, "audit")
    assert following.session_id == heads[0].session_id
    assert following.message_id.endswith("0001")
    assert await drain(bus, "audit") == []


async def test_what_is_published_while_a_session_is_locked_waits(bus):
    await bus.bus.publish([recorded(bus, 0)])
    head = await one(bus, "audit")
    await bus.bus.publish([recorded(bus, 1)])
    assert await drain(bus, "audit") == []
    await bus.bus.complete(head)
    assert await drain(bus, "audit") == ["evt_ten_a_0001"]


async def test_a_message_that_backs_off_holds_its_session_and_no_other(bus):
    await bus.bus.publish([recorded(bus, 0), recorded(bus, 1), recorded(bus, 0, tenant="ten_b")])
    [head] = [
        d for d in [await one(bus, "audit"), await one(bus, "audit")] if d.session_id == "ten_a"
    ]
    await bus.bus.abandon(head)
    await bus.bus.publish([recorded(bus, 2)])
    assert await drain(bus, "audit") == []
    await bus.advance(LONGEST_BACK_OFF)
    expected = ["evt_ten_a_0000", "evt_ten_a_0001", "evt_ten_a_0002"]
    assert [i for i in await drain(bus, "audit") if "ten_a" in i] == expected


async def test_a_lost_lock_keeps_the_order_of_a_session(bus):
    await bus.bus.publish([recorded(bus, number) for number in range(3)])
    await one(bus, "audit")
    await bus.advance(SUBSCRIPTIONS["audit"].lock_seconds + 1)
    assert await drain(bus, "audit") == [f"evt_ten_a_{number:04}" for number in range(3)]


async def test_a_dead_letter_lets_its_session_go_on(bus):
    await bus.bus.publish([recorded(bus, number) for number in range(3)])
    await bus.bus.dead_letter(await one(bus, "audit"), "broken")
    assert await drain(bus, "audit") == ["evt_ten_a_0001", "evt_ten_a_0002"]


async def test_sessions_keep_their_order_under_concurrency(bus):
    tenants = [f"ten_{letter}" for letter in "abcde"]
    for number in range(8):
        await bus.bus.publish([recorded(bus, number, tenant=tenant) for tenant in tenants])
    seen: dict[str, list[str]] = defaultdict(list)
    held: set[str] = set()

    async def work(worker: int) -> None:
        while sum(map(len, seen.values())) < 8 * len(tenants):
            for delivery in await bus.bus.receive("audit", limit=1 + worker % 3):
                assert delivery.session_id not in held
                held.add(delivery.session_id)
                await asyncio.sleep(0)
                held.discard(delivery.session_id)
                seen[delivery.session_id].append(delivery.message_id)
                await bus.bus.complete(delivery)

    await asyncio.gather(*(work(worker) for worker in range(6)))
    assert dict(seen) == {
        tenant: [f"evt_{tenant}_{number:04}" for number in range(8)] for tenant in tenants
    }


async def test_a_waiting_receiver_is_woken_by_a_publication(bus):
    waiting = asyncio.create_task(bus.bus.receive("replication", wait_seconds=60))
    await asyncio.sleep(0)
    await bus.bus.publish([event(bus, 1)])
    [delivery] = await asyncio.wait_for(waiting, 5)
    assert delivery.message_id == "evt_ten_a_0001"


async def test_a_receiver_that_waits_in_vain_returns_nothing(bus):
    assert list(await bus.bus.receive("replication", wait_seconds=0.02)) == []


async def test_after_a_crash_locked_messages_come_back_when_their_lock_ends(bus):
    await bus.bus.publish([event(bus, number) for number in range(3)])
    await bus.bus.complete(await one(bus, "replication"))
    await one(bus, "replication")
    bus.bus = await bus.reopen()
    assert await drain(bus, "replication") == ["evt_ten_a_0002"]
    await bus.advance(SUBSCRIPTIONS["replication"].lock_seconds + 1)
    again = await one(bus, "replication")
    assert (again.message_id, again.delivery_count) == ("evt_ten_a_0001", 2)


async def test_after_a_crash_duplicates_and_dead_letters_are_still_known(bus):
    await bus.bus.publish([event(bus, 1)])
    await bus.bus.dead_letter(await one(bus, "replication"), "broken")
    bus.bus = await bus.reopen()
    await bus.bus.publish([event(bus, 1)])
    assert await drain(bus, "replication") == []
    assert [d.reason for d in await bus.bus.dead_letters("replication")] == ["broken"]
