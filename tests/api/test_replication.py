"""Replication: one verified copy, however often and in whatever order events come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import pytest

from shared.base.errors import Unavailable
from shared.base.events import Event, EventData, EventType, ReleasedData, VersionData
from tests.support.app import App
from tests.support.damage import flip

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(251)) * 9_000


@pytest.fixture
async def document(app: App, auth: dict[str, str]) -> str:
    """A document that has no replica yet."""
    document: str = (await app.upload(auth, CONTENT)).json()["id"]
    return document


def event(
    app: App, tenant: str, document: str, kind: EventType, data: EventData | None = None
) -> Event:
    return app.services.journal.event(kind, tenant, document, data or VersionData(version=1))


async def agree(app: App, tenant: str, document: str) -> None:
    """The record, the primary and the replica agree, and nothing else lies around."""
    version = await app.version(tenant, document)
    primary = app.object("primary", version.object)
    replica = app.object("replica", version.replica)
    assert primary.read_bytes() == replica.read_bytes()
    assert app.stored("primary") == [primary]
    assert app.stored("replica") == [replica]


async def test_many_deliveries_make_one_replica(app: App, alpha: str, document: str) -> None:
    sealed = event(app, alpha, document, EventType.DOCUMENT_SEALED)
    for _ in range(3):
        await app.services.replication.replicate(sealed)
    await asyncio.gather(*(app.services.replication.replicate(sealed) for _ in range(3)))
    await agree(app, alpha, document)
    assert (await app.actions(alpha, document)).count("document.replicate") == 1


async def test_deliveries_at_once_make_one_replica(app: App, alpha: str, document: str) -> None:
    sealed = event(app, alpha, document, EventType.DOCUMENT_SEALED)
    await asyncio.gather(*(app.services.replication.replicate(sealed) for _ in range(4)))
    await agree(app, alpha, document)
    assert (await app.actions(alpha, document)).count("document.replicate") == 1


async def test_healing_what_is_whole_changes_nothing(app: App, alpha: str, document: str) -> None:
    await app.settle()
    before = await app.version(alpha, document)
    await app.services.replication.repair(event(app, alpha, document, EventType.DOCUMENT_DAMAGED))
    assert await app.version(alpha, document) == before
    assert "document.repair" not in await app.actions(alpha, document)


@pytest.mark.parametrize("store", ["primary", "replica"])
async def test_healing_at_once_heals_once(app: App, alpha: str, document: str, store: str) -> None:
    await app.settle()
    version = await app.version(alpha, document)
    flip(99)(app.object(store, version.object if store == "primary" else version.replica))
    damaged = event(app, alpha, document, EventType.DOCUMENT_DAMAGED)
    await asyncio.gather(*(app.services.replication.repair(damaged) for _ in range(3)))
    await app.settle()
    await agree(app, alpha, document)
    assert (await app.actions(alpha, document)).count("document.repair") == 1


async def test_events_of_what_is_gone_do_nothing(
    app: App, alpha: str, auth: dict[str, str], document: str
) -> None:
    await app.settle()
    await app.erase(auth, document)
    await app.settle()
    await app.services.replication.replicate(event(app, alpha, document, EventType.DOCUMENT_SEALED))
    await app.services.replication.repair(event(app, alpha, document, EventType.DOCUMENT_DAMAGED))
    erase = event(app, alpha, document, EventType.DOCUMENT_DELETED, ReleasedData())
    await app.services.replication.erase(erase)
    assert app.stored("primary") == app.stored("replica") == []


async def test_erasing_is_in_the_log_once_however_often_its_event_comes(
    app: App, alpha: str, auth: dict[str, str], document: str
) -> None:
    await app.settle()
    version = await app.version(alpha, document)
    await app.erase(auth, document)
    await app.settle()
    [erased] = [
        body
        for body in await app.entries(alpha, document)
        if body["entry"]["action"] == "document.erase"
    ]
    assert erased["position"] is not None
    assert erased["entry"]["outcome"] == "allowed"
    assert erased["entry"]["actor"]["kind"] == "system"
    assert erased["entry"]["details"] == {"objects": 1, "replicas": 1}
    released = ReleasedData(objects=(version.object,), replicas=(version.replica or "",))
    again = event(app, alpha, document, EventType.DOCUMENT_DELETED, released)
    await asyncio.gather(*(app.services.replication.erase(again) for _ in range(3)))
    await app.services.replication.erase(again)
    await app.settle()
    assert (await app.actions(alpha, document)).count("document.erase") == 2


@pytest.mark.parametrize("silent", ["primary", "replica"])
async def test_nothing_is_called_erased_before_it_is(
    app: App,
    alpha: str,
    auth: dict[str, str],
    document: str,
    monkeypatch: pytest.MonkeyPatch,
    silent: str,
) -> None:
    await app.settle()
    version = await app.version(alpha, document)
    await app.erase(auth, document)
    released = ReleasedData(objects=(version.object,), replicas=(version.replica or "",))
    deleted = event(app, alpha, document, EventType.DOCUMENT_DELETED, released)

    class Store:
        async def delete(self, name: str) -> None:
            raise Unavailable("The store does not answer.")

    with monkeypatch.context() as down:
        down.setattr(app.services.replication, silent, Store())
        with pytest.raises(Unavailable):
            await app.services.replication.erase(deleted)
    assert "document.erase" not in await app.actions(alpha, document)
    await app.settle()
    assert "document.erase" in await app.actions(alpha, document)


async def test_deleting_while_replicating_leaves_nothing(
    app: App, alpha: str, auth: dict[str, str], document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = type(app.services.adapters.replica)
    real = replica.copy_from

    async def slow(*args: Any) -> int:
        size: int = await real(*args)
        await app.erase(auth, document)
        return size

    monkeypatch.setattr(replica, "copy_from", slow)
    await app.services.replication.replicate(event(app, alpha, document, EventType.DOCUMENT_SEALED))
    monkeypatch.setattr(replica, "copy_from", real)
    await app.settle()
    assert app.stored("primary") == app.stored("replica") == []


async def test_a_copy_that_arrives_damaged_is_not_adopted(
    app: App, alpha: str, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = type(app.services.adapters.replica)
    real = replica.copy_from

    async def corrupting(self: Any, source: Any, source_name: str, name: str) -> int:
        async def wrong() -> AsyncIterator[bytes]:
            async for piece in source.get(source_name):
                yield piece[:-1] + bytes([piece[-1] ^ 1])

        size: int = await self.put(name, wrong())
        return size

    monkeypatch.setattr(replica, "copy_from", corrupting)
    sealed = event(app, alpha, document, EventType.DOCUMENT_SEALED)
    with pytest.raises(Unavailable):
        await app.services.replication.replicate(sealed)
    assert "document.lost" not in await app.actions(alpha, document), "the primary copy is good"
    assert (await app.version(alpha, document)).replica is None
    assert app.stored("replica") == []
    monkeypatch.setattr(replica, "copy_from", real)
    await app.services.replication.replicate(sealed)
    await agree(app, alpha, document)


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_copy_that_went_while_it_was_copied_is_not_lost(
    app: App,
    alpha: str,
    auth: dict[str, str],
    document: str,
    monkeypatch: pytest.MonkeyPatch,
    deleted: bool,
) -> None:
    replication = app.services.replication
    replica = type(app.services.adapters.replica)
    real = replica.copy_from

    async def late(*args: Any) -> int:
        monkeypatch.setattr(replica, "copy_from", real)
        if deleted:
            await app.erase(auth, document)
        else:
            await replication.repair(event(app, alpha, document, EventType.DOCUMENT_DAMAGED))
        await app.settle()
        size: int = await real(*args)
        return size

    primary = app.object("primary", (await app.version(alpha, document)).object)
    primary.write_bytes(primary.read_bytes() + b"appended")
    monkeypatch.setattr(replica, "copy_from", late)
    with nullcontext() if deleted else pytest.raises(Unavailable):
        await replication.replicate(event(app, alpha, document, EventType.DOCUMENT_SEALED))
    assert "document.lost" not in await app.actions(alpha, document)
    if deleted:
        assert app.stored("primary") == app.stored("replica") == []
    else:
        await agree(app, alpha, document)


async def test_a_silent_store_leaves_the_event_for_another_try(
    app: App, alpha: str, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: Any) -> int:
        raise Unavailable("The store does not answer.")

    sealed = event(app, alpha, document, EventType.DOCUMENT_SEALED)
    with monkeypatch.context() as down:
        down.setattr(type(app.services.adapters.replica), "copy_from", silent)
        with pytest.raises(Unavailable):
            await app.services.replication.replicate(sealed)
    assert "document.lost" not in await app.actions(alpha, document)
    await app.services.replication.replicate(sealed)
    await agree(app, alpha, document)


async def test_a_late_replica_is_logged_for_the_operators(
    app: App, alpha: str, document: str, caplog: pytest.LogCaptureFixture
) -> None:
    app.clock.advance(3_600)
    await app.settle()
    assert f"replication.late {document}, 3600 s old" in caplog.text
