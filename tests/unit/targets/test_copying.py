"""Copying: what arrives at a target, from which copy, and what happens when something is not whole."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pyrage
import pytest

from shared.adapters.memory.blobs import MemoryBlobs
from shared.base.errors import Unavailable
from shared.base.events import EventType
from shared.base.models import decode
from shared.base.partitions import partition_of
from shared.crypto.shares import Share, combine
from shared.documents.models import Description
from shared.documents.reading import DocumentVersion, content_etag
from tests.support.audit import entries as entries_of
from tests.support.documents import ADMIN, USER, read, stream
from tests.support.keys import TENANT, KilledError
from tests.support.targets import (
    HOLDERS,
    TargetData,
    TargetProcess,
    new_target,
    opened,
)

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 3 * 4096
"""Three segments."""


async def logged(process: TargetProcess, document: str) -> list[str]:
    """What the audit log says was done to a document at its targets."""
    audit = process.documents.audit
    await audit.log.append_pending(partition_of(TENANT, document))
    page = await entries_of(audit.reader, USER, resource=document, limit=100)
    actions = [item.entry.action.value for item in page.items]
    return sorted(action for action in actions if action.startswith("target."))


async def replicate(data: TargetData, process: TargetProcess) -> None:
    """Let every version have its replica."""
    await data.note(process)
    for event in data.bus.published:
        if event.type == EventType.DOCUMENT_SEALED:
            await process.documents.replication.replicate(event)


async def flip(data: TargetData, made: DocumentVersion, *places: str) -> None:
    """Change one byte of a copy of the first version."""
    process = data.start()
    stored = await process.documents.store.kept(TENANT, made.document.id)
    for place in places:
        name = stored.current.at(place)  # type: ignore[arg-type]
        store = getattr(data, place)
        content = bytearray(await read(store, name))
        content[2_000_000] ^= 1
        await store.delete(name)
        await store.put(name, stream(bytes(content)))


async def test_a_new_version_arrives_with_its_key(data: TargetData) -> None:
    process = data.start()
    target = await process.set_up()
    made = await process.documents.create(CONTENT)
    await data.work(process)
    version = made.version
    document = made.document.id
    content = f"content/{document}/1.{version.tag}"
    assert set(data.objects()) == {
        "strongroom.json",
        content,
        f"keys/{document}/1.{version.tag}.age",
    }
    sealed = data.objects()[content]
    assert sealed == await read(data.primary, version.object)
    file = opened(data.objects()[f"keys/{document}/1.{version.tag}.age"])
    data_key = file.pop("data_key")
    assert len(data_key) == 43
    assert file == {
        "document": document,
        "version": 1,
        "tag": version.tag,
        "name": "paper.txt",
        "media_type": "application/octet-stream",
        "metadata": {},
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "sealed_size": len(sealed),
        "sealed_sha256": hashlib.sha256(sealed).hexdigest(),
        "created_at": "2026-01-01T00:02:00Z",
        "object": content,
        "associated_data": f"strongroom/content/1/development/{TENANT}/{document}/1",
    }
    assert await data.waiting() == []
    assert await logged(process, document) == ["target.copy"]
    described = await process.described(target)
    assert (described.lag.waiting, described.lag.since) == (0, None)
    assert described.status.last_success_at == data.clock.now()


async def test_without_recovery_keys_only_content_is_copied(data: TargetData) -> None:
    process = data.start()
    new = new_target()
    await process.set_up(replace(new, recovery=None))
    made = await process.documents.create(CONTENT)
    await data.work(process)
    name = f"content/{made.document.id}/1.{made.version.tag}"
    assert set(data.objects()) == {"strongroom.json", name}


async def test_every_target_and_every_version_gets_its_copy_once(data: TargetData) -> None:
    process = data.start()
    for bucket in ("first", "second"):
        await process.set_up(new_target(bucket))
    made = await process.documents.create(b"one")
    document = made.document.id
    await data.work(process)
    followed = content_etag(document, made.version)
    updated = await process.documents.documents.update(
        USER, document, followed, Description(name="paper.txt"), stream(b"two"), None
    )
    await data.work(process)
    data._noted = 0  # every event comes again
    await data.work(process)
    assert data.objects("first").keys() == data.objects("second").keys()
    assert {name for name in data.objects("first") if name.startswith("content/")} == {
        f"content/{document}/1.{made.version.tag}",
        f"content/{document}/2.{updated.version.tag}",
    }
    assert await data.waiting() == []


@pytest.mark.parametrize("algorithm", ["blake3", "sha256"])
async def test_a_version_of_an_earlier_release_is_copied_too(
    data: TargetData, algorithm: str
) -> None:
    process = data.start()
    await process.set_up()
    made = await process.documents.create(b"of an earlier release")
    store = process.documents.store
    stored = await store.kept(TENANT, made.document.id)
    found = await store.version(stored, 1)
    sealed = await read(data.primary, found.version.object)
    earlier = {"tag": ""} | ({} if algorithm == "blake3" else _with_sha256(sealed))
    former = found.version.model_copy(update=earlier)
    await data.records.commit(stored.stored.partition, [store.replace_version(found, former)])
    await data.work(process)
    name = f"content/{made.document.id}/1.0000000000000000"
    assert name in data.objects()
    key = data.objects()[f"keys/{made.document.id}/1.0000000000000000.age"]
    assert (opened(key)["tag"], opened(key)["object"]) == ("0" * 16, name)
    assert opened(key)["sealed_sha256"] == hashlib.sha256(sealed).hexdigest()


def _with_sha256(sealed: bytes) -> dict[str, object]:
    return {"sealed_blake3": None, "sealed_sha256": hashlib.sha256(sealed).digest()}


async def test_an_erased_document_is_erased_at_the_target(data: TargetData) -> None:
    process = data.start()
    await process.set_up()
    kept = await process.documents.create(b"kept")
    gone = await process.documents.create(b"gone")
    await data.work(process)
    await process.documents.erase(gone.document.id)
    await data.work(process)
    assert not [name for name in data.objects() if gone.document.id in name]
    assert len([name for name in data.objects() if kept.document.id in name]) == 2
    assert await logged(process, gone.document.id) == ["target.copy", "target.erase"]


async def test_a_document_in_the_trash_stays_at_the_target(data: TargetData) -> None:
    process = data.start()
    await process.set_up()
    before = await process.documents.create(b"copied before it was deleted")
    await data.work(process)
    after = await process.documents.create(b"deleted before it was copied")
    for made in (before, after):
        await process.documents.trash.delete(ADMIN, made.document.id, None)
    await data.work(process)
    for made in (before, after):
        assert len([name for name in data.objects() if made.document.id in name]) == 2


async def test_a_version_that_is_erased_before_its_turn_is_not_copied(data: TargetData) -> None:
    process = data.start()
    await process.set_up()
    made = await process.documents.create(b"short-lived")
    await data.note(process)
    await process.documents.erase(made.document.id)
    await data.work(process)
    assert set(data.objects()) == {"strongroom.json"}
    assert await data.waiting() == []


async def test_a_document_that_is_erased_while_it_is_copied_leaves_nothing(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.start()
    await process.set_up()
    made = await process.documents.create(CONTENT)
    await data.note(process)
    copier = process.services.timer.turns.copier
    key_file = copier._key_file

    async def erased_meanwhile(*arguments: object) -> bytes:
        content = await key_file(*arguments)  # type: ignore[arg-type]
        await data.start().documents.erase(made.document.id)
        return content

    monkeypatch.setattr(type(copier), "_key_file", lambda _, *given: erased_meanwhile(*given))
    data.clock.advance(120)
    await process.services.timer.run()
    assert set(data.objects()) == {"strongroom.json"}
    assert await data.waiting() == []


@pytest.mark.parametrize("primary", ["damaged", "missing", "silent"])
async def test_the_replica_is_copied_where_the_primary_is_not_whole(
    data: TargetData, primary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.start()
    await process.set_up()
    made = await process.documents.create(CONTENT)
    sealed = await read(data.primary, made.version.object)
    await replicate(data, process)
    if primary == "damaged":
        await flip(data, made, "primary")
    elif primary == "missing":
        await data.primary.delete(made.version.object)
    else:
        get = MemoryBlobs.get

        async def silent(self: MemoryBlobs, name: str) -> AsyncIterator[bytes]:
            if self is data.primary:
                raise Unavailable("The store does not respond.")
            async for piece in get(self, name):
                yield piece

        monkeypatch.setattr(MemoryBlobs, "get", silent)
    await data.work(process)
    assert data.objects()[f"content/{made.document.id}/1.{made.version.tag}"] == sealed


async def test_content_that_is_whole_nowhere_waits_alone(data: TargetData) -> None:
    process = data.start()
    target = await process.set_up()
    lost = await process.documents.create(CONTENT)
    await replicate(data, process)
    await flip(data, lost, "primary", "replica")
    whole = await process.documents.create(b"whole")
    await data.work(process)
    assert not [name for name in data.objects() if lost.document.id in name]
    assert len([name for name in data.objects() if whole.document.id in name]) == 2
    (waiting,) = await data.waiting()
    assert (waiting.document, waiting.attempts) == (lost.document.id, 1)
    status = await process.status(target)
    assert (status.attempts, status.next_at) == (0, None)


async def test_a_target_that_gives_back_something_else_has_failed(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.start()
    target = await process.set_up()
    made = await process.documents.create(CONTENT)
    await data.note(process)
    store = data.connector.open(TENANT, new_target().address, new_target().credentials)
    get = type(store).get

    async def forgetful(self: object, name: str, **range: int) -> object:
        async for piece in get(self, name, **range):  # type: ignore[arg-type]
            yield piece[:-1] + bytes([piece[-1] ^ 1]) if name.startswith("content/") else piece

    with monkeypatch.context() as patched:
        patched.setattr(type(store), "get", forgetful)
        await data.work(process)
    assert (await process.status(target)).last_error == "damaged"
    assert not [name for name in data.objects() if name.startswith("keys/")]
    (waiting,) = await data.waiting()
    assert waiting.attempts == 1
    await data.work(process, 5)
    assert f"keys/{made.document.id}/1.{made.version.tag}.age" in data.objects()


async def test_a_copy_that_is_asked_for_again_while_it_is_made_is_made_again(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore may put another content under the number of a version."""
    process = data.start()
    await process.set_up()
    made = await process.documents.create(b"content")
    await data.note(process)
    copier = process.services.timer.turns.copier
    copy = copier.copy
    copied = 0

    async def asked_again(*arguments: object) -> object:
        nonlocal copied
        copied += 1
        done = await copy(*arguments)  # type: ignore[arg-type]
        if copied == 1:
            data._noted = 0
            await data.note(data.start())
        return done

    monkeypatch.setattr(type(copier), "copy", lambda _, *given: asked_again(*given))
    data.clock.advance(120)
    await process.services.timer.run()
    assert len(await data.waiting()) == 1
    await data.work(process)
    assert (copied, await data.waiting()) == (2, [])
    assert await logged(process, made.document.id) == ["target.copy"]


@pytest.mark.parametrize("killed_at", ["target-copy", "target-status"])
async def test_a_kill_in_the_middle_is_made_good(
    data: TargetData, killed_at: str, caplog: pytest.LogCaptureFixture
) -> None:
    process = data.start()
    await process.set_up()
    made = await process.documents.create(CONTENT)
    await data.note(process)
    data.clock.advance(120)
    data.records.killed_before = killed_at
    await data.start().services.timer.run()
    assert KilledError.__qualname__ in caplog.text
    data.records.killed_before = ""
    again = data.start()
    await data.work(again)
    assert len(data.objects()) == 3
    assert await data.waiting() == []
    assert await logged(again, made.document.id) == ["target.copy"]


async def test_a_quorum_opens_what_no_holder_opens(data: TargetData) -> None:
    process = data.start()
    await process.set_up(new_target(quorum=2))
    made = await process.documents.create(CONTENT)
    await data.work(process)
    key = data.objects()[f"keys/{made.document.id}/1.{made.version.tag}.age"]
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(key, HOLDERS)
    files = [opened(data.objects()[f"holders/{n}.age"], HOLDERS[n - 1]) for n in (1, 3)]
    assert [(file["index"], file["threshold"]) for file in files] == [(1, 2), (3, 2)]
    shared = combine([Share(file["index"], decode(file["share"])) for file in files])
    identity = pyrage.x25519.Identity.from_str(shared.decode())
    assert opened(key, identity)["document"] == made.document.id


async def test_an_event_that_comes_again_to_a_process_is_copied_once(data: TargetData) -> None:
    process = data.start()
    await process.set_up()
    made = await process.documents.create(CONTENT)
    await data.work(process)
    [sealed] = [each for each in data.bus.published if each.type == EventType.DOCUMENT_SEALED]
    await process.services.queue.copy(sealed)
    assert await data.waiting() == []
    # Another process does not know, and loses nothing by it.
    another = data.start()
    await another.services.queue.copy(sealed)
    assert [each.document for each in await data.waiting()] == [made.document.id]
