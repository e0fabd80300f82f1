"""Direct uploads and new versions: one request makes one document, and no commit loses an object."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shared.base.buffers import Buffer
from shared.base.errors import (
    IdempotencyKeyReused,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from shared.base.events import EventType, VersionData
from shared.base.partitions import Partition, month_of
from shared.documents.models import Description
from shared.documents.reading import DocumentVersion
from tests.support.documents import ADMIN, USER, DocumentData, DocumentProcess, key, stored, stream
from tests.support.keys import TENANT, KilledError

pytestmark = pytest.mark.anyio

OTHER = Description(name="other.txt")


async def update(
    process: DocumentProcess, found: DocumentVersion, content: AsyncIterator[Buffer]
) -> DocumentVersion:
    return await process.documents.update(USER, found.document.id, found.etag, OTHER, content, None)


async def after(action: Callable[[], Awaitable[object]]) -> AsyncIterator[Buffer]:
    """Content that has arrived once something else has happened."""
    yield b"first "
    await action()
    yield b"then"


async def test_a_request_repeated_after_the_month_ended_makes_one_document(
    data: DocumentData,
) -> None:
    data.at(2026, 1, 31, 23, 59)
    first = await data.process().create(used=key())
    data.at(2026, 2, 1, 0, 1)
    process = data.process()
    again = await process.create(used=key())
    assert again == first
    assert month_of(again.document.id) == "2026-01"
    assert await stored(data.primary) == [first.version.object]
    assert await process.listed() == [first.document.id]


async def test_a_killed_request_repeated_after_the_month_ended_makes_one_document(
    data: DocumentData,
) -> None:
    data.at(2026, 1, 31, 23, 59)
    data.records.killed_before = "document"
    with pytest.raises(KilledError):
        await data.process().create(used=key())
    data.records.killed_before = ""
    data.at(2026, 2, 1, 0, 1)
    made = await data.process().create(used=key())
    assert month_of(made.document.id) == "2026-01", "as the killed one began it"
    data.at(2026, 2, 1, 12)
    process = data.process()
    assert await process.create(used=key()) == made
    assert await process.listed() == [made.document.id]
    assert await process.content(made.document.id) == b"content"


async def test_a_request_whose_response_is_lost_makes_one_document(data: DocumentData) -> None:
    data.records.silent_after = "document"
    with pytest.raises(Unavailable):
        await data.process().create(used=key())
    data.records.silent_after = ""
    process = data.process()
    made = await process.create(used=key())
    assert await stored(data.primary) == [made.version.object]
    assert await process.listed() == [made.document.id]
    assert await process.content(made.document.id) == b"content"


async def test_the_same_request_at_once_makes_one_document(data: DocumentData) -> None:
    processes = [data.process() for _ in range(4)]
    made = await asyncio.gather(*(process.create(used=key()) for process in processes))
    assert len({each.document.id for each in made}) == 1
    assert await stored(data.primary) == [made[0].version.object]
    assert await processes[0].listed() == [made[0].document.id]


async def test_a_key_of_different_content_is_refused_and_keeps_nothing(data: DocumentData) -> None:
    process = data.process()
    made = await process.create(used=key())
    with pytest.raises(IdempotencyKeyReused):
        await process.create(b"different", used=key())
    assert await stored(data.primary) == [made.version.object]


async def test_an_update_that_comes_second_is_refused_and_keeps_nothing(
    data: DocumentData,
) -> None:
    process = data.process()
    made = await process.create()
    winner = None

    async def win() -> None:
        nonlocal winner
        winner = await update(process, made, stream(b"winner"))

    with pytest.raises(PreconditionFailed):
        await update(process, made, after(win))
    assert winner is not None
    assert await stored(data.primary) == sorted([made.version.object, winner.version.object])
    assert await process.content(made.document.id) == b"winner"


@pytest.mark.parametrize("erase", [False, True])
async def test_an_update_of_a_concurrently_deleted_document_keeps_nothing(
    data: DocumentData, erase: bool
) -> None:
    process = data.process()
    made = await process.create()
    deletion = after(lambda: process.trash.delete(ADMIN, made.document.id, None, erase=erase))
    with pytest.raises(PreconditionFailed):
        await update(process, made, deletion)
    assert await stored(data.primary) == [made.version.object], "left to the event"


async def test_an_update_is_not_refused_because_of_a_replica(data: DocumentData) -> None:
    process = data.process()
    made = await process.create()
    event = process.journal.event(
        EventType.DOCUMENT_SEALED, TENANT, made.document.id, VersionData(version=1)
    )
    await update(process, made, after(lambda: process.replication.replicate(event)))
    latest, first = (await process.reader.versions(USER, made.document.id)).items
    assert (latest.version.number, latest.version.replica) == (2, None)
    assert [first.version.replica] == await stored(data.replica)
    assert await process.content(made.document.id) == b"first then"


async def test_an_update_whose_response_is_lost_keeps_its_object(data: DocumentData) -> None:
    process = data.process()
    made = await process.create()
    data.records.silent_after = "document"
    with pytest.raises(Unavailable):
        await update(process, made, stream(b"newer"))
    data.records.silent_after = ""
    assert await process.content(made.document.id) == b"newer"


@pytest.mark.parametrize(
    "malformed",
    ["doc", "doc_", "doc_x", "doc_" + "z" * 26, "doc_7" + "z" * 25, "upl_" + "0" * 25, "x", ""],
)
async def test_an_id_that_is_malformed_is_not_found(data: DocumentData, malformed: str) -> None:
    process = data.process()
    with pytest.raises(NotFound, match="no such document"):
        await process.store.document(TENANT, malformed)
    with pytest.raises(NotFound, match="no such upload"):
        await process.store.upload(TENANT, malformed)


async def test_a_document_is_not_found_in_another_tenant(data: DocumentData) -> None:
    process = data.process()
    made = await process.create()
    other = "ten_" + "1" * 26
    with pytest.raises(NotFound):
        await process.store.document(other, made.document.id)
    assert Partition(other, "2026-01") in data.records.looked_into


async def test_a_name_that_is_no_longer_taken_can_still_be_read(data: DocumentData) -> None:
    former = Description(
        name="\u202egnp.exe ", media_type="text/plain;charset=utf-8", metadata={"a": "\u200b"}
    )
    process = data.process()
    made = await process.documents.create(USER, former, stream(b"content"), None, None)
    found = await process.reader.find(USER, made.document.id)
    assert found.names.description() == former
