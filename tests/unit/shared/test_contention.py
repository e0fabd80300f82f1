"""Read-change-commit: writers of one record give way to each other, and each gets its turn."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from shared.adapters.embedded.records import SqliteRecords
from shared.adapters.memory.records import MemoryRecords
from shared.base.errors import (
    Conflict,
    LegalHold,
    NotFound,
    Retained,
    StrongroomError,
    Unavailable,
)
from shared.base.partitions import Partition
from shared.journal.contention import Backoff, retry_conflicts
from shared.ports.clock import Runtime
from shared.ports.records import Create, Record, RecordStore, Replace
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

HERE = Partition("ten_a")
WRITERS = 50


@dataclass
class Pauses:
    """A runtime whose pauses take no time and are written down."""

    fraction: float = 0.5
    seconds: list[float] = field(default_factory=list)

    @property
    def runtime(self) -> Runtime:
        scaled = int(self.fraction * (1 << 53)) << 3
        return Runtime(FakeClock(), lambda size: scaled.to_bytes(size, "big"), self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


@dataclass
class Attempt:
    """Meets a number of conflicts, then succeeds."""

    conflicts: float
    made: int = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.made <= self.conflicts:
            raise Conflict("Changed by another.")
        return "done"


@pytest.fixture(params=["memory", "embedded"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RecordStore]:
    if request.param == "memory":
        yield MemoryRecords(FakeClock())
        return
    records = SqliteRecords(tmp_path / "records.db", FakeClock())
    yield records
    await records.close()


async def test_fifty_writers_of_one_record_all_succeed(store: RecordStore) -> None:
    runtime = Runtime(FakeClock(), random.Random(1).randbytes)  # pauses that take their time
    await store.commit(HERE, [Create(Record(HERE, "counter", "one", {"count": 0}))])
    attempts = 0

    async def increment() -> None:
        nonlocal attempts
        attempts += 1
        record = await store.get(HERE, "counter", "one")
        changed = replace(record, body={"count": record.body["count"] + 1})
        await store.commit(HERE, [Replace(changed)])

    await asyncio.gather(*(retry_conflicts(increment, runtime) for _ in range(WRITERS)))
    assert (await store.get(HERE, "counter", "one")).body == {"count": WRITERS}
    assert attempts > WRITERS, "the writers never met"
    assert attempts / WRITERS <= 4


async def test_an_attempt_without_conflict_waits_for_nothing() -> None:
    pauses, attempt = Pauses(), Attempt(conflicts=0)
    assert await retry_conflicts(attempt, pauses.runtime) == "done"
    assert (attempt.made, pauses.seconds) == (1, [])


async def test_pauses_grow_up_to_the_longest() -> None:
    pauses = Pauses(fraction=0.5)
    backoff = Backoff(first=1.0, factor=2.0, longest=5.0, budget=100.0)
    assert await retry_conflicts(Attempt(conflicts=5), pauses.runtime, backoff) == "done"
    assert pauses.seconds == [0.5, 1.0, 2.0, 2.5, 2.5]


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.75])
async def test_a_pause_is_a_random_part_of_its_bound(fraction: float) -> None:
    pauses = Pauses(fraction)
    await retry_conflicts(Attempt(conflicts=1), pauses.runtime, Backoff(first=4.0))
    assert pauses.seconds == [4.0 * fraction]


async def test_a_budget_that_is_spent_makes_the_service_unavailable() -> None:
    pauses, attempt = Pauses(fraction=0.5), Attempt(conflicts=float("inf"))
    backoff = Backoff(first=2.0, factor=1.0, longest=2.0, budget=3.5)
    with pytest.raises(Unavailable):
        await retry_conflicts(attempt, pauses.runtime, backoff)
    assert pauses.seconds == [1.0, 1.0, 1.0]
    assert attempt.made == 4


@pytest.mark.parametrize("error", [NotFound, LegalHold, Retained])
async def test_another_error_or_a_conflict_that_stays_is_not_tried_again(
    error: type[StrongroomError],
) -> None:
    pauses = Pauses()
    made = 0

    async def attempt() -> None:
        nonlocal made
        made += 1
        raise error("It stays as it is.")

    with pytest.raises(error):
        await retry_conflicts(attempt, pauses.runtime)
    assert (made, pauses.seconds) == (1, [])
