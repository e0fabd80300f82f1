"""Staged uploads: one month for an upload and its document, and no content that nobody awaits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from shared.access.principal import Origin
from shared.base.buffers import Buffer
from shared.base.errors import Conflict, InvalidInput, StrongroomError, TooLarge
from shared.base.events import EventType
from shared.base.partitions import Partition, month_of
from shared.documents.models import Description, Upload
from shared.journal.agenda import Task
from shared.journal.idempotency import IdempotencyKey
from shared.journal.waiting import ENTRY_KIND
from shared.ports.blobs import BlobInfo
from tests.support.documents import USER, DocumentData, DocumentProcess, key, stored, stream
from tests.support.keys import TENANT, KilledError

pytestmark = pytest.mark.anyio

CONTENT = b"staged content"
ORIGIN = Origin("203.0.113.7")


async def begin(process: DocumentProcess, used: IdempotencyKey | None = None) -> Upload:
    granted = await process.uploads.create(
        USER, Description(name="paper.txt"), len(CONTENT), None, used
    )
    return granted.upload


async def receive(
    process: DocumentProcess, upload: Upload, content: AsyncIterator[Buffer] | None = None
) -> None:
    await process.uploads.receive(upload.object, len(CONTENT), content or stream(CONTENT), ORIGIN)


async def seal(process: DocumentProcess, upload: Upload) -> None:
    await process.staged.seal(process.journal.event(EventType.UPLOAD_COMPLETED, TENANT, upload.id))


async def received(data: DocumentData, upload: Upload) -> list[tuple[str, str, str, str]]:
    """What the log will say about content that came: the outcome, the reason, who and from where."""
    page = await data.records.query(Partition(TENANT, month_of(upload.id)), ENTRY_KIND)
    return [
        (entry["outcome"], entry["reason"], entry["actor"]["kind"], entry["address"])
        for entry in (record.body for record in page.records)
        if entry["action"] == "upload.receive"
    ]


async def test_an_upload_that_is_sealed_in_the_next_month_keeps_its_document_in_its_own(
    data: DocumentData,
) -> None:
    data.at(2026, 1, 31, 23, 59)
    process = data.process()
    upload = await begin(process)
    await receive(process, upload)
    data.at(2026, 2, 1, 0, 10)
    await process.uploads.complete(USER, upload.id)
    data.at(2026, 2, 1, 0, 20)
    fresh = data.process()
    await seal(fresh, upload)
    assert month_of(upload.id) == month_of(upload.document) == "2026-01"
    assert await fresh.listed() == [upload.document]
    assert await fresh.content(upload.document) == CONTENT
    assert (await fresh.uploads.read(USER, upload.id)).state == "sealed"
    assert await stored(data.staging) == []


async def test_a_request_repeated_after_the_month_ended_makes_one_upload(
    data: DocumentData,
) -> None:
    data.at(2026, 1, 31, 23, 59)
    first = await begin(data.process(), key())
    data.at(2026, 2, 1, 0, 1)
    assert await begin(data.process(), key()) == first


async def test_a_killed_request_repeated_after_the_month_ended_keeps_upload_and_document_together(
    data: DocumentData,
) -> None:
    data.at(2026, 1, 31, 23, 59)
    data.records.killed_before = "upload"
    with pytest.raises(KilledError):
        await begin(data.process(), key())
    data.records.killed_before = ""
    data.at(2026, 2, 1, 0, 1)
    process = data.process()
    upload = await begin(process, key())
    assert month_of(upload.id) == month_of(upload.document) == "2026-01"
    await receive(process, upload)
    await process.uploads.complete(USER, upload.id)
    await seal(process, upload)
    assert await process.listed() == [upload.document]


async def test_an_upload_is_on_the_agenda_before_it_is_granted(data: DocumentData) -> None:
    data.records.killed_before = "upload"
    process = data.process()
    with pytest.raises(KilledError):
        await begin(process)
    assert await process.on_agenda(Task.EXPIRE_UPLOADS) == [f"{TENANT}/2026-01"]
    assert await process.on_agenda(Task.SWEEP_OBJECTS) == [f"{TENANT}/main"]


async def test_content_is_received_and_audited(data: DocumentData) -> None:
    process = data.process()
    upload = await begin(process)
    await receive(process, upload)
    assert await stored(data.staging) == [upload.object]
    assert await received(data, upload) == [("allowed", "", "anonymous", ORIGIN.address)]


async def test_content_of_an_upload_cancelled_while_it_arrived_is_removed(
    data: DocumentData,
) -> None:
    process = data.process()
    upload = await begin(process)

    async def content() -> AsyncIterator[Buffer]:
        yield CONTENT[:5]
        await process.uploads.cancel(USER, upload.id)
        yield CONTENT[5:]

    with pytest.raises(Conflict, match="takes no more content"):
        await receive(process, upload, content())
    assert await stored(data.staging) == []
    assert await received(data, upload) == [("refused", "conflict", "anonymous", ORIGIN.address)]


@pytest.mark.parametrize("erased", [False, True])
async def test_content_that_arrives_after_the_upload_was_sealed_is_removed(
    data: DocumentData, erased: bool
) -> None:
    process = data.process()
    upload = await begin(process)

    async def content() -> AsyncIterator[Buffer]:
        yield CONTENT[:5]
        # The same request, repeated meanwhile, was faster.
        await receive(process, upload)
        await process.uploads.complete(USER, upload.id)
        await seal(process, upload)
        if erased:
            await process.erase(upload.document)
        yield CONTENT[5:]

    with pytest.raises(Conflict, match="takes no more content"):
        await receive(process, upload, content())
    assert await stored(data.staging) == []


async def test_content_of_an_upload_that_expired_while_it_arrived_is_removed(
    data: DocumentData,
) -> None:
    process = data.process()
    upload = await begin(process)

    async def content() -> AsyncIterator[Buffer]:
        yield CONTENT
        data.at(2026, 1, 1, 2)
        await data.process().sweep.run()

    with pytest.raises(Conflict, match="takes no more content"):
        await receive(process, upload, content())
    assert await stored(data.staging) == []
    assert (await process.uploads.read(USER, upload.id)).failure == "expired"


@pytest.mark.parametrize("state", ["cancelled", "completed", "sealed", "unknown"])
async def test_an_upload_that_takes_no_more_content_is_refused_before_any_is_read(
    data: DocumentData, state: str
) -> None:
    process = data.process()
    upload = await begin(process)
    if state == "cancelled":
        await process.uploads.cancel(USER, upload.id)
    elif state == "unknown":
        upload = upload.model_copy(update={"object": upload.object[:-3] + "000"})
    else:
        await receive(process, upload)
        await process.uploads.complete(USER, upload.id)
        if state == "sealed":
            await seal(process, upload)
    before = await stored(data.staging)

    read = False

    async def content() -> AsyncIterator[Buffer]:
        nonlocal read
        read = True
        yield CONTENT

    with pytest.raises(Conflict, match="takes no more content"):
        await receive(process, upload, content())
    assert not read
    assert await stored(data.staging) == before


@pytest.mark.parametrize(
    ("content", "error"),
    [(CONTENT + b"!", TooLarge), (CONTENT[:-1], InvalidInput), (CONTENT[::-1], Conflict)],
    ids=["large", "small", "second"],
)
async def test_content_that_is_not_taken_leaves_what_was_and_is_audited(
    data: DocumentData, content: bytes, error: type[StrongroomError]
) -> None:
    process = data.process()
    upload = await begin(process)
    if error is Conflict:
        await receive(process, upload)
    before = await stored(data.staging)
    with pytest.raises(error):
        await receive(process, upload, stream(content))
    assert await stored(data.staging) == before
    refused = ("refused", error.slug, "anonymous", ORIGIN.address)
    assert refused in await received(data, upload)


async def test_content_that_a_storage_service_took_compressed_is_not_completed(
    data: DocumentData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.process()
    upload = await begin(process)
    await receive(process, upload)
    found = await process.uploads.staging.head(upload.object)

    async def coded(*_: object) -> BlobInfo:
        return replace(found, coding="gzip")

    with monkeypatch.context() as patched:
        patched.setattr(type(process.uploads.staging), "head", coded)
        with pytest.raises(Conflict, match="Content-Encoding"):
            await process.uploads.complete(USER, upload.id)
    assert await stored(data.staging) == []
    await receive(process, upload)
    assert (await process.uploads.complete(USER, upload.id)).state == "completed"
