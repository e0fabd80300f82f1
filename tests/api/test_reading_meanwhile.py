"""A document that is deleted or repaired while it is read: no damage is reported that is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.errors import NotFound
from shared.base.events import EventType, VersionData
from shared.crypto.streaming import HEADER_SIZE, SEGMENT_SIZE
from tests.support.app import App, problem
from tests.support.copies import CONTENT, copies, get
from tests.support.damage import flip

pytestmark = pytest.mark.anyio


@pytest.fixture
async def document(app: App, auth: dict[str, str]) -> str:
    """A document with a verified replica, longer than what is opened before an answer begins."""
    document: str = (await app.upload(auth, CONTENT * 2)).json()["id"]
    await app.settle()
    return document


@pytest.fixture
def before_the_first_read(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], Awaitable[Any]]], None]:
    """Lets something happen between the read of the record and that of the object."""

    def happens(happening: Callable[[], Awaitable[Any]]) -> None:
        store = type(app.services.adapters.primary)
        real = store.get

        async def late(*args: Any, **options: Any) -> AsyncIterator[bytes]:
            monkeypatch.setattr(store, "get", real)
            await happening()
            async for piece in real(*args, **options):
                yield piece

        monkeypatch.setattr(store, "get", late)

    return happens


async def mend_both(app: App, tenant: str, document: str) -> None:
    """Harm both copies in different places, repair them, and let the former objects be erased."""
    primary, replica = await copies(app, tenant, document)
    flip(HEADER_SIZE + 5)(primary)
    flip(-1)(replica)
    damaged = app.services.journal.event(
        EventType.DOCUMENT_DAMAGED, tenant, document, VersionData(version=1)
    )
    await app.services.replication.repair(damaged)
    await app.settle()
    assert {primary, replica}.isdisjoint(await copies(app, tenant, document))
    assert not primary.exists()
    assert not replica.exists()


async def test_a_document_deleted_meanwhile_is_not_found(
    app: App, alpha: str, auth: dict[str, str], document: str, before_the_first_read: Any
) -> None:
    async def delete() -> None:
        await app.erase(auth, document)
        await app.settle()

    before_the_first_read(delete)
    answer = await get(app, auth, document)
    assert (answer.status_code, problem(answer)) == (404, "not-found")
    assert "document.damage" not in await app.actions(alpha, document)


async def test_copies_replaced_meanwhile_are_followed(
    app: App, alpha: str, auth: dict[str, str], document: str, before_the_first_read: Any
) -> None:
    before_the_first_read(lambda: mend_both(app, alpha, document))
    answer = await get(app, auth, document)
    assert (answer.status_code, answer.content == CONTENT * 2) == (200, True)
    assert "document.damage" not in await app.actions(alpha, document)


async def test_damage_of_a_version_superseded_meanwhile_is_told(
    app: App, alpha: str, auth: dict[str, str], document: str, before_the_first_read: Any
) -> None:
    headers = auth | {
        "Content-Disposition": 'attachment; filename="b"',
        "If-Match": await app.etag(auth, document),
    }
    path = f"documents/{document}/content"
    first = await copies(app, alpha, document)

    async def update_and_harm() -> None:
        assert (await app.http.put(path, content=b"two", headers=headers)).status_code == 200
        for copy in first:
            copy.unlink()

    before_the_first_read(update_and_harm)
    answer = await get(app, auth, document)
    assert (answer.status_code, problem(answer)) == (500, "damaged")
    entries = [body["entry"] for body in await app.entries(alpha, document)]
    told = [entry["details"] for entry in entries if entry["action"] == "document.damage"]
    assert sorted(details["copy"] for details in told) == ["primary", "replica"]
    assert {details["version"] for details in told} == {1}


@pytest.mark.parametrize("reported", [False, True])
async def test_what_is_healed_while_it_streams_is_followed(
    app: App, alpha: str, document: str, reported: bool
) -> None:
    """Whether or not the reader itself had found the damage before."""
    reader = Principal(alpha, "usr_reader", (Role.READER,))
    primary, replica = await copies(app, alpha, document)
    flip(5 * SEGMENT_SIZE + 1)(primary)
    flip(5 * SEGMENT_SIZE - 1)(replica)
    if reported:
        flip(SEGMENT_SIZE + 1)(primary)
        flip(2 * SEGMENT_SIZE + 1)(replica)
    opened = await app.services.reader.find(reader, document)
    stream = await app.services.reader.open(reader, opened, 0, opened.version.size)
    before = (await app.actions(alpha, document)).count("document.damage")
    assert before == (2 if reported else 0)
    damaged = app.services.journal.event(
        EventType.DOCUMENT_DAMAGED, alpha, document, VersionData(version=1)
    )
    await app.services.replication.repair(damaged)
    await app.settle()
    assert not primary.exists()
    assert b"".join([bytes(piece) async for piece in stream]) == CONTENT * 2
    assert (await app.actions(alpha, document)).count("document.damage") == before


async def test_what_is_deleted_while_it_streams_breaks_off_without_damage(
    app: App, alpha: str, auth: dict[str, str], document: str
) -> None:
    reader = Principal(alpha, "usr_reader", (Role.READER,))
    for copy in await copies(app, alpha, document):
        flip(5 * SEGMENT_SIZE + 1)(copy)
    opened = await app.services.reader.find(reader, document)
    stream = await app.services.reader.open(reader, opened, 0, opened.version.size)
    await app.erase(auth, document)
    await app.settle()
    with pytest.raises(NotFound):
        async for _ in stream:
            pass
    assert "document.damage" not in await app.actions(alpha, document)
