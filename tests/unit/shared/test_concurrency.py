"""Work on many things at the same time."""

from __future__ import annotations

import asyncio

import pytest

from shared.base.concurrency import BoundedTasks, SharedReading
from shared.base.errors import Unavailable

pytestmark = pytest.mark.anyio


async def test_no_more_tasks_than_the_limit_run_at_the_same_time() -> None:
    running, most, done = 0, 0, 0

    async def work() -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done += 1

    async with BoundedTasks(2) as tasks:
        for _ in range(10):
            await tasks.start(work)
        await tasks.finish()
        assert (most, done) == (2, 10)


async def fails() -> None:
    raise ConnectionResetError


async def test_what_a_task_raises_is_raised_where_its_room_is_wanted_or_its_end() -> None:
    async with BoundedTasks(1) as tasks:
        await tasks.start(fails)
        with pytest.raises(ConnectionResetError):
            await tasks.start(fails)
        with pytest.raises(ConnectionResetError):
            await tasks.finish()


async def test_what_has_not_ended_with_the_block_is_cancelled_and_has_ended_then() -> None:
    ended = False

    async def endless() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended = True

    async def block() -> None:
        async with BoundedTasks(2) as tasks:
            await tasks.start(endless)
            await asyncio.sleep(0)
            await fails()

    with pytest.raises(ConnectionResetError):
        await block()
    assert ended


class Reader:
    """A value that changes, read in a time that the test owns."""

    def __init__(self) -> None:
        self.value = "first"
        self.begun = 0
        self.go_on = asyncio.Event()
        self.fail = False

    async def read(self, _: str) -> str:
        self.begun += 1
        found = self.value
        await self.go_on.wait()
        if self.fail:
            self.fail = False
            raise ValueError("unreadable")
        return found


async def begun(*tasks: asyncio.Task[str]) -> None:
    for _ in range(len(tasks) + 2):
        await asyncio.sleep(0)


async def test_who_asks_while_a_reading_is_under_way_shares_the_next_one() -> None:
    reader = Reader()
    reading = SharedReading(reader.read)
    early = asyncio.create_task(reading.get("key"))
    await begun(early)
    reader.value = "second"
    late = [asyncio.create_task(reading.get("key")) for _ in range(20)]
    await begun(*late)
    reader.go_on.set()
    assert await early == "first"
    assert set(await asyncio.gather(*late)) == {"second"}, "what was there after they asked"
    assert reader.begun == 2
    assert await reading.get("key") == "second"
    assert reader.begun == 3, "nothing is remembered"
    assert not reading._lines


async def test_a_reading_that_fails_or_is_cancelled_fails_for_one_alone() -> None:
    reader = Reader()
    reading = SharedReading(reader.read)
    tasks = [asyncio.create_task(reading.get("key")) for _ in range(3)]
    await begun(*tasks)
    tasks[0].cancel()
    await begun(*tasks)
    reader.fail = True
    reader.go_on.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert isinstance(results[1], ValueError)
    assert results[2] == "first"
    assert not reading._lines


class Silent:
    """A store that does not respond until the test says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.errors: list[Unavailable] = []
        self.responds = False

    async def read(self, key: str) -> str:
        self.begun += 1
        responds = self.responds
        for _ in range(5):
            await asyncio.sleep(0)
        if responds:
            return f"{key} found"
        self.errors.append(Unavailable("The store does not respond."))
        raise self.errors[-1]


async def test_a_store_that_does_not_respond_is_waited_for_twice_by_all_together() -> None:
    store = Silent()
    reading = SharedReading(store.read)

    async def ask() -> Unavailable:
        with pytest.raises(Unavailable) as caught:
            await reading.get("key")
        assert caught.value.detail == "The store does not respond."
        was_audited, caught.value.audited = caught.value.audited, True
        assert not was_audited, "what one request says of its error says nothing of the others'"
        return caught.value

    errors = await asyncio.gather(*(ask() for _ in range(25)))
    assert store.begun == 2
    assert len({id(each) for each in errors}) == 25, "each has an error of its own"
    assert not reading._lines


async def test_who_asks_after_a_failed_reading_began_reads_anew() -> None:
    store = Silent()
    reading = SharedReading(store.read)
    early = asyncio.create_task(reading.get("key"))
    await asyncio.sleep(0)
    assert store.begun == 1
    store.responds = True
    late = [asyncio.create_task(reading.get("key")) for _ in range(3)]
    results = await asyncio.gather(early, *late, return_exceptions=True)
    assert isinstance(results[0], Unavailable)
    assert results[1:] == ["key found"] * 3
    assert store.begun == 2
    assert await reading.get("key") == "key found"


async def test_readings_of_different_things_do_not_wait_for_each_other() -> None:
    reader = Reader()
    reading = SharedReading(reader.read)
    tasks = [asyncio.create_task(reading.get(key)) for key in ("one", "other")]
    await begun(*tasks)
    assert reader.begun == 2
    reader.go_on.set()
    await asyncio.gather(*tasks)
