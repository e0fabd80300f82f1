"""Entity tags: one never names two contents, whatever a restore brings back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.memory.blobs import MemoryBlobs
from shared.base.buffers import Buffer
from shared.base.errors import PreconditionFailed
from shared.base.events import EventType, VersionData
from shared.base.partitions import partition_of
from shared.documents.models import Description, Document, Version
from shared.documents.reading import DocumentVersion, content_etag
from tests.support.documents import USER, DocumentData, DocumentProcess, key, read, stream
from tests.support.keys import TENANT

pytestmark = pytest.mark.anyio

OTHER = Description(name="other.txt")


async def update(process: DocumentProcess, document: str, if_match: str) -> DocumentVersion:
    return await process.documents.update(USER, document, if_match, OTHER, stream(b"new"), None)


async def go_back(data: DocumentData, process: DocumentProcess, former: Document) -> None:
    """Let the records be what they were, as a restore to a point in time does."""
    stored = await process.store.document(TENANT, former.id)
    assert former.current is not None
    later = [
        await process.store.version(stored, number)
        for number in range(former.current.number, stored.current.number)
    ]
    await data.records.commit(
        partition_of(TENANT, former.id),
        [
            process.store.replace_document(stored, former),
            *(process.store.delete_version(each) for each in later),
        ],
    )


async def test_a_number_that_comes_again_has_another_tag(data: DocumentData) -> None:
    process = data.process()
    first = await process.create()
    second = await update(process, first.document.id, first.etag)
    await go_back(data, process, first.document)
    again = await update(process, first.document.id, first.etag)
    assert (second.version.number, again.version.number) == (2, 2)
    assert second.etag != again.etag
    with pytest.raises(PreconditionFailed):
        await update(process, first.document.id, second.etag)
    with pytest.raises(PreconditionFailed):
        await process.trash.delete(USER, first.document.id, second.etag)
    await update(process, first.document.id, again.etag)


async def test_an_update_gives_way_to_a_content_of_the_same_number(data: DocumentData) -> None:
    process = data.process()
    first = await process.create()
    second = await update(process, first.document.id, first.etag)

    async def restored_meanwhile() -> AsyncIterator[Buffer]:
        yield b"third"
        await go_back(data, process, first.document)
        await update(process, first.document.id, first.etag)

    with pytest.raises(PreconditionFailed):
        await process.documents.update(
            USER, first.document.id, second.etag, OTHER, restored_meanwhile(), None
        )
    current = (await process.store.document(TENANT, first.document.id)).current
    assert current.number == 2


async def test_a_copy_of_one_content_never_becomes_that_of_another(
    data: DocumentData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.process()
    first = await process.create()
    await update(process, first.document.id, first.etag)
    sealed = process.journal.event(
        EventType.DOCUMENT_SEALED, TENANT, first.document.id, VersionData(version=2)
    )
    copy_from = MemoryBlobs.copy_from

    async def restored_meanwhile(*arguments: Any) -> None:
        await copy_from(*arguments)
        await go_back(data, process, first.document)
        await update(process, first.document.id, first.etag)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryBlobs, "copy_from", restored_meanwhile)
        await process.replication.replicate(sealed)
    current = (await process.store.document(TENANT, first.document.id)).current
    assert (current.number, current.replica) == (2, None)
    await process.replication.replicate(sealed)
    current = (await process.store.document(TENANT, first.document.id)).current
    assert await read(data.replica, current.replica) == await read(data.primary, current.object)


async def test_a_version_of_a_release_without_tags_keeps_its_entity_tag(
    data: DocumentData,
) -> None:
    process = data.process()
    made = await process.create(used=key())
    stored = await process.store.document(TENANT, made.document.id)
    body = stored.current.model_dump(mode="json")
    del body["tag"]
    former = Version.model_validate(body)
    untagged = stored.document.model_copy(update={"current": former})
    await data.records.commit(
        partition_of(TENANT, made.document.id), [process.store.replace_document(stored, untagged)]
    )
    assert content_etag(made.document.id, former) == f"{made.document.id}.1"
    assert (await process.create(used=key())).etag == f"{made.document.id}.1"
    with pytest.raises(PreconditionFailed):
        await update(process, made.document.id, made.etag)
    newer = await update(process, made.document.id, f"{made.document.id}.1")
    assert newer.etag.count(".") == 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=5), max_size=12))
def test_no_history_gives_an_entity_tag_to_two_contents(steps: list[int]) -> None:
    """Each step makes a new version, or, where it is 1 or more, goes back to so many versions ago."""

    async def play() -> None:
        data = DocumentData()
        process = data.process()
        made = await process.create()
        history = [made]
        named = {made.etag: made.version.sealed_digest}
        for step in steps:
            if step:
                history = history[: max(1, len(history) - step)]
                await go_back(data, process, history[-1].document)
                continue
            newer = await update(process, made.document.id, history[-1].etag)
            assert newer.version.number == len(history) + 1
            assert newer.etag not in named
            named[newer.etag] = newer.version.sealed_digest
            history.append(newer)
        assert len(set(named.values())) == len(named)
        await data.close()

    asyncio.run(play())
