"""Damage: whatever happens to a copy, the response is the right content or a clear error.

- 200: one copy is good, or each segment is good in one of the two (``test_reassembly.py``); what is
  damaged is repaired.
- 500 ``damaged``: a segment is good in neither copy, if that shows in the first segments, else a transfer
  that ends early; or the record is damaged.
- 503: a store that may have a good copy does not respond.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import pytest

from shared.base.errors import Damaged
from shared.base.partitions import partition_of
from shared.crypto.streaming import HEADER_SIZE, SEGMENT_SIZE, TAG_SIZE
from shared.ports.records import Replace
from standalone.demo.objects import StoredObject
from tests.support.app import App, problem
from tests.support.copies import CONTENT, Silent, copies, get
from tests.support.damage import Harm, cut, drop_segment, flip, pipe, swap_segments, zero

pytestmark = pytest.mark.anyio


HARMS: dict[str, Harm] = {
    "header size": flip(0),
    "header salt": flip(1),
    "header nonce": flip(HEADER_SIZE - 1),
    "first byte": flip(HEADER_SIZE),
    "tag of the first segment": flip(SEGMENT_SIZE - 1),
    "first byte of the second segment": flip(SEGMENT_SIZE),
    "middle": flip(2 * SEGMENT_SIZE + 5_000),
    "last byte": flip(-1),
    "tag of the last segment": flip(-TAG_SIZE),
    "cut by a byte": cut(-1),
    "cut by the last segment": cut(3 * SEGMENT_SIZE),
    "cut to the header": cut(HEADER_SIZE),
    "emptied": cut(0),
    "zeros": zero,
    "segments swapped": swap_segments,
    "a segment dropped": drop_segment,
    "gone": StoredObject.unlink,
    "a pipe": pipe,
}

OF_SMALL = [
    *("header size", "header salt", "first byte", "last byte", "tag of the last segment"),
    *("cut by a byte", "cut to the header", "emptied", "zeros", "gone", "a pipe"),
]
"""Those that content of one segment can have."""

SMALL = CONTENT[:30_000]
PAGE = 8_192
"""Bytes of a page of the database."""


def spoil_page(stored: StoredObject) -> None:
    """Overwrite a page of the database from which the object's row goes on to the next."""
    database = stored.store / ".small.db"
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    sealed = stored.read_bytes()
    place = database.read_bytes().index(sealed[12_000:12_100])
    with database.open("r+b") as file:
        file.seek(place - place % PAGE)
        file.write(b"\xff" * PAGE)


@pytest.fixture
async def document(app: App, auth: dict[str, str]) -> str:
    """A document with a verified replica."""
    document: str = (await app.upload(auth, CONTENT)).json()["id"]
    await app.settle()
    return document


async def transfer(
    app: App, auth: dict[str, str], document: str
) -> tuple[int, dict[str, str], bytes, bool]:
    """Status, headers, body and whether it ended properly, as a server would see the app's answer."""
    sent: list[Any] = []
    asked: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        return asked.pop() if asked else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(dict(message, body=bytes(message.get("body", b""))))

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": f"/api/v1/documents/{document}/content",
        "raw_path": b"",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"authorization", auth["Authorization"].encode())],
        "client": ("203.0.113.7", 1),
        "server": ("app.test", 80),
    }
    # A server ends the connection then; with ``Content-Length`` the client sees that it is short.
    with suppress(Damaged, RuntimeError):
        await app.apps[0](scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message["body"] for message in sent[1:])
    ended = len(sent) > 1 and not sent[-1].get("more_body", False)
    return sent[0]["status"], headers, body, ended


async def test_the_replica_is_the_same_object(app: App, alpha: str, document: str) -> None:
    primary, replica = await copies(app, alpha, document)
    assert primary.read_bytes() == replica.read_bytes()
    assert primary.name != replica.name


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
async def test_a_damaged_primary_is_served_from_the_replica_and_repaired(
    app: App, alpha: str, auth: dict[str, str], document: str, harm: Harm
) -> None:
    primary, replica = await copies(app, alpha, document)
    sealed = primary.read_bytes()
    harm(primary)
    answer = await get(app, auth, document)
    assert (answer.status_code, answer.content == CONTENT) == (200, True)
    actions = await app.actions(alpha, document)
    assert actions.count("document.damage") == 1
    await app.settle()
    assert (await app.actions(alpha, document)).count("document.repair") == 1
    repaired, kept = await copies(app, alpha, document)
    assert kept == replica
    assert repaired != primary
    assert repaired.read_bytes() == replica.read_bytes() == sealed
    assert app.stored("primary") == [repaired], "the damaged object is gone"

    entries = [body["entry"] for body in await app.entries(alpha, document)]
    damage = next(entry for entry in entries if entry["action"] == "document.damage")
    assert (damage["outcome"], damage["reason"]) == ("failed", "damaged")
    assert damage["details"] == {"version": 1, "copy": "primary"}
    before = [entry["action"] for entry in entries]
    assert (await get(app, auth, document)).content == CONTENT
    await app.settle()
    after = await app.actions(alpha, document)
    assert after.count("document.open") == before.count("document.open") + 1
    assert after.count("document.damage") == 1


@pytest.mark.parametrize("harm", [*OF_SMALL, "a page of the database"])
async def test_a_damaged_primary_of_small_content_is_served_from_the_replica_and_repaired(
    app: App, alpha: str, auth: dict[str, str], harm: str
) -> None:
    """On the embedded profile small objects are rows, not files."""
    documents = [(await app.upload(auth, SMALL)).json()["id"] for _ in range(3)]
    await app.settle()
    others = [primary for primary in app.stored("primary") if documents[1] not in primary.name]
    primary, replica = await copies(app, alpha, documents[1])
    sealed = primary.read_bytes()
    assert not primary.file.exists()
    HARMS.get(harm, spoil_page)(primary)
    assert (await get(app, auth, documents[1])).content == SMALL
    await app.settle()
    actions = await app.actions(alpha, documents[1])
    assert (actions.count("document.damage"), actions.count("document.repair")) == (1, 1)
    repaired, kept = await copies(app, alpha, documents[1])
    assert (repaired != primary, kept) == (True, replica)
    assert repaired.read_bytes() == replica.read_bytes() == sealed
    assert app.stored("primary") == sorted([*others, repaired]), "the damaged object is gone"
    assert not primary.file.exists()
    for document in documents:
        assert (await get(app, auth, document)).content == SMALL


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
async def test_a_damaged_replica_does_not_matter_to_the_reader(
    app: App, alpha: str, auth: dict[str, str], document: str, harm: Harm
) -> None:
    primary, replica = await copies(app, alpha, document)
    harm(replica)
    assert (await get(app, auth, document)).content == CONTENT
    flip(2 * SEGMENT_SIZE + 9)(primary)
    answer = await get(app, auth, document)
    if answer.status_code == 200:
        assert answer.content == CONTENT
    else:
        assert (answer.status_code, problem(answer)) == (500, "damaged")


def other_segments(copy: int) -> list[int]:
    """Places in segments that are good in the other copy."""
    return [HEADER_SIZE + 5, 2 * SEGMENT_SIZE + 5] if copy == 0 else [SEGMENT_SIZE + 5, -1]


async def test_two_damaged_copies_make_one_good_content(
    app: App, alpha: str, auth: dict[str, str], document: str
) -> None:
    for copy, path in enumerate(await copies(app, alpha, document)):
        for offset in other_segments(copy):
            flip(offset)(path)
    for _ in range(2):
        answer = await get(app, auth, document)
        assert (answer.status_code, answer.content == CONTENT) == (200, True)
    damaged = [
        body["entry"]["details"]["copy"]
        for body in await app.entries(alpha, document)
        if body["entry"]["action"] == "document.damage"
    ]
    assert sorted(damaged) == ["primary", "primary", "replica", "replica"]
    answer = await get(app, auth, document, Range=f"bytes={SEGMENT_SIZE + 50_000}-{len(CONTENT)}")
    assert answer.content == CONTENT[SEGMENT_SIZE + 50_000 :]


async def test_damage_outside_the_range_is_not_in_the_way(
    app: App, alpha: str, auth: dict[str, str], document: str
) -> None:
    for path in await copies(app, alpha, document):
        flip(-1)(path)
    answer = await get(app, auth, document, Range="bytes=10-19")
    assert answer.content == CONTENT[10:20]
    assert "document.damage" not in await app.actions(alpha, document)


@pytest.mark.parametrize("harm", ["first byte", "last byte", "gone", "emptied"])
async def test_small_content_without_a_good_copy_is_a_clear_error(
    app: App, alpha: str, auth: dict[str, str], document: str, harm: str
) -> None:
    for path in await copies(app, alpha, document):
        HARMS[harm](path)
    answer = await get(app, auth, document)
    assert (answer.status_code, problem(answer)) == (500, "damaged")
    assert "operator" in answer.json()["detail"]
    await app.settle()
    assert "document.lost" in await app.actions(alpha, document)
    assert "document.repair" not in await app.actions(alpha, document)
    assert (await app.http.get(f"documents/{document}", headers=auth)).status_code == 200


async def test_empty_content_without_a_good_copy_is_a_clear_error(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    document = (await app.upload(auth, b"")).json()["id"]
    await app.settle()
    for path in await copies(app, alpha, document):
        flip(-1)(path)
    answer = await get(app, auth, document)
    assert (answer.status_code, problem(answer)) == (500, "damaged")


async def test_large_content_without_a_good_copy_is_a_broken_transfer(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    content = CONTENT * 2
    document = (await app.upload(auth, content)).json()["id"]
    await app.settle()
    status, headers, body, ended = await transfer(app, auth, document)
    assert (status, body == content, ended) == (200, True, True)
    for path in await copies(app, alpha, document):
        flip(5 * SEGMENT_SIZE + 1)(path)
    status, headers, body, ended = await transfer(app, auth, document)
    assert status == 200
    assert headers["content-length"] == str(len(content))
    assert not ended
    assert len(body) < len(content)
    assert content.startswith(body)
    assert (await app.actions(alpha, document)).count("document.damage") == 2


async def test_damage_before_the_replica_is_made(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    document = (await app.upload(auth, CONTENT)).json()["id"]
    version = await app.version(alpha, document)
    flip(HEADER_SIZE)(app.object("primary", version.object))
    answer = await get(app, auth, document)
    assert (answer.status_code, problem(answer)) == (500, "damaged")
    await app.settle()
    assert (await app.version(alpha, document)).replica is None, "damage is not replicated"
    assert app.stored("replica") == []
    assert "document.lost" in await app.actions(alpha, document)


async def test_swapped_objects_are_refused(
    app: App, alpha: str, auth: dict[str, str], document: str
) -> None:
    other = (await app.upload(auth, CONTENT)).json()["id"]
    await app.settle()
    mine, _ = await copies(app, alpha, document)
    theirs, _ = await copies(app, alpha, other)
    first, second = mine.read_bytes(), theirs.read_bytes()
    mine.write_bytes(second)
    theirs.write_bytes(first)
    for each in (document, other):
        assert (await get(app, auth, each)).content == CONTENT
        assert (await app.actions(alpha, each)).count("document.damage") == 1
    await app.settle()
    for each in (document, other):
        primary, replica = await copies(app, alpha, each)
        assert primary.read_bytes() == replica.read_bytes()


async def test_an_earlier_version_in_place_of_a_later_is_refused(
    app: App, alpha: str, auth: dict[str, str], document: str
) -> None:
    headers = auth | {
        "Content-Disposition": 'attachment; filename="b"',
        "If-Match": await app.etag(auth, document),
    }
    path = f"documents/{document}/content"
    assert (await app.http.put(path, content=CONTENT[::-1], headers=headers)).status_code == 200
    await app.settle()
    store = [await app.version(alpha, document, number) for number in (1, 2)]
    old = app.object("primary", store[0].object).read_bytes()
    app.object("primary", store[1].object).write_bytes(old)
    assert (await get(app, auth, document)).content == CONTENT[::-1]
    assert "document.damage" in await app.actions(alpha, document)


async def test_another_tenants_object_is_refused(
    app: App, alpha: str, beta: str, auth: dict[str, str], document: str
) -> None:
    theirs = (await app.upload(await app.auth(beta), b"z" * len(CONTENT))).json()["id"]
    foreign, _ = await copies_of_primary(app, beta, theirs)
    for path in await copies(app, alpha, document):
        path.write_bytes(foreign)
    answer = await get(app, auth, document)
    assert (answer.status_code, problem(answer)) == (500, "damaged")


async def copies_of_primary(app: App, tenant: str, document: str) -> tuple[bytes, StoredObject]:
    path = app.object("primary", (await app.version(tenant, document)).object)
    return path.read_bytes(), path


async def test_bytes_after_the_end_are_not_served(
    app: App, alpha: str, auth: dict[str, str], document: str
) -> None:
    primary, _ = await copies(app, alpha, document)
    primary.write_bytes(primary.read_bytes() + b"appended")
    assert (await get(app, auth, document)).content == CONTENT


async def test_a_sector_that_the_disk_cannot_read_is_damage(
    app: App, alpha: str, auth: dict[str, str], document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, replica = await copies(app, alpha, document)
    broken, real = primary.file.stat().st_ino, os.pread

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        if os.fstat(descriptor).st_ino == broken and offset + size > 2 * SEGMENT_SIZE:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    assert (await get(app, auth, document)).content == CONTENT
    assert (await app.actions(alpha, document)).count("document.damage") == 1
    await app.settle()
    repaired, kept = await copies(app, alpha, document)
    assert (repaired != primary, kept == replica) == (True, True)
    assert repaired.read_bytes() == replica.read_bytes()


@pytest.mark.parametrize("after", [0, 2 * SEGMENT_SIZE])
async def test_a_silent_primary_is_no_damage(
    app: App,
    alpha: str,
    auth: dict[str, str],
    document: str,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    opener = app.services.reader.opener
    monkeypatch.setattr(opener, "primary", Silent(opener.primary, after))
    assert (await get(app, auth, document)).content == CONTENT
    assert "document.damage" not in await app.actions(alpha, document)


async def test_silence_everywhere_can_be_tried_again(
    app: App, alpha: str, auth: dict[str, str], document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener = app.services.reader.opener
    monkeypatch.setattr(opener, "primary", Silent(opener.primary))
    monkeypatch.setattr(opener, "replica", Silent(opener.replica))
    answer = await get(app, auth, document)
    assert (answer.status_code, problem(answer)) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "document.damage" not in await app.actions(alpha, document)


async def test_a_silent_primary_and_a_damaged_replica_can_be_tried_again(
    app: App, alpha: str, auth: dict[str, str], document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener = app.services.reader.opener
    monkeypatch.setattr(opener, "primary", Silent(opener.primary))
    _, replica = await copies(app, alpha, document)
    flip(HEADER_SIZE)(replica)
    answer = await get(app, auth, document)
    assert (answer.status_code, problem(answer)) == (503, "unavailable")
    await app.settle()
    primary, repaired = await copies(app, alpha, document)
    assert repaired != replica
    assert repaired.read_bytes() == primary.read_bytes()


async def test_a_lost_replica_is_made_again(
    app: App, alpha: str, auth: dict[str, str], document: str
) -> None:
    primary, replica = await copies(app, alpha, document)
    sealed = primary.read_bytes()
    primary.unlink()
    assert (await get(app, auth, document)).content == CONTENT
    replica_bytes = replica.read_bytes()
    await app.settle()
    primary, replica = await copies(app, alpha, document)
    assert primary.read_bytes() == replica.read_bytes() == sealed == replica_bytes


@pytest.mark.parametrize("field", ["wrapped_key", "names", "epoch", "sealed_blake3"])
async def test_a_damaged_record_is_a_clear_error(
    app: App, alpha: str, auth: dict[str, str], document: str, field: str
) -> None:
    records = app.services.adapters.records
    record = await records.get(partition_of(alpha, document), "document", document)
    current = dict(record.body["current"])
    value = str(current[field])
    current[field] = value[:10] + ("a" if value[10] != "a" else "b") + value[11:]
    changed = replace(record, body=record.body | {"current": current})
    await records.commit(record.partition, [Replace(changed)])
    answer = await get(app, auth, document)
    if field == "sealed_blake3":
        assert answer.content == CONTENT
    else:
        assert (answer.status_code, problem(answer)) == (500, "damaged")
