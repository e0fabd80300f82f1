"""ContentSealer and ContentOpener, directly: what is kept, what is refused, how often keys are loaded."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import os
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from blake3 import blake3
from pydantic import ValidationError

from functions.api.memory import MEBIBYTE, STREAM_BYTES
from shared.adapters.memory import blobs as memory_blobs
from shared.base.buffers import Buffer
from shared.base.errors import Damaged, DigestMismatch, TooLarge
from shared.base.models import encode
from shared.base.pipelines import OUTPUTS
from shared.crypto import streaming
from shared.crypto.keys import content_associated_data, unwrap_key
from shared.crypto.streaming import SEGMENT_PLAINTEXT, Sealer
from shared.documents.models import Document, Version
from shared.documents.opening import VersionOf
from shared.documents.sealing import Incoming, Tally, sealed_form
from shared.journal.agenda import Task
from shared.replication.service import is_whole
from tests.support.contents import PAPER, Content
from tests.support.documents import NEVER
from tests.support.keys import TENANT
from tests.support.sealing import opened
from tests.support.sized import Sized

pytestmark = pytest.mark.anyio

CONTENT = os.urandom(3 * SEGMENT_PLAINTEXT + 1_000)


@pytest.fixture
def content() -> Content:
    return Content()


async def no_damage(place: str, name: str) -> str:
    pytest.fail(f"{name} in {place} is damaged")


@pytest.mark.parametrize("size", [0, 1, SEGMENT_PLAINTEXT, len(CONTENT)])
@pytest.mark.parametrize("chunk", [65_536, 5_000_000])
async def test_content_opens_as_it_was_sealed(content: Content, size: int, chunk: int) -> None:
    plaintext = CONTENT[:size]
    chunks = [plaintext[start : start + chunk] for start in range(0, size, chunk)]
    digest = hashlib.sha256(plaintext).digest()
    sealed = await content.sealer.seal(content.incoming(*chunks, sha256=digest))
    version = sealed.version
    assert (version.size, sealed.names.sha256) == (size, digest)
    kept = b"".join([piece async for piece in content.primary.get(version.object)])
    assert blake3(kept).digest() == version.sealed_blake3
    assert version.sealed_sha256 is None

    key = unwrap_key(content.epochs.keys[version.epoch].key, version.wrapped_key)
    bound_to = content_associated_data("development", TENANT, content.document, 1)
    assert b"".join([bytes(piece) async for piece in opened(key, bound_to, kept)]) == plaintext
    read = await content.opener.open(TENANT, content.document, version, 0, size, no_damage)
    assert b"".join([bytes(piece) async for piece in read]) == plaintext
    assert await content.opener.names(TENANT, content.document, version) == sealed.names


@pytest.mark.parametrize(("piece", "most"), [(1, 6), (2, 7), (4, 7)])
async def test_a_stalled_download_holds_what_the_budget_counts(
    content: Content, monkeypatch, piece: int, most: int
) -> None:
    """Wherever it stalls: one segment is with the connection, one waits to be sent, one is opened."""
    monkeypatch.setattr(memory_blobs, "_PIECE", piece * MEBIBYTE)
    size = 11 * SEGMENT_PLAINTEXT
    version = (await content.sealer.seal(content.incoming(bytes(size)))).version
    held: list[int] = []
    tracemalloc.start()
    try:
        stream = await content.opener.open(TENANT, content.document, version, 0, size, no_damage)
        sent = await anext(stream)
        async for waiting in stream:
            for _ in range(10):
                await asyncio.sleep(0)  # whatever is read ahead has come
            held.append(tracemalloc.get_traced_memory()[0])
            sent = waiting
        assert sent
    finally:
        tracemalloc.stop()
    assert most <= STREAM_BYTES // MEBIBYTE
    assert max(held) <= most * MEBIBYTE + 65_536, "besides segments, a few small objects"


@pytest.mark.parametrize("sized", [False, True])
async def test_a_stalled_upload_holds_what_the_budget_counts(
    content: Content, monkeypatch, sized: bool
) -> None:
    """Two segments in clear, and three sealed ones, one of which is being written."""
    # As memory that is counted.
    monkeypatch.setattr(streaming, "page_aligned", lambda size: memoryview(bytearray(size)))
    incoming = content.incoming()
    source = Sized(bytes(11 * MEBIBYTE)) if sized else chunks_of(11 * MEBIBYTE)
    incoming = dataclasses.replace(incoming, content=source)
    sealer = Sealer(bytes(32), b"", os.urandom, outputs=OUTPUTS)
    held: list[int] = []
    tracemalloc.start()
    try:
        async for _ in sealed_form(sealer, incoming, Tally(11 * MEBIBYTE)):
            for _ in range(20):  # what is read and sealed meanwhile has come
                await asyncio.get_running_loop().run_in_executor(None, int)
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert len(held) == 12
    assert max(held) <= 5 * MEBIBYTE + 131_072 <= STREAM_BYTES


async def chunks_of(size: int) -> AsyncIterator[bytes]:
    for _ in range(0, size, 65_536):
        yield bytes(65_536)


async def test_a_version_of_an_earlier_release_is_checked_by_its_sha256(content: Content) -> None:
    version = (await content.sealer.seal(content.incoming(CONTENT))).version
    kept = b"".join([piece async for piece in content.primary.get(version.object)])
    former = version.model_dump(mode="json", exclude={"sealed_blake3"})
    former["sealed_sha256"] = encode(hashlib.sha256(kept).digest())
    earlier = Version.model_validate(former)

    assert await is_whole(content.primary, version.object, earlier)
    # Written again it is what that release wrote, which refuses a member that it does not know.
    changed = earlier.model_copy(update={"replica": "another"})
    document = Document(id=content.document, created_at=version.created_at, current=changed)
    assert document.model_dump(mode="json")["current"] == former | {"replica": "another"}
    assert "sealed_blake3" not in json.loads(document.model_dump_json())["current"]
    assert "sealed_sha256" not in version.model_dump()

    parts = content.opener.reassembled(TENANT, content.document, earlier)
    assert b"".join([bytes(part) async for part in parts]) == kept

    for changed in (
        earlier.model_copy(update={"sealed_sha256": blake3(kept).digest()}),
        version.model_copy(update={"sealed_blake3": hashlib.sha256(kept).digest()}),
    ):
        assert not await is_whole(content.primary, version.object, changed)
        with pytest.raises(Damaged):
            async for _ in content.opener.reassembled(TENANT, content.document, changed):
                pass


@pytest.mark.parametrize("digests", [{}, {"sealed_blake3": bytes(32), "sealed_sha256": bytes(32)}])
async def test_a_version_has_one_digest(content: Content, digests: dict[str, bytes]) -> None:
    version = (await content.sealer.seal(content.incoming(b"content"))).version
    members = version.model_dump(exclude={"sealed_blake3", "sealed_sha256"})
    with pytest.raises(ValidationError):
        Version.model_validate(members | digests)


async def test_another_digest_keeps_nothing(content: Content) -> None:
    with pytest.raises(DigestMismatch):
        await content.sealer.seal(content.incoming(CONTENT, sha256=bytes(32)))
    assert await content.stored() == []


@pytest.mark.parametrize("spare", [-1, 0])
async def test_content_may_have_its_largest_size_and_no_more(content: Content, spare: int) -> None:
    incoming = content.incoming(CONTENT, max_size=len(CONTENT) + spare)
    if spare < 0:
        with pytest.raises(TooLarge):
            await content.sealer.seal(incoming)
        assert await content.stored() == []
    else:
        assert (await content.sealer.seal(incoming)).version.size == len(CONTENT)


async def test_the_sweep_knows_of_an_object_before_it_is_put(content: Content) -> None:
    async def arriving() -> AsyncIterator[Buffer]:
        due = [item.value.partition async for item in content.agenda.due(Task.SWEEP_OBJECTS, NEVER)]
        assert due
        assert all(each.startswith(f"{TENANT}/") for each in due)
        yield CONTENT
        raise ConnectionResetError("the client disconnected")

    incoming = Incoming(
        TENANT, content.document, 1, "usr_1", PAPER, arriving(), max_size=1 << 30, sha256=None
    )
    with pytest.raises(ConnectionResetError):
        await content.sealer.seal(incoming)
    assert await content.stored() == []


async def test_names_of_many_load_the_keys_of_their_epochs_once(content: Content) -> None:
    versions = []
    for number, epoch in enumerate(["epo_1", "epo_2", "epo_1"], start=1):
        content.epochs.epoch = epoch
        sealed = await content.sealer.seal(content.incoming(b"content", number=number))
        versions.append(VersionOf(content.document, sealed.version))
    names = await content.opener.names_of_all(TENANT, versions)
    assert [each and each.name for each in names] == [PAPER.name] * 3
    assert content.epochs.loads == [{"epo_1", "epo_2"}]
