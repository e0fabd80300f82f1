"""Replication: verified copies, repair, and erasing that is logged once."""

from __future__ import annotations

import asyncio

import pytest

from shared.base.events import Event, EventType, ReleasedData, VersionData
from shared.base.partitions import Partition, partition_of
from shared.documents.models import Place, Version
from shared.documents.naming import hour_prefix, sweep_due
from shared.documents.reading import DocumentVersion
from shared.journal.agenda import Task
from shared.ports.blobs import BlobStore
from tests.support.audit import entries
from tests.support.documents import (
    USER,
    DocumentData,
    DocumentProcess,
    read,
    stored,
    stream,
)
from tests.support.keys import TENANT, KilledError

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 3 * 4096
"""Three segments."""


def about(
    process: DocumentProcess, made: DocumentVersion, type: EventType = EventType.DOCUMENT_SEALED
) -> Event:
    return process.journal.event(type, TENANT, made.document.id, VersionData(version=1))


async def current(process: DocumentProcess, made: DocumentVersion) -> Version:
    return (await process.store.document(TENANT, made.document.id)).current


async def flip(data: DocumentData, place: Place, name: str | None, at: int) -> None:
    """Change one byte of an object."""
    assert name is not None
    store: BlobStore = getattr(data, place)
    content = bytearray(await read(store, name))
    content[at] ^= 1
    await store.delete(name)
    await store.put(name, stream(bytes(content)))


async def replicated(data: DocumentData, process: DocumentProcess) -> DocumentVersion:
    made = await process.create(CONTENT)
    await process.replication.replicate(about(process, made))
    return made


async def logged(process: DocumentProcess, document: str) -> list[str]:
    """The actions of the log, once everything was appended to it."""
    await process.audit.log.append_pending(partition_of(TENANT, document))
    page = await entries(process.audit.reader, USER, resource=document)
    return [item.entry.action for item in page.items]


async def test_a_content_gets_one_replica_however_often_its_event_comes(data: DocumentData) -> None:
    process = data.process()
    made = await process.create(CONTENT)
    event = about(process, made)
    await asyncio.gather(*(data.process().replication.replicate(event) for _ in range(3)))
    await process.replication.replicate(event)
    version = await current(process, made)
    assert await stored(data.replica) == [version.replica]
    assert version.object == made.version.object
    assert (await logged(process, made.document.id)).count("document.replicate") == 1


async def test_a_replica_of_another_hour_is_on_the_agenda_before_it_is_put(
    data: DocumentData,
) -> None:
    process = data.process()
    made = await process.create(CONTENT)
    data.at(2026, 1, 2, 3)
    began = data.clock.now()
    data.records.killed_before = "document"
    with pytest.raises(KilledError):
        await process.replication.replicate(about(process, made))
    data.records.killed_before = ""
    [orphan] = await stored(data.replica)
    assert orphan.startswith(hour_prefix(TENANT, began))

    due = [
        item.value.due async for item in process.agenda.due(Task.SWEEP_OBJECTS, sweep_due(began))
    ]
    assert sweep_due(began) in due
    data.clock.advance((sweep_due(began) - began).total_seconds())
    fresh = data.process()
    await fresh.sweep.run()
    assert await stored(data.replica) == []
    assert await stored(data.primary) == [made.version.object]

    await fresh.replication.replicate(about(fresh, made))
    assert await stored(data.replica) == [(await current(fresh, made)).replica]


@pytest.mark.parametrize("place", ["primary", "replica"])
async def test_a_bad_copy_is_replaced_from_the_good_one(data: DocumentData, place: Place) -> None:
    process = data.process()
    made = await replicated(data, process)
    before = await current(process, made)
    await flip(data, place, before.at(place), 99)
    damaged = about(process, made, EventType.DOCUMENT_DAMAGED)
    await asyncio.gather(*(process.replication.repair(damaged) for _ in range(3)))
    version = await current(process, made)
    assert version.at(place) != before.at(place)
    assert before.at(place) in await stored(getattr(data, place)), "left to the event"
    assert await read(data.primary, version.object) == await read(data.replica, version.replica)
    assert (await logged(process, made.document.id)).count("document.repair") == 1


async def test_copies_damaged_in_different_segments_are_reassembled(data: DocumentData) -> None:
    process = data.process()
    made = await replicated(data, process)
    before = await current(process, made)
    await flip(data, "primary", before.object, 99)
    await flip(data, "replica", before.replica, (1 << 20) + 99)
    await process.replication.repair(about(process, made, EventType.DOCUMENT_DAMAGED))
    version = await current(process, made)
    assert version.object != before.object
    assert version.replica != before.replica
    assert await process.content(made.document.id) == CONTENT


async def test_content_without_a_good_segment_is_logged_as_lost_and_kept(
    data: DocumentData,
) -> None:
    process = data.process()
    made = await replicated(data, process)
    before = await current(process, made)
    await flip(data, "primary", before.object, 99)
    await flip(data, "replica", before.replica, 99)
    await process.replication.repair(about(process, made, EventType.DOCUMENT_DAMAGED))
    assert await current(process, made) == before
    assert await stored(data.primary) == [before.object]
    assert "document.lost" in await logged(process, made.document.id)


async def test_erasing_is_logged_once_even_if_its_event_comes_after_the_log_was_appended(
    data: DocumentData,
) -> None:
    process = data.process()
    made = await replicated(data, process)
    version = await current(process, made)
    await process.erase(made.document.id)
    released = ReleasedData(objects=(version.object,), replicas=(version.replica or "",))
    event = process.journal.event(EventType.DOCUMENT_DELETED, TENANT, made.document.id, released)
    await asyncio.gather(*(process.replication.erase(event) for _ in range(3)))
    assert (await logged(process, made.document.id)).count("document.erase") == 1
    await data.process().replication.erase(event)
    assert (await logged(process, made.document.id)).count("document.erase") == 1
    assert await stored(data.primary) == await stored(data.replica) == []

    other = await process.create()
    assert await logged(process, other.document.id) == ["document.create"], "the log still grows"


async def test_events_of_a_deleted_document_do_nothing(data: DocumentData) -> None:
    process = data.process()
    made = await process.create(CONTENT)
    await process.erase(made.document.id)
    await process.replication.replicate(about(process, made))
    await process.replication.repair(about(process, made, EventType.DOCUMENT_DAMAGED))
    assert await stored(data.replica) == []
    assert "document.replicate" not in await logged(process, made.document.id)
    assert Partition(TENANT, "2026-01") == partition_of(TENANT, made.document.id)
