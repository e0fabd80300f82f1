"""Epoch keys: the key vault is asked once a tenant and process, whatever the traffic."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from shared.base.errors import Damaged, Unavailable
from shared.keys import memory
from shared.keys.epochs import CAPACITY, RESERVATION
from shared.keys.memory import IN_MEMORY, KeyMemory
from shared.ports.clock import Runtime
from tests.support.keys import TENANT, TenantKeys

pytestmark = pytest.mark.anyio


@pytest.fixture
async def keys() -> AsyncIterator[TenantKeys]:
    keys = TenantKeys()
    yield keys
    await keys.close()


async def test_a_thousand_documents_take_one_call(keys: TenantKeys) -> None:
    epochs = keys.process().epochs
    used = {(await epochs.current(TENANT)).id for _ in range(1_000)}
    assert len(used) == 1
    assert keys.vault.calls == {"wrap": 1}
    for _ in range(1_000):
        await epochs.of(TENANT, *used)
    assert keys.vault.calls == {"wrap": 1}


async def test_a_fresh_process_takes_one_call_to_open_and_to_seal(keys: TenantKeys) -> None:
    sealed = await keys.process().epochs.current(TENANT)
    fresh = keys.process().epochs
    for _ in range(1_000):
        assert await fresh.of(TENANT, sealed.id) == sealed
    for _ in range(1_000):
        assert await fresh.current(TENANT) == sealed
    assert keys.vault.calls == {"wrap": 1, "unwrap": 1}


async def test_a_cold_process_lists_a_thousand_documents_of_as_many_epochs_with_one_call(
    keys: TenantKeys,
) -> None:
    begun = await keys.begin_epochs(1_000)
    assert len(begun) == 1_000
    keys.vault.calls.clear()
    assert await keys.opened([*begun, *begun]) == begun
    assert keys.vault.calls == {"unwrap": 1}


async def test_the_keys_of_no_epochs_take_no_call(keys: TenantKeys) -> None:
    assert await keys.opened([]) == {}
    assert not keys.vault.calls


async def test_one_damaged_epoch_hides_no_other(
    keys: TenantKeys, caplog: pytest.LogCaptureFixture
) -> None:
    begun = await keys.begin_epochs(20)
    assert await keys.opened([*begun, "epo_unknown"]) == begun
    assert "record.damaged kind=epoch id=epo_unknown" in caplog.text
    with pytest.raises(Damaged):
        await keys.process().epochs.of(TENANT, "epo_unknown")


async def test_first_use_by_many_at_once_is_one_call(keys: TenantKeys) -> None:
    epochs = keys.process().epochs
    used = await asyncio.gather(*(epochs.current(TENANT) for _ in range(600)))
    assert len({each.id for each in used}) == 1
    assert keys.vault.calls == {"wrap": 1}
    fresh = keys.process().epochs
    await asyncio.gather(*(fresh.of(TENANT, used[0].id) for _ in range(300)))
    assert keys.vault.calls == {"wrap": 1, "unwrap": 1}


async def test_first_use_by_many_processes_makes_one_intermediate_key(keys: TenantKeys) -> None:
    processes = [keys.process().epochs for _ in range(8)]
    used = await asyncio.gather(*(each.current(TENANT) for each in processes))
    assert len(await keys.intermediate_keys()) == 1
    assert await keys.opened(key.id for key in used) == {key.id: key.key for key in used}


async def test_a_cancelled_caller_does_not_stop_the_others(keys: TenantKeys) -> None:
    epochs = keys.process().epochs
    tasks = [asyncio.create_task(epochs.current(TENANT)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1] == results[2]
    assert keys.vault.calls == {"wrap": 1}


async def test_an_epoch_ends_after_a_day(keys: TenantKeys) -> None:
    epochs = keys.process().epochs
    first = await epochs.current(TENANT)
    keys.clock.advance(24 * 3600 - 1)
    assert (await epochs.current(TENANT)).id == first.id
    keys.clock.advance(1)
    second = await epochs.current(TENANT)
    assert second.id > first.id
    assert second.key != first.key
    assert (await epochs.of(TENANT, first.id)).key == first.key
    assert len(await keys.epochs()) == 2


async def test_an_epoch_ends_after_ten_thousand(keys: TenantKeys) -> None:
    epochs = keys.process().epochs
    used = Counter([(await epochs.current(TENANT)).id for _ in range(CAPACITY + 1)])
    assert sorted(used.values()) == [1, CAPACITY]
    assert keys.vault.calls == {"wrap": 1}


async def test_processes_share_an_epoch_and_never_overfill_it(keys: TenantKeys) -> None:
    processes = [keys.process().epochs for _ in range(4)]
    used: Counter[str] = Counter()
    for _ in range(CAPACITY // RESERVATION):
        for found in await asyncio.gather(*(each.current(TENANT) for each in processes)):
            used[found.id] += 1
        for each in processes:
            used.update([(await each.current(TENANT)).id for _ in range(RESERVATION - 1)])
    assert max(used.values()) <= CAPACITY
    assert sum(used.values()) == 4 * CAPACITY


async def test_a_key_leaves_memory_after_minutes(keys: TenantKeys) -> None:
    epochs = keys.process().epochs
    epoch = await epochs.current(TENANT)
    keys.clock.advance(IN_MEMORY.total_seconds() - 1)
    await epochs.of(TENANT, epoch.id)
    assert keys.vault.calls == {"wrap": 1}
    keys.clock.advance(1)
    assert (await epochs.of(TENANT, epoch.id)).key == epoch.key
    assert keys.vault.calls == {"wrap": 1, "unwrap": 1}


async def test_a_key_leaves_the_memory_of_an_idle_process(
    keys: TenantKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "IN_MEMORY", timedelta(milliseconds=20))
    held: KeyMemory[str] = KeyMemory(Runtime(keys.clock, os.urandom))
    held.hold((TENANT, "epo_a"), "the key")
    assert "the key" in repr(held._held)
    await asyncio.sleep(0.1)
    assert not held._held


async def test_a_missing_key_is_damage(keys: TenantKeys) -> None:
    epoch = await keys.process().epochs.current(TENANT)
    with pytest.raises(Damaged):
        await keys.process().epochs.of(TENANT, "epo_unknown")
    with pytest.raises(Damaged):
        await keys.process().epochs.of("ten_b", epoch.id)
    keys.vault.versions.clear()
    with pytest.raises(Damaged):
        await keys.process().epochs.of(TENANT, epoch.id)
    with pytest.raises(Damaged):
        await keys.process().epochs.current("ten_b")


async def test_a_silent_key_vault_leaves_no_partial_epoch(keys: TenantKeys) -> None:
    epochs = keys.process().epochs
    keys.vault.down = True
    with pytest.raises(Unavailable):
        await epochs.current(TENANT)
    assert not await keys.epochs()
    assert not await keys.intermediate_keys()
    keys.vault.down = False
    await epochs.current(TENANT)
    assert len(await keys.epochs()) == 1


async def test_an_epoch_of_the_former_form_takes_one_call(keys: TenantKeys) -> None:
    former = await keys.begin_former_epochs(3)
    begun = await keys.begin_epochs(3)
    keys.vault.calls.clear()
    assert await keys.opened([*former, *begun]) == former | begun
    assert keys.vault.calls == {"unwrap": 4}


async def test_an_epoch_of_the_former_form_goes_on_being_filled(keys: TenantKeys) -> None:
    former = await keys.begin_former_epochs(1)
    keys.clock.advance(-3600)
    key = await keys.process().epochs.current(TENANT)
    assert {key.id: key.key} == former
    (stored,) = (await keys.epochs()).values()
    assert (stored.intermediate, stored.reserved) == (None, 2 * RESERVATION)


async def test_no_key_shows_in_what_is_logged(keys: TenantKeys) -> None:
    process = keys.process()
    epoch = await process.epochs.current(TENANT)
    intermediate = (await process.intermediates.current(TENANT)).key
    assert repr(epoch.key) not in repr(epoch)
    assert repr(intermediate.key) not in repr(intermediate)
