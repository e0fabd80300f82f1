"""The sweep looks where the agenda says and nowhere else, and removes what no record names."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from shared.base.errors import NotFound
from shared.base.partitions import OPERATOR, Partition
from shared.documents.models import Description, Upload
from shared.documents.naming import (
    former_day,
    hour_prefix,
    object_name,
    sweep_due,
    swept_prefix,
)
from shared.journal.agenda import Task
from shared.ports.blobs import BlobStore
from shared.ports.clock import Runtime
from tests.support.documents import (
    NEVER,
    USER,
    DocumentData,
    DocumentProcess,
    stored,
    stream,
)
from tests.support.keys import TENANT, KilledError

pytestmark = pytest.mark.anyio


async def begin(process: DocumentProcess) -> Upload:
    granted = await process.uploads.create(USER, Description(name="a.txt"), 4, None, None)
    return granted.upload


async def put(store: BlobStore, name: str) -> str:
    await store.put(name, stream(b"orphan"))
    return name


def due(data: DocumentData) -> timedelta:
    """How long it is until the present hour's objects are swept."""
    return sweep_due(data.clock.now()) - data.clock.now()


async def test_expiry_looks_into_months_that_are_due_alone(data: DocumentData) -> None:
    process = data.process()
    uploads = []
    for month in (1, 2, 3):
        data.at(2026, month, 15)
        await process.create()
        uploads.append(await begin(process))
    data.at(2026, 3, 15, 0, 59)
    data.records.looked_into.clear()
    await process.sweep.run()
    # Of the third month nothing is due yet; the first two have never been swept.
    assert data.records.months_looked_into() == {"2026-01", "2026-02"}
    for each in uploads[:2]:
        with pytest.raises(NotFound):  # it is over a week since they expired
            await process.store.upload(TENANT, each.id)
    assert (await process.store.upload(TENANT, uploads[2].id)).value.state == "granted"

    data.records.looked_into.clear()
    await process.sweep.run()
    assert {each.tenant for each in data.records.looked_into} == {OPERATOR}, "nothing is left to do"

    data.at(2026, 3, 15, 1, 10)
    data.records.looked_into.clear()
    await process.sweep.run()
    assert data.records.months_looked_into() == {"2026-03"}
    assert (await process.store.upload(TENANT, uploads[2].id)).value.failure == "expired"
    assert await process.on_agenda(Task.EXPIRE_UPLOADS) == []


async def test_an_upload_of_a_later_window_expires_in_its_own_time(data: DocumentData) -> None:
    process = data.process()
    first = await begin(process)
    data.at(2026, 1, 1, 0, 25)
    second = await begin(process)
    data.at(2026, 1, 1, 1, 10)
    await data.process().sweep.run()
    states = [(await process.store.upload(TENANT, u.id)).value.state for u in (first, second)]
    assert states == ["failed", "granted"]
    data.at(2026, 1, 1, 1, 30)
    await data.process().sweep.run()
    assert (await process.store.upload(TENANT, second.id)).value.state == "failed"


async def test_an_object_whose_commit_never_came_is_removed_and_a_named_one_kept(
    data: DocumentData,
) -> None:
    process = data.process()
    kept = await process.create()
    data.records.killed_before = "document"
    with pytest.raises(KilledError):
        await process.create()
    data.records.killed_before = ""
    both = await stored(data.primary)
    assert len(both) == 2

    data.clock.advance(due(data).total_seconds() - 1)
    await data.process().sweep.run()
    assert await stored(data.primary) == both
    data.clock.advance(1)
    fresh = data.process()
    await fresh.sweep.run()
    assert await stored(data.primary) == [kept.version.object]
    assert await fresh.content(kept.document.id) == b"content"
    assert await fresh.on_agenda(Task.SWEEP_OBJECTS) == []


async def test_an_object_too_young_to_remove_stays_on_the_agenda(data: DocumentData) -> None:
    process = data.process()
    await process.create()
    name = object_name(TENANT, "doc_" + "0" * 26, 1, data.clock.now(), Runtime(data.clock, bytes))
    data.clock.advance(due(data).total_seconds())
    await put(data.primary, name)  # its upload took hours, and its commit may be under way
    await process.sweep.run()
    assert name in await stored(data.primary)
    assert await process.on_agenda(Task.SWEEP_OBJECTS) == [f"{TENANT}/main"]
    data.clock.advance(timedelta(hours=6).total_seconds())
    await process.sweep.run()
    assert name not in await stored(data.primary)
    assert await process.on_agenda(Task.SWEEP_OBJECTS) == []


async def test_an_object_made_at_the_end_of_an_hour_is_on_the_agenda_of_the_hour_in_its_name(
    data: DocumentData,
) -> None:
    process = data.process()
    await process.create()  # the keys are in memory from now on
    data.at(2026, 1, 1, 5, 59)

    class LateClock:
        """The hour ends between the first and the second time that it is looked at."""

        def now(self) -> datetime:
            now = data.clock.now()
            data.clock.advance(60)
            return now

    process.documents.sealer.runtime = Runtime(LateClock(), os.urandom)
    made = await process.create()
    due = [
        item.value.due
        async for item in process.agenda.due(Task.SWEEP_OBJECTS, NEVER)
        if made.version.object.startswith(swept_prefix(Partition(TENANT), item.value.due))
    ]
    assert len(due) == 1


@pytest.mark.parametrize("store", ["primary", "replica", "staging"])
async def test_orphans_are_removed_from_every_store(data: DocumentData, store: str) -> None:
    process = data.process()
    made = await process.create()
    prefix = hour_prefix(TENANT, data.clock.now())
    blobs: BlobStore = getattr(data, store)
    orphans = [
        await put(blobs, f"{prefix}{made.document.id}.1.{'0' * 16}"),
        await put(blobs, f"{prefix}doc_{'0' * 26}.1.{'0' * 16}"),
        await put(blobs, f"{prefix}upl_{'0' * 26}"),
        await put(blobs, f"{prefix}lost-found"),
    ]
    other = await put(blobs, hour_prefix("ten_" + "1" * 26, data.clock.now()) + "lost-found")
    data.clock.advance(due(data).total_seconds())
    await process.sweep.run()
    left = await stored(blobs)
    assert not {*orphans} & {*left}
    assert other in left, "its hour is not on the agenda"
    assert made.version.object in await stored(data.primary)


async def test_a_staged_object_is_kept_until_its_upload_has_ended(data: DocumentData) -> None:
    process = data.process()
    completed, cancelled = await begin(process), await begin(process)
    await data.staging.put(completed.object, stream(b"four"))
    await process.uploads.complete(USER, completed.id)
    await process.uploads.cancel(USER, cancelled.id)
    await data.staging.put(cancelled.object, stream(b"late"))
    data.clock.advance(due(data).total_seconds())
    await process.sweep.run()
    assert await stored(data.staging) == [completed.object]


async def test_objects_of_a_former_day_are_swept(data: DocumentData) -> None:
    day = datetime(2025, 11, 26, tzinfo=UTC)
    orphan = await put(data.primary, f"{TENANT}/2025-11-26/doc_{'0' * 26}.1.{'0' * 16}")
    later = await put(data.primary, f"{TENANT}/2025-11-27/doc_{'0' * 26}.1.{'0' * 16}")
    process = data.process()
    data.clock.advance(timedelta(hours=6).total_seconds())
    await process.agenda.add(Task.SWEEP_OBJECTS, former_day(TENANT, day), data.clock.now())
    await process.sweep.run()
    assert orphan not in await stored(data.primary)
    assert later in await stored(data.primary)
    assert await process.on_agenda(Task.SWEEP_OBJECTS) == []


async def test_a_sweep_of_an_empty_agenda_looks_at_no_tenant(data: DocumentData) -> None:
    process = data.process()
    await process.sweep.run()
    assert {each.tenant for each in data.records.looked_into} == {OPERATOR}
    assert Partition(TENANT) not in data.records.looked_into
