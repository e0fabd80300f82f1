"""Epoch keys: Key Vault is asked once a tenant and epoch, whatever the traffic."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.adapters.embedded.records import SqliteRecords
from shared.base.errors import Damaged, NotFound, Unavailable
from shared.journal.journal import Journal
from shared.journal.outbox import Outbox
from shared.keys.epochs import CAPACITY, IN_MEMORY, RESERVATION, EpochKeys
from shared.ports.keys import WrappedKey
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

TENANT = "ten_a"


class CountingVault:
    """Wraps by reversing, counts, and can be down."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.down = False

    async def wrap(self, name: str, plaintext: bytes) -> WrappedKey:
        await self._called("wrap")
        return WrappedKey(name, "1", plaintext[::-1])

    async def unwrap(self, wrapped: WrappedKey) -> bytes:
        await self._called("unwrap")
        if wrapped.name != "ten-a":
            raise NotFound("There is no such key.")
        return wrapped.ciphertext[::-1]

    async def _called(self, what: str) -> None:
        self.calls[what] += 1
        await asyncio.sleep(0.001)
        if self.down:
            raise Unavailable("The key vault does not answer.")


class DeafBus:
    async def publish(self, _: object) -> None: ...


class Keys:
    """Epoch keys over records that several processes share."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.vault = CountingVault()
        self.records = SqliteRecords(folder / "records.db", self.clock)
        self.outbox = Outbox(self.records, DeafBus(), self.clock)  # type: ignore[arg-type]

    def process(self) -> EpochKeys:
        journal = Journal(self.records, self.outbox, "development", self.clock, os.urandom)
        return EpochKeys(self.records, self.vault, journal, self.clock, os.urandom)  # type: ignore[arg-type]

    async def epochs(self) -> int:
        return len((await self.records.query("epoch", tenant=TENANT)).records)


@pytest.fixture
async def keys(tmp_path: Path) -> AsyncIterator[Keys]:
    keys = Keys(tmp_path)
    yield keys
    await keys.outbox.close()
    await keys.records.close()


async def test_a_thousand_documents_take_one_call(keys: Keys) -> None:
    epochs = keys.process()
    used = {(await epochs.current(TENANT)).id for _ in range(1_000)}
    assert len(used) == 1
    assert keys.vault.calls == {"wrap": 1}
    for _ in range(1_000):
        await epochs.of(TENANT, *used)
    assert keys.vault.calls == {"wrap": 1}


async def test_a_fresh_process_takes_one_call_to_open_and_to_seal(keys: Keys) -> None:
    sealed = await keys.process().current(TENANT)
    fresh = keys.process()
    for _ in range(1_000):
        assert await fresh.of(TENANT, sealed.id) == sealed
    for _ in range(1_000):
        assert await fresh.current(TENANT) == sealed
    assert keys.vault.calls == {"wrap": 1, "unwrap": 1}


async def test_first_use_by_many_at_once_is_one_call(keys: Keys) -> None:
    epochs = keys.process()
    used = await asyncio.gather(*(epochs.current(TENANT) for _ in range(600)))
    assert len({each.id for each in used}) == 1
    assert keys.vault.calls == {"wrap": 1}
    fresh = keys.process()
    await asyncio.gather(*(fresh.of(TENANT, used[0].id) for _ in range(300)))
    assert keys.vault.calls == {"wrap": 1, "unwrap": 1}


async def test_one_who_goes_away_does_not_stop_the_others(keys: Keys) -> None:
    epochs = keys.process()
    tasks = [asyncio.create_task(epochs.current(TENANT)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1] == results[2]
    assert keys.vault.calls == {"wrap": 1}


async def test_an_epoch_ends_after_a_day(keys: Keys) -> None:
    epochs = keys.process()
    first = await epochs.current(TENANT)
    keys.clock.advance(24 * 3600 - 1)
    assert (await epochs.current(TENANT)).id == first.id
    keys.clock.advance(1)
    second = await epochs.current(TENANT)
    assert second.id > first.id
    assert second.key != first.key
    assert (await epochs.of(TENANT, first.id)).key == first.key
    assert await keys.epochs() == 2


async def test_an_epoch_ends_after_ten_thousand(keys: Keys) -> None:
    epochs = keys.process()
    used = Counter([(await epochs.current(TENANT)).id for _ in range(CAPACITY + 1)])
    assert sorted(used.values()) == [1, CAPACITY]
    assert keys.vault.calls == {"wrap": 2}


async def test_processes_share_an_epoch_and_never_overfill_it(keys: Keys) -> None:
    processes = [keys.process() for _ in range(4)]
    used: Counter[str] = Counter()
    for _ in range(CAPACITY // RESERVATION):
        for found in await asyncio.gather(*(each.current(TENANT) for each in processes)):
            used[found.id] += 1
        for each in processes:
            used.update([(await each.current(TENANT)).id for _ in range(RESERVATION - 1)])
    assert max(used.values()) <= CAPACITY
    assert sum(used.values()) == 4 * CAPACITY


async def test_a_key_leaves_memory_after_minutes(keys: Keys) -> None:
    epochs = keys.process()
    epoch = await epochs.current(TENANT)
    keys.clock.advance(IN_MEMORY.total_seconds() - 1)
    await epochs.of(TENANT, epoch.id)
    assert keys.vault.calls == {"wrap": 1}
    keys.clock.advance(1)
    assert (await epochs.of(TENANT, epoch.id)).key == epoch.key
    assert keys.vault.calls == {"wrap": 1, "unwrap": 1}


async def test_a_key_that_is_gone_is_damage(keys: Keys) -> None:
    epoch = await keys.process().current(TENANT)
    with pytest.raises(Damaged):
        await keys.process().of(TENANT, "epo_unknown")
    with pytest.raises(Damaged):
        await keys.process().of("ten_b", epoch.id)


async def test_a_silent_key_vault_leaves_no_half_made_epoch(keys: Keys) -> None:
    epochs = keys.process()
    keys.vault.down = True
    with pytest.raises(Unavailable):
        await epochs.current(TENANT)
    assert await keys.epochs() == 0
    keys.vault.down = False
    await epochs.current(TENANT)
    assert await keys.epochs() == 1
