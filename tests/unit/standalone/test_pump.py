from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import azure.functions as func
import pytest

from shared.base.activity import Activity
from shared.base.errors import Conflict, InvalidEvent, InvalidInput, Unavailable
from shared.base.events import Event, EventType, VersionData
from shared.base.partitions import Partition
from shared.ports.bus import Delivery
from standalone.logs import JsonFormatter
from standalone.pump import MessagePump
from standalone.triggers import MessageFunction
from tests.support.clock import FakeClock
from tests.support.timeline import MemorySource, Timeline, settle

pytestmark = pytest.mark.anyio

Handler = Callable[[func.ServiceBusMessage], Awaitable[None]]
START = FakeClock().now()


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


@pytest.fixture
def source(timeline: Timeline) -> MemorySource:
    return MemorySource(timeline)


class Held:
    """A function whose work goes on until it is said to be done."""

    def __init__(self) -> None:
        self.done = asyncio.Event()

    async def handler(self, message: func.ServiceBusMessage) -> None:
        await self.done.wait()


@pytest.fixture
def held() -> Held:
    return Held()


@asynccontextmanager
async def pumping(
    source: MemorySource,
    timeline: Timeline,
    handler: Handler,
    *,
    concurrency: int = 2,
    grace_seconds: float = 30,
    gather_seconds: float = 0,
) -> AsyncIterator[asyncio.Event]:
    """Pump into ``handler``; the value stops the pump."""
    pump = MessagePump(
        source,
        [MessageFunction("audit", "audit", "message", handler)],
        clock=timeline,
        concurrency=concurrency,
        grace_seconds=grace_seconds,
        activity=Activity(),
        gather_seconds=gather_seconds,
        sleep=timeline.sleep,
    )
    stopping = asyncio.Event()
    running = asyncio.create_task(pump.run(stopping))
    yield stopping
    stopping.set()
    source.release()
    await running


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, object]]:
    parsed = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    return [line for line in parsed if line["event"] == event]


async def test_a_function_sees_the_message_and_its_return_completes_it(
    source: MemorySource, timeline: Timeline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    seen: list[func.ServiceBusMessage] = []

    async def handler(message: func.ServiceBusMessage) -> None:
        seen.append(message)

    event = Event(
        "evt_1",
        EventType.DOCUMENT_SEALED,
        "test",
        Partition("ten_1"),
        "doc_1",
        timeline.now(),
        VersionData(version=1),
    )
    async with pumping(source, timeline, handler):
        source.put("evt_1", event.to_json())
        await settle()
    [message] = seen
    assert message.get_body() == event.to_json()
    assert (message.message_id, message.session_id) == ("evt_1", "ten_1")
    assert message.delivery_count == 1
    assert message.enqueued_time_utc == START
    assert message.locked_until == START + timedelta(seconds=60)
    assert source.settled == [("completed", "evt_1")]
    [line] = lines(caplog, "message")
    assert line["duration_ms"] >= 0  # type: ignore[operator]
    assert (
        line.items()
        >= {
            "subscription": "audit",
            "message_id": "evt_1",
            "event_type": "document.sealed",
            "delivery_count": 1,
            "outcome": "completed",
        }.items()
    )


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError("secret content"), "abandoned"),
        (Conflict("The record moved on."), "abandoned"),
        (InvalidEvent("The message is not an event."), "dead-lettered invalid-event"),
        (InvalidInput("A broken contract of our own."), "abandoned"),
    ],
)
async def test_a_function_that_raises(
    error: Exception,
    outcome: str,
    source: MemorySource,
    timeline: Timeline,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def handler(message: func.ServiceBusMessage) -> None:
        raise error

    async with pumping(source, timeline, handler):
        source.put("evt_1", b"secret body")
        await settle()
    assert source.settled == [(outcome, "evt_1")]
    [line] = lines(caplog, "message")
    assert line["outcome"] == outcome.split()[0]
    assert line["error"] == type(error).__name__
    assert "handler" in str(line["at"])
    assert "secret" not in json.dumps(lines(caplog, "message"))


async def test_no_more_messages_are_in_work_than_allowed(
    source: MemorySource, timeline: Timeline
) -> None:
    in_work, most = 0, 0
    gates = [asyncio.Event() for _ in range(5)]

    async def handler(message: func.ServiceBusMessage) -> None:
        nonlocal in_work, most
        in_work += 1
        most = max(most, in_work)
        await gates[int(message.message_id)].wait()
        in_work -= 1

    async with pumping(source, timeline, handler, concurrency=2):
        for number in range(5):
            source.put(str(number))
        for gate in gates:
            await settle()
            assert in_work <= 2
            gate.set()
        await settle()
        assert len(source.settled) == 5
    assert most == 2
    assert max(source.limits) == 2


async def test_what_comes_soon_after_a_message_is_received_together(
    source: MemorySource, timeline: Timeline
) -> None:
    async def handler(message: func.ServiceBusMessage) -> None:
        return

    async with pumping(source, timeline, handler, concurrency=8, gather_seconds=5):
        source.put("evt_1")
        await settle()
        assert source.settled == [("completed", "evt_1")]
        source.put("evt_2")
        source.put("evt_3")
        await timeline.pass_time(4)
        assert (len(source.settled), len(source.limits)) == (1, 1)
        await timeline.pass_time(1)
        assert (len(source.settled), len(source.limits)) == (3, 2)
        await timeline.pass_time(5)


async def test_a_backlog_is_worked_off_without_pauses(
    source: MemorySource, timeline: Timeline
) -> None:
    async def handler(message: func.ServiceBusMessage) -> None:
        return

    for number in range(6):
        source.put(str(number))
    async with pumping(source, timeline, handler, concurrency=2, gather_seconds=5):
        await settle()
        await settle()
        assert len(source.settled) == 6
        assert source.limits == [2, 2, 2, 2]


async def test_locks_that_are_due_together_are_renewed_each(
    source: MemorySource, timeline: Timeline, held: Held
) -> None:
    async with pumping(source, timeline, held.handler):
        source.put("evt_1")
        source.put("evt_2")
        await settle()
        source.lost.add("evt_1")
        await timeline.pass_time(70)
        held.done.set()
        await settle()
    assert source.settled == [("completed", "evt_2")]
    assert source.renewed == [START + timedelta(seconds=at) for at in (30, 60)]


async def test_a_renewal_that_takes_long_holds_up_no_other(
    source: MemorySource, timeline: Timeline, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew = source.renew

    async def slow_for_one(delivery: Delivery) -> Delivery:
        if delivery.message_id == "evt_1":
            await held.done.wait()
        return await renew(delivery)

    monkeypatch.setattr(source, "renew", slow_for_one)
    async with pumping(source, timeline, held.handler):
        source.put("evt_1")
        source.put("evt_2")
        await timeline.pass_time(100)
        held.done.set()
        await settle()
    assert ("completed", "evt_2") in source.settled
    assert source.renewed[:3] == [START + timedelta(seconds=at) for at in (30, 60, 90)]


async def test_long_work_renews_its_lock_at_half_time(
    source: MemorySource, timeline: Timeline, held: Held
) -> None:
    async with pumping(source, timeline, held.handler):
        source.put("evt_1")
        await timeline.pass_time(100)
        held.done.set()
        await timeline.pass_time(200)
    assert source.settled == [("completed", "evt_1")]
    assert source.renewed == [START + timedelta(seconds=at) for at in (30, 60, 90)]


async def test_a_renewal_that_fails_is_tried_again_while_the_lock_lasts(
    source: MemorySource, timeline: Timeline, held: Held
) -> None:
    async with pumping(source, timeline, held.handler):
        source.put("evt_1")
        await settle()
        source.failures = [Unavailable("The bus does not answer.")]
        await timeline.pass_time(50)
        held.done.set()
        await settle()
    assert source.settled == [("completed", "evt_1")]
    assert source.renewed == [START + timedelta(seconds=45)]


async def test_a_lost_lock_is_left_to_redelivery(
    source: MemorySource, timeline: Timeline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    done = asyncio.Event()

    async def handler(message: func.ServiceBusMessage) -> None:
        await done.wait()

    async with pumping(source, timeline, handler):
        source.put("evt_1")
        await settle()
        source.lost.add("evt_1")
        await timeline.pass_time(31)
        assert len(lines(caplog, "lock lost")) == 1
        done.set()
        await settle()
    assert source.settled == []
    assert [line["outcome"] for line in lines(caplog, "message")] == ["lock-lost"]


async def test_a_source_that_fails_is_asked_again_after_growing_pauses(
    source: MemorySource, timeline: Timeline
) -> None:
    async def handler(message: func.ServiceBusMessage) -> None:
        return

    source.failures = [Unavailable("The bus does not answer.") for _ in range(8)]
    async with pumping(source, timeline, handler):
        source.put("evt_1")
        attempts = []
        for _ in range(4):
            await settle()
            attempts.append(len(source.limits))
            await timeline.pass_time(2 ** len(source.limits) / 2)
        assert attempts == [1, 2, 3, 4]
        await timeline.pass_time(3 * 30 + 16)
        assert source.settled == [("completed", "evt_1")]


async def test_a_stop_lets_work_finish_and_takes_no_more(
    source: MemorySource, timeline: Timeline
) -> None:
    done = asyncio.Event()

    async def handler(message: func.ServiceBusMessage) -> None:
        await done.wait()

    async with pumping(source, timeline, handler, concurrency=1) as stopping:
        source.put("evt_1")
        source.put("evt_2")
        await settle()
        stopping.set()
        done.set()
    assert source.settled == [("completed", "evt_1")]


async def test_work_that_outlasts_the_grace_time_is_cancelled_and_left(
    source: MemorySource, timeline: Timeline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cancelled = asyncio.Event()

    async def handler(message: func.ServiceBusMessage) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with pumping(source, timeline, handler, grace_seconds=0) as stopping:
        source.put("evt_1")
        await settle()
        stopping.set()
    assert cancelled.is_set()
    assert source.settled == []
    assert [line["outcome"] for line in lines(caplog, "message")] == ["cancelled"]
