"""The timer: targets side by side, in turns, within a bandwidth; it ends and goes on anywhere."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from shared.adapters.memory.targets import MemoryTarget
from shared.base.buffers import Buffer
from shared.base.errors import Unavailable
from shared.targets import timer, turns
from shared.targets.requests import TargetChange
from shared.targets.store import TargetKey
from tests.support.documents import WatchedRecords
from tests.support.targets import (
    ADMINISTRATOR,
    TargetData,
    TargetProcess,
    new_target,
)
from tests.support.timeline import settle

pytestmark = pytest.mark.anyio

MEBIBYTE = 1_048_576


class Slow:
    """Targets in one bucket take content only once they are told to."""

    def __init__(self, data: TargetData, bucket: str, patch: pytest.MonkeyPatch) -> None:
        self.told = asyncio.Event()
        self.under_way = 0
        self.most = 0
        objects = data.connector.buckets[bucket]
        put = MemoryTarget.put

        async def waits(
            target: MemoryTarget, name: str, content: AsyncIterator[Buffer], size: int
        ) -> None:
            if target.objects is objects:
                self.under_way += 1
                self.most = max(self.most, self.under_way)
                await self.told.wait()
                self.under_way -= 1
            await put(target, name, content, size)

        patch.setattr(MemoryTarget, "put", waits)


class Looks:
    """The pauses of a timer, which end when a test says."""

    def __init__(self, process: TargetProcess) -> None:
        self._again: asyncio.Event = asyncio.Event()
        store = process.services.timer.store
        store.runtime = type(store.runtime)(store.runtime.clock, store.runtime.entropy, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        if seconds == timer.LOOK_AGAIN_SECONDS:
            await self._again.wait()

    async def again(self) -> None:
        """Let the timer look for work again."""
        self._again.set()
        await settle()
        self._again.clear()
        for _ in range(20):
            await settle()


async def two_targets(data: TargetData, process: TargetProcess) -> tuple[TargetKey, TargetKey]:
    return await process.set_up(new_target("slow")), await process.set_up(new_target("fast"))


def contents(data: TargetData, bucket: str) -> int:
    return len([name for name in data.objects(bucket) if name.startswith("content/")])


async def test_a_slow_target_does_not_hold_up_another(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.start()
    await two_targets(data, process)
    slow, looks = Slow(data, "slow", monkeypatch), Looks(process)
    await process.documents.create(b"first")
    await data.note(process)
    data.clock.advance(60)
    run = asyncio.create_task(process.services.timer.run())
    for _ in range(20):
        await settle()
    assert (contents(data, "slow"), contents(data, "fast")) == (0, 1)
    # What comes up while the slow copy goes on is not kept waiting either.
    await process.documents.create(b"second")
    await data.note(process)
    data.clock.advance(60)
    await looks.again()
    assert (contents(data, "slow"), contents(data, "fast")) == (0, 2)
    assert not run.done()
    slow.told.set()
    await run
    assert (contents(data, "slow"), contents(data, "fast")) == (2, 2)
    assert slow.most == 1  # the second was not due when its turn began


async def test_few_copies_go_to_one_target_at_the_same_time(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.start()
    await process.set_up(new_target("slow"))
    slow = Slow(data, "slow", monkeypatch)
    for number in range(10):
        await process.documents.create(b"%d" % number)
    await data.note(process)
    data.clock.advance(60)
    run = asyncio.create_task(process.services.timer.run())
    for _ in range(20):
        await settle()
    slow.told.set()
    await run
    assert slow.most == turns.COPIES_AT_ONCE
    assert contents(data, "slow") == 10


async def test_few_targets_are_worked_at_at_the_same_time_and_all_get_their_turn(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timer, "SIDE_BY_SIDE", 2)
    process = data.start()
    buckets = [f"bucket-{number}" for number in range(5)]
    for bucket in buckets:
        await process.set_up(new_target(bucket))
    for number in range(3):
        await process.documents.create(b"%d" % number)
    take = type(process.services.timer.turns).take
    under_way = most = 0

    async def counted(*arguments: object) -> object:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await take(*arguments)  # type: ignore[arg-type]
        finally:
            under_way -= 1

    monkeypatch.setattr(type(process.services.timer.turns), "take", counted)
    assert await data.work(process) == 5
    assert most == 2
    assert [contents(data, bucket) for bucket in buckets] == [3] * 5


async def test_a_target_with_much_to_do_lets_others_have_their_turn(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each copy takes most of a turn, so each turn makes few, and the two targets alternate."""
    monkeypatch.setattr(timer, "SIDE_BY_SIDE", 1)
    monkeypatch.setattr(turns, "COPIES_AT_ONCE", 1)
    monkeypatch.setattr(timer, "RUN", timedelta(hours=1))
    process = data.start()
    for bucket in ("one", "other"):
        await process.set_up(new_target(bucket))
    for number in range(6):
        await process.documents.create(b"%d" % number)
    put = MemoryTarget.put
    order: list[str] = []
    names = {id(data.connector.buckets[bucket]): bucket for bucket in ("one", "other")}

    async def takes_long(target: MemoryTarget, name: str, *content: object) -> None:
        if name.startswith("content/"):
            data.clock.advance(40)
            order.append(names[id(target.objects)])
        await put(target, name, *content)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryTarget, "put", takes_long)
    await data.work(process)
    assert sorted(order) == ["one"] * 6 + ["other"] * 6
    changes = sum(one != other for one, other in itertools.pairwise(order))
    assert changes >= 4


async def test_no_turn_begins_late_in_a_run(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.start()
    await process.set_up(new_target("slow"))
    for number in range(40):
        await process.documents.create(b"%d" % number)
    put = MemoryTarget.put

    async def takes_long(target: MemoryTarget, name: str, *content: object) -> None:
        data.clock.advance(10)
        await put(target, name, *content)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryTarget, "put", takes_long)
    started = data.clock.now()
    await data.work(process, 1)
    assert 0 < contents(data, "slow") < 40
    # The longest of all copies, begun at the end of the last turn, ends within the time of a function.
    assert data.clock.now() - started < timer.RUN + 2 * turns.TURN + timedelta(minutes=1)
    assert timer.RUN + turns.TURN + timedelta(seconds=turns.COPY_SECONDS) < timedelta(minutes=30)
    for _ in range(5):
        await data.work(process, 1)
    assert contents(data, "slow") == 40


async def test_the_bandwidth_limit_holds_over_all_copies_of_a_target(data: TargetData) -> None:
    process = data.start()
    rate = 20 * process.services.targets.least_bytes_per_second
    await process.set_up(new_target(rate=rate))
    total = 0
    for _ in range(3):
        made = await process.documents.create(bytes(MEBIBYTE))
        total += made.version.size
    await data.note(process)
    data.clock.advance(60)
    started = data.clock.now()
    await process.services.timer.run()
    assert contents(data, "copies") == 3
    took = (data.clock.now() - started).total_seconds()
    # The last chunk is on its way while the clock stands.
    assert took >= (total - MEBIBYTE) / rate
    assert took < 1.5 * total / rate


async def test_a_limit_can_be_changed(data: TargetData) -> None:
    process = data.start()
    target = await process.set_up()
    rate = process.services.targets.least_bytes_per_second + 1
    change = TargetChange(bytes_per_second=rate)
    await process.services.targets.change(ADMINISTRATOR, target.id, change, None)
    await process.documents.create(b"content")
    await data.work(process)
    assert data.connector.opened[-1][1] == rate


async def test_a_copy_that_does_not_end_in_time_waits_alone(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.start()
    target = await process.set_up()
    slow = await process.documents.create(b"slow")
    await process.documents.create(b"fast")
    put = MemoryTarget.put

    async def hangs(self: MemoryTarget, name: str, *content: object) -> None:
        if slow.document.id in name:
            await asyncio.Event().wait()
        await put(self, name, *content)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryTarget, "put", hangs)
    monkeypatch.setattr(turns, "COPY_SECONDS", 0.5)
    await data.work(process)
    (waiting,) = await data.waiting()
    assert (waiting.document, waiting.attempts) == (slow.document.id, 1)
    assert contents(data, "copies") == 1
    assert (await process.status(target)).attempts == 0


async def test_what_fails_for_one_target_does_not_end_the_run_for_others(
    data: TargetData, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = data.start()
    bad, _ = await two_targets(data, process)
    await process.documents.create(b"content")
    take = type(process.services.timer.turns).take

    async def fails_for_one(self: object, target: TargetKey, backlogs: object) -> object:
        if target == bad:
            raise Unavailable("The record store does not respond.")
        return await take(self, target, backlogs)  # type: ignore[arg-type]

    with monkeypatch.context() as down:
        down.setattr(type(process.services.timer.turns), "take", fails_for_one)
        await data.work(process)
    assert (contents(data, "slow"), contents(data, "fast")) == (0, 1)
    assert f"target.turn-failed {bad.id}: unavailable" in caplog.text
    await data.work(process)
    assert contents(data, "slow") == 1


async def test_an_unexpected_error_is_logged_without_its_message(
    data: TargetData, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = data.start()
    await process.set_up()
    await process.documents.create(b"content")

    async def defect(*_: object) -> None:
        raise ValueError("a secret")

    with monkeypatch.context() as wrong:
        wrong.setattr(MemoryTarget, "put", defect)
        await data.work(process)
    assert "unexpected ValueError with a target" in caplog.text
    assert "a secret" not in caplog.text
    assert [copy.attempts for copy in await data.waiting()] == [1]
    await data.work(process)
    assert await data.waiting() == []


async def test_a_run_that_is_cancelled_leaves_nothing_under_way(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.start()
    await process.set_up(new_target("slow"))
    slow = Slow(data, "slow", monkeypatch)
    await process.documents.create(b"content")
    await data.note(process)
    data.clock.advance(60)
    before = asyncio.all_tasks()
    run = asyncio.create_task(process.services.timer.run())
    for _ in range(20):
        await settle()
    assert slow.under_way == 1
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await settle()
    assert {task for task in asyncio.all_tasks() if not task.done()} <= before
    slow.told.set()
    await data.work(data.start())
    assert contents(data, "slow") == 1


async def test_nothing_is_read_where_nothing_is_due(data: TargetData) -> None:
    process = data.start()
    data.records.looked_into.clear()
    assert await process.services.timer.run() == 0
    assert {partition.tenant for partition in data.records.looked_into} == {"operator"}


async def test_a_tenant_without_targets_costs_one_read_an_event(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.start()
    await process.documents.create(b"content")
    for outbox in data._outboxes:
        await outbox.close()
    reads = 0

    def counting(name: str) -> None:
        method = getattr(WatchedRecords, name)

        async def counted(*arguments: object, **named: object) -> object:
            nonlocal reads
            reads += 1
            return await method(*arguments, **named)

        monkeypatch.setattr(WatchedRecords, name, counted)

    counting("get")
    counting("query")
    await data.note(process)
    assert reads == 1
    assert await data.waiting() == []
