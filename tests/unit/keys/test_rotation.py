"""Rotation of tenant keys: old keys open nothing that is still stored, and every epoch goes on opening."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from shared.base.errors import Conflict, Damaged, NotFound
from shared.base.partitions import Partition
from shared.journal.agenda import Task
from shared.keys.models import epochs_of
from shared.keys.rotation import BATCH
from shared.ports.records import Change, Create, Page
from tests.support.keys import EMPLOYEE, TENANT, KeyProcess, KilledError, TenantKeys

pytestmark = pytest.mark.anyio

YEAR = timedelta(days=365)


@pytest.fixture
async def keys() -> AsyncIterator[TenantKeys]:
    keys = TenantKeys()
    yield keys
    await keys.close()


async def due_in(process: KeyProcess, days: float) -> int:
    """How many items the agenda will have for the timer."""
    by = process.rotation.runtime.now() + timedelta(days=days)
    return len([item async for item in process.agenda.due(Task.ROTATE_TENANT_KEY, by)])


async def assert_rotated(keys: TenantKeys, begun: dict[str, bytes]) -> None:
    """One intermediate key under the newest version, and every epoch hangs from it and opens."""
    (intermediate,) = await keys.intermediate_keys()
    assert intermediate.key_version == str(max(keys.vault.versions.values()))
    stored = await keys.epochs()
    assert {epoch.intermediate for epoch in stored.values()} <= {intermediate.id}
    assert stored.keys() >= begun.keys()
    assert await keys.opened(begun) == begun


async def test_a_key_is_rotated_when_it_is_a_year_old(keys: TenantKeys) -> None:
    process = keys.process()
    await process.rotation.schedule(TENANT, keys.clock.now())
    begun = await keys.begin_epochs(364)
    assert await keys.process().rotation.run() == 0
    assert keys.vault.calls["rotate"] == 0
    keys.clock.advance(24 * 3600)
    assert await keys.process().rotation.run() == 1
    assert keys.vault.calls["rotate"] == 1
    await assert_rotated(keys, begun)
    assert await due_in(process, 364.9) == 0
    assert await due_in(process, 365) == 1
    assert await keys.process().rotation.run() == 0


async def test_a_tenant_without_documents_gets_a_new_key_as_well(keys: TenantKeys) -> None:
    await keys.process().rotation.schedule(TENANT, keys.clock.now())
    keys.clock.advance(YEAR.total_seconds())
    assert await keys.process().rotation.run() == 1
    await assert_rotated(keys, {})


async def test_the_age_counts_from_the_last_rotation(keys: TenantKeys) -> None:
    await keys.process().rotation.schedule(TENANT, keys.clock.now())
    begun = await keys.begin_epochs(100)
    await keys.process().rotation.begin(EMPLOYEE, TENANT)
    assert await keys.process().rotation.run() == 1
    await assert_rotated(keys, begun)
    keys.clock.advance(300 * 24 * 3600)
    assert await keys.process().rotation.run() == 1  # the item of the tenant's creation
    assert keys.vault.calls["rotate"] == 1
    keys.clock.advance(65 * 24 * 3600)
    assert await keys.process().rotation.run() == 1
    assert keys.vault.calls["rotate"] == 2
    await assert_rotated(keys, begun)
    assert await due_in(keys.process(), 365) == 1


async def test_a_rotation_on_demand_is_audited_as_the_employees(keys: TenantKeys) -> None:
    begun = await keys.begin_epochs(2 * BATCH + 3)
    (old,) = await keys.intermediate_keys()
    await keys.process().rotation.begin(EMPLOYEE, TENANT)
    await keys.process().rotation.run()
    await assert_rotated(keys, begun)
    (new,) = await keys.intermediate_keys()
    (rotated,) = await keys.entries("key.rotate")
    assert rotated["actor"] == {"kind": "employee", "id": EMPLOYEE.user}
    assert (rotated["resource"], rotated["tenant"]) == (new.id, TENANT)
    assert rotated["details"] == {"key_version": "2", "replaces": old.id}
    rewrapped = [entry["details"]["epochs"] for entry in await keys.entries("key.rewrap")]
    assert sorted(rewrapped) == [3, BATCH, BATCH]
    (deleted,) = await keys.entries("key.delete")
    assert deleted["details"] == {"intermediate_keys": [old.id]}


async def test_a_stolen_intermediate_key_opens_nothing_that_is_stored_after_a_rotation(
    keys: TenantKeys,
) -> None:
    begun = await keys.begin_epochs(30)
    stolen = (await keys.process().intermediates.current(TENANT)).key
    before = await keys.epochs()
    assert {name: stolen.unwrap(epoch.wrapped_key) for name, epoch in before.items()} == begun
    await keys.process().rotation.begin(EMPLOYEE, TENANT)
    await keys.process().rotation.run()
    later = await keys.begin_epochs(2)
    assert stolen.id not in {key.id for key in await keys.intermediate_keys()}
    after = await keys.epochs()
    assert after.keys() == begun.keys() | later.keys()
    for epoch in after.values():
        with pytest.raises(Damaged):
            stolen.unwrap(epoch.wrapped_key)


async def test_a_cold_process_takes_two_calls_while_a_rotation_is_under_way(
    keys: TenantKeys,
) -> None:
    begun = await keys.begin_epochs(50)
    await keys.process().rotation.begin(EMPLOYEE, TENANT)
    begun |= await keys.begin_epochs(50)
    keys.vault.calls.clear()
    assert await keys.opened(begun) == begun
    assert keys.vault.calls == {"unwrap": 2}


async def test_there_are_never_three_intermediate_keys(keys: TenantKeys) -> None:
    await keys.begin_epochs(3)
    await keys.process().rotation.begin(EMPLOYEE, TENANT)
    with pytest.raises(Conflict, match="under way"):
        await keys.process().rotation.begin(EMPLOYEE, TENANT)
    assert len(await keys.intermediate_keys()) == 2
    assert keys.vault.calls["rotate"] == 1
    await keys.process().rotation.run()
    await keys.process().rotation.begin(EMPLOYEE, TENANT)


async def test_of_two_rotations_begun_at_once_one_takes_effect(keys: TenantKeys) -> None:
    begun = await keys.begin_epochs(3)
    both = [keys.process().rotation.begin(EMPLOYEE, TENANT) for _ in range(2)]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert [type(result) for result in results].count(Conflict) == 1
    assert len(await keys.intermediate_keys()) == 2
    await keys.process().rotation.run()
    await assert_rotated(keys, begun)


async def test_a_demand_whose_commit_seemed_to_fail_and_did_not_takes_effect_once(
    keys: TenantKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await keys.begin_epochs(3)
    commit = keys.records.commit

    async def commit_and_conflict(partition: Partition, changes: list[Change]) -> None:
        await commit(partition, changes)
        if any(isinstance(c, Create) and c.record.kind == "intermediate-key" for c in changes):
            raise Conflict("The store had lost its own response, and tried again.")

    process = keys.process()
    monkeypatch.setattr(keys.records, "commit", commit_and_conflict)
    await process.rotation.begin(EMPLOYEE, TENANT)
    monkeypatch.undo()
    assert keys.vault.calls["rotate"] == 1
    assert len(await keys.intermediate_keys()) == 2
    await keys.process().rotation.run()
    await assert_rotated(keys, begun)


async def test_an_unknown_tenant_is_not_found(keys: TenantKeys) -> None:
    with pytest.raises(NotFound):
        await keys.process().rotation.begin(EMPLOYEE, "ten_b")
    assert await due_in(keys.process(), 1) == 0


async def test_a_tenant_whose_key_was_destroyed_leaves_the_agenda(keys: TenantKeys) -> None:
    process = keys.process()
    await process.rotation.schedule(TENANT, keys.clock.now())
    keys.clock.advance(YEAR.total_seconds())
    keys.vault.versions.clear()
    await keys.process().rotation.run()
    assert await due_in(process, 1_000) == 0


async def test_a_silent_key_vault_leaves_the_tenant_on_the_agenda(keys: TenantKeys) -> None:
    await keys.process().rotation.schedule(TENANT, keys.clock.now())
    begun = await keys.begin_epochs(365)
    keys.vault.down = True
    assert await keys.process().rotation.run() == 0
    keys.vault.down = False
    assert await keys.process().rotation.run() == 1
    await assert_rotated(keys, begun)


async def test_epochs_of_the_former_form_are_rewrapped_and_a_young_key_is_kept(
    keys: TenantKeys,
) -> None:
    former = await keys.begin_former_epochs(BATCH + 10)
    process = keys.process()
    await process.agenda.add(Task.ROTATE_TENANT_KEY, Partition(TENANT), keys.clock.now())
    keys.vault.calls.clear()
    assert await process.rotation.run() == 1
    assert keys.vault.calls["rotate"] == 0
    assert keys.vault.calls["unwrap"] == len(former)
    await assert_rotated(keys, former)
    keys.vault.calls.clear()
    assert await keys.opened(former) == former
    assert keys.vault.calls == {"unwrap": 1}
    assert await due_in(process, 365 - len(former)) == 1


async def test_a_damaged_epoch_keeps_what_may_still_open_it(
    keys: TenantKeys, caplog: pytest.LogCaptureFixture
) -> None:
    begun = await keys.begin_epochs(BATCH + 5)
    (old,) = await keys.intermediate_keys()
    victim = next(iter(begun))
    epochs = epochs_of(keys.records)
    stored = await epochs.get(Partition(TENANT), victim)
    damaged = stored.value.model_copy(update={"wrapped_key": bytes(40)})
    await keys.records.commit(Partition(TENANT), [epochs.replace(stored, damaged)])

    await keys.process().rotation.begin(EMPLOYEE, TENANT)
    assert await keys.process().rotation.run() == 0
    assert victim in caplog.text
    assert old.id in {key.id for key in await keys.intermediate_keys()}
    others = {name: key for name, key in begun.items() if name != victim}
    assert await keys.opened(others) == others

    now = await epochs.get(Partition(TENANT), victim)
    await keys.records.commit(Partition(TENANT), [epochs.replace(now, stored.value)])
    assert await keys.process().rotation.run() == 1
    await assert_rotated(keys, begun)


async def test_a_rotation_that_is_killed_anywhere_is_finished_by_the_next_run() -> None:
    killed = 0
    for step in range(1, 1_000):
        keys = TenantKeys()
        await keys.process().rotation.schedule(TENANT, keys.clock.now())
        begun = await keys.begin_former_epochs(5)
        begun |= await keys.begin_epochs(BATCH + 5)
        keys.clock.advance(YEAR.total_seconds())
        keys.steps.taken, keys.steps.last = 0, step
        try:
            await keys.process().rotation.run()
        except KilledError:
            killed += 1
        else:
            break
        finally:
            keys.steps.last = None
            await keys.close()
        assert await keys.opened(begun) == begun, f"step {step}, before the next run"
        begun |= await keys.begin_epochs(1)
        await keys.process().rotation.run()
        await assert_rotated(keys, begun)
        assert await due_in(keys.process(), 366) == 1
        # A version that no key was wrapped with is not made twice.
        assert keys.vault.calls["rotate"] == 1, f"step {step}"
        await keys.close()
    # Eight vault calls and six commits at the very least; fewer would mean that nothing was killed.
    assert killed >= 14


async def test_a_demand_that_is_killed_anywhere_ends_right() -> None:
    killed = 0
    for step in range(1, 100):
        keys = TenantKeys()
        begun = await keys.begin_epochs(3)
        keys.steps.taken, keys.steps.last = 0, step
        try:
            await keys.process().rotation.begin(EMPLOYEE, TENANT)
        except KilledError:
            killed += 1
        else:
            break
        finally:
            keys.steps.last = None
            await keys.close()
        await keys.process().rotation.run()
        await keys.process().rotation.begin(EMPLOYEE, TENANT)
        await keys.process().rotation.run()
        await assert_rotated(keys, begun)
        await keys.close()
    assert killed >= 5


@pytest.mark.parametrize("late", range(0, 120, 3))
async def test_an_epoch_begun_during_a_rotation_is_never_orphaned(
    keys: TenantKeys, late: int
) -> None:
    begun = await keys.begin_epochs(3)
    warm, cold = keys.process().epochs, keys.process().epochs
    await warm.intermediates.current(TENANT)  # holds the old intermediate key in memory

    async def rotate() -> None:
        rotation = keys.process().rotation
        await rotation.begin(EMPLOYEE, TENANT)
        await rotation.run()

    rotating = asyncio.create_task(rotate())
    for _ in range(late):
        await asyncio.sleep(0)
    for key in await asyncio.gather(warm.current(TENANT), cold.current(TENANT)):
        begun[key.id] = key.key
    await rotating
    assert await keys.opened(begun) == begun
    for process in (warm, cold):
        opened = await process.of_all(TENANT, begun)
        assert {name: key.key for name, key in opened.items()} == begun
    await keys.process().rotation.run()
    await assert_rotated(keys, begun)


async def test_two_timers_at_once_rotate_once(keys: TenantKeys) -> None:
    await keys.process().rotation.schedule(TENANT, keys.clock.now())
    begun = await keys.begin_epochs(365)
    await asyncio.gather(*(keys.process().rotation.run() for _ in range(3)))
    await assert_rotated(keys, begun)
    assert len(await keys.entries("key.rotate")) == 1
    await keys.process().rotation.run()
    assert await due_in(keys.process(), 366) == 1


async def test_an_epoch_whose_process_stalls_through_a_whole_rotation_is_not_orphaned(
    keys: TenantKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await keys.begin_epochs(3)
    commit = keys.records.commit
    stalled, resume = asyncio.Event(), asyncio.Event()

    async def commit_late(partition: Partition, changes: list[Change]) -> None:
        if any(isinstance(c, Create) and c.record.kind == "epoch" for c in changes):
            stalled.set()
            await resume.wait()
        await commit(partition, changes)

    monkeypatch.setattr(keys.records, "commit", commit_late)
    beginning = asyncio.create_task(keys.process().epochs.current(TENANT))
    await stalled.wait()
    await keys.process().rotation.begin(EMPLOYEE, TENANT)
    await keys.process().rotation.run()
    resume.set()
    key = await beginning
    await assert_rotated(keys, begun | {key.id: key.key})


async def test_a_run_that_stalls_through_a_new_demand_does_not_delete_the_newest_key(
    keys: TenantKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await keys.begin_epochs(3)
    process = keys.process()
    await process.agenda.add(Task.ROTATE_TENANT_KEY, Partition(TENANT), keys.clock.now())
    query = keys.records.query
    stalled, resume = asyncio.Event(), asyncio.Event()

    async def query_late(partition: Partition, kind: str, **arguments: Any) -> Page:
        if kind == "intermediate-key" and not stalled.is_set():
            stalled.set()
            await resume.wait()
        return await query(partition, kind, **arguments)

    monkeypatch.setattr(keys.records, "query", query_late)
    running = asyncio.create_task(process.rotation.run())
    await stalled.wait()
    await keys.process().rotation.begin(EMPLOYEE, TENANT)
    begun |= await keys.begin_epochs(1)
    resume.set()
    await running
    assert await keys.opened(begun) == begun
    await keys.process().rotation.run()
    await assert_rotated(keys, begun)
