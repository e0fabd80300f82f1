"""Both copies damaged: what is good in one or the other becomes whole again, or is known to be lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.base.errors import Damaged, Unavailable
from shared.base.events import EventType, VersionData
from shared.base.partitions import partition_of
from shared.crypto.streaming import HEADER_SIZE, SEGMENT_SIZE
from shared.ports.records import Replace
from standalone.demo.objects import StoredObject
from tests.support.app import App, problem
from tests.support.copies import CONTENT, Silent, copies, get
from tests.support.damage import Harm, cut, drop_segment, flip, swap_segments

pytestmark = pytest.mark.anyio


@pytest.fixture
async def document(app: App, auth: dict[str, str]) -> str:
    """A document with a verified replica."""
    document: str = (await app.upload(auth, CONTENT)).json()["id"]
    await app.settle()
    return document


def both(*harms: Harm) -> Harm:
    def harm(path: StoredObject) -> None:
        for each in harms:
            each(path)

    return harm


def append(path: StoredObject) -> None:
    path.write_bytes(path.read_bytes() + b"appended")


MENDABLE: dict[str, tuple[Harm, Harm]] = {
    "other segments": (
        both(flip(HEADER_SIZE + 5), flip(2 * SEGMENT_SIZE + 5)),
        both(flip(SEGMENT_SIZE + 5), flip(-1)),
    ),
    "header and last byte": (flip(1), flip(-1)),
    "header size and second segment": (flip(0), flip(SEGMENT_SIZE)),
    "last segment and header": (flip(-1), flip(HEADER_SIZE - 1)),
    "cut and first byte": (cut(2 * SEGMENT_SIZE), flip(HEADER_SIZE)),
    "first byte and cut by a byte": (flip(HEADER_SIZE), cut(-1)),
    "swapped and last byte": (swap_segments, flip(-1)),
    "extended and header": (append, flip(3)),
    "extended and gone": (append, StoredObject.unlink),
    "extended both": (append, append),
}

LOST: dict[str, tuple[Harm, Harm]] = {
    "the same segment": (flip(SEGMENT_SIZE + 1), flip(SEGMENT_SIZE + 900)),
    "both headers": (flip(1), flip(2)),
    "both cut": (cut(3 * SEGMENT_SIZE), cut(-1)),
    "both cut to the header": (cut(HEADER_SIZE), cut(HEADER_SIZE)),
    "header and gone": (flip(1), StoredObject.unlink),
    "both lack a segment": (drop_segment, drop_segment),
    "both gone": (StoredObject.unlink, StoredObject.unlink),
}


async def harm(
    app: App, tenant: str, document: str, harms: tuple[Harm, Harm]
) -> tuple[StoredObject, StoredObject]:
    paths = await copies(app, tenant, document)
    for path, each in zip(paths, harms, strict=True):
        each(path)
    return paths


async def repair(app: App, tenant: str, document: str) -> None:
    event = app.services.journal.event(
        EventType.DOCUMENT_DAMAGED, tenant, document, VersionData(version=1)
    )
    await app.services.replication.repair(event)


@pytest.mark.parametrize("harms", MENDABLE.values(), ids=MENDABLE.keys())
async def test_two_damaged_copies_become_two_good_ones(
    app: App, alpha: str, auth: dict[str, str], document: str, harms: tuple[Harm, Harm]
) -> None:
    sealed = (await copies(app, alpha, document))[0].read_bytes()
    former = await harm(app, alpha, document, harms)
    answer = await get(app, auth, document)
    assert (answer.status_code, answer.content == CONTENT) == (200, True)
    await repair(app, alpha, document)
    await app.settle()
    primary, replica = await copies(app, alpha, document)
    assert primary.read_bytes() == replica.read_bytes() == sealed
    assert {primary, replica}.isdisjoint(former)
    assert (app.stored("primary"), app.stored("replica")) == ([primary], [replica])
    actions = await app.actions(alpha, document)
    assert actions.count("document.repair") == 2
    assert "document.lost" not in actions
    assert (await get(app, auth, document)).content == CONTENT


@pytest.mark.parametrize("harms", LOST.values(), ids=LOST.keys())
async def test_what_is_good_in_no_copy_is_lost_and_nothing_takes_its_place(
    app: App, alpha: str, auth: dict[str, str], document: str, harms: tuple[Harm, Harm]
) -> None:
    await harm(app, alpha, document, harms)
    left = [path.read_bytes() for store in ("primary", "replica") for path in app.stored(store)]
    before = await app.version(alpha, document)
    answer = await get(app, auth, document)
    assert (answer.status_code, problem(answer)) == (500, "damaged")
    await app.settle()
    actions = await app.actions(alpha, document)
    assert "document.lost" in actions
    assert "document.repair" not in actions
    assert await app.version(alpha, document) == before
    assert left == [
        path.read_bytes() for store in ("primary", "replica") for path in app.stored(store)
    ]


@pytest.mark.parametrize("harms", [MENDABLE["header and last byte"]], ids=["header"])
async def test_a_range_in_the_middle_needs_no_whole_copy(
    app: App, alpha: str, auth: dict[str, str], document: str, harms: tuple[Harm, Harm]
) -> None:
    await harm(app, alpha, document, harms)
    answer = await get(app, auth, document, Range=f"bytes={len(CONTENT) - 10}-")
    assert (answer.status_code, answer.content) == (206, CONTENT[-10:])
    entries = [body["entry"] for body in await app.entries(alpha, document)]
    damaged = [e["details"]["copy"] for e in entries if e["action"] == "document.damage"]
    assert damaged == ["primary"]


async def test_the_mended_content_comes_in_segments(app: App, alpha: str, document: str) -> None:
    sealed = (await copies(app, alpha, document))[0].read_bytes()
    await harm(app, alpha, document, MENDABLE["other segments"])
    version = await app.version(alpha, document)
    opener = app.services.reader.opener
    parts = [bytes(part) async for part in opener.reassembled(alpha, document, version)]
    assert b"".join(parts) == sealed
    assert max(map(len, parts)) <= SEGMENT_SIZE


async def test_what_the_record_does_not_vouch_for_replaces_nothing(
    app: App, alpha: str, auth: dict[str, str], document: str
) -> None:
    records = app.services.adapters.records
    record = await records.get(partition_of(alpha, document), "document", document)
    current = record.body["current"] | {"sealed_blake3": "A" * 43}
    await records.commit(
        record.partition, [Replace(replace(record, body=record.body | {"current": current}))]
    )
    before = app.stored("primary"), app.stored("replica")
    await repair(app, alpha, document)
    await app.settle()
    assert (app.stored("primary"), app.stored("replica")) == before
    assert "document.lost" in await app.actions(alpha, document)
    version = await app.version(alpha, document)
    with pytest.raises(Damaged):
        async for _ in app.services.reader.opener.reassembled(alpha, document, version):
            pass


def spoiling(real: Callable[..., Any]) -> Callable[..., Any]:
    async def put(self: Any, name: str, content: AsyncIterator[bytes]) -> int:
        async def wrong() -> AsyncIterator[bytes]:
            async for piece in content:
                yield bytes(piece[:-1]) + bytes([piece[-1] ^ 1])

        size: int = await real(self, name, wrong())
        return size

    return put


async def test_a_mended_copy_that_arrives_damaged_is_not_adopted(
    app: App, alpha: str, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = (await copies(app, alpha, document))[0].read_bytes()
    former = await harm(app, alpha, document, MENDABLE["other segments"])
    store = type(app.services.adapters.primary)
    with monkeypatch.context() as spoiled:
        spoiled.setattr(store, "put", spoiling(store.put))
        with pytest.raises(Unavailable):
            await repair(app, alpha, document)
    assert await copies(app, alpha, document) == former
    assert (app.stored("primary"), app.stored("replica")) == ([former[0]], [former[1]])
    assert "document.lost" not in await app.actions(alpha, document)
    await repair(app, alpha, document)
    assert [path.read_bytes() for path in await copies(app, alpha, document)] == [sealed, sealed]


async def test_mending_that_was_interrupted_goes_on(
    app: App, alpha: str, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = (await copies(app, alpha, document))[0].read_bytes()
    await harm(app, alpha, document, MENDABLE["other segments"])

    async def silent(*_: Any) -> int:
        raise Unavailable("The store does not answer.")

    with monkeypatch.context() as down:
        down.setattr(type(app.services.adapters.replica), "copy_from", silent)
        with pytest.raises(Unavailable):
            await repair(app, alpha, document)
    primary, replica = await copies(app, alpha, document)
    assert primary.read_bytes() == sealed != replica.read_bytes()
    await repair(app, alpha, document)
    await app.settle()
    assert [path.read_bytes() for path in await copies(app, alpha, document)] == [sealed, sealed]


async def test_a_silent_copy_is_waited_for(
    app: App, alpha: str, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harm(app, alpha, document, MENDABLE["other segments"])
    opener = app.services.reader.opener
    with monkeypatch.context() as down:
        down.setattr(opener, "replica", Silent(opener.replica))
        with pytest.raises(Unavailable):
            await repair(app, alpha, document)
    assert "document.lost" not in await app.actions(alpha, document)
    await repair(app, alpha, document)
    assert (await app.actions(alpha, document)).count("document.repair") == 2
