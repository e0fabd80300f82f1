"""Replication: one verified copy, however often and in whatever order events come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import pytest

from shared.errors import Unavailable
from shared.events import Event, EventType
from tests.api.test_healing import flip
from tests.house import House

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(251)) * 9_000


@pytest.fixture
async def document(house: House, auth: dict[str, str]) -> str:
    """A document that has no replica yet."""
    document: str = (await house.upload(auth, CONTENT)).json()["id"]
    return document


def event(house: House, tenant: str, document: str, kind: EventType, **data: Any) -> Event:
    return house.services.journal.event(kind, tenant, document, {"version": 1} | data)


async def agree(house: House, tenant: str, document: str) -> None:
    """The record, the vault and the replica agree, and nothing else lies around."""
    version = await house.version(tenant, document)
    vault = house.object("vault", version.object)
    replica = house.object("replica", version.replica)
    assert vault.read_bytes() == replica.read_bytes()
    assert house.stored("vault") == [vault]
    assert house.stored("replica") == [replica]


async def test_many_deliveries_make_one_replica(house: House, alpha: str, document: str) -> None:
    sealed = event(house, alpha, document, EventType.DOCUMENT_SEALED)
    for _ in range(3):
        await house.services.replication.replicate(sealed)
    await asyncio.gather(*(house.services.replication.replicate(sealed) for _ in range(3)))
    await agree(house, alpha, document)
    assert (await house.actions(alpha, document)).count("document.replicate") == 1


async def test_deliveries_at_once_make_one_replica(house: House, alpha: str, document: str) -> None:
    sealed = event(house, alpha, document, EventType.DOCUMENT_SEALED)
    await asyncio.gather(*(house.services.replication.replicate(sealed) for _ in range(4)))
    await agree(house, alpha, document)
    assert (await house.actions(alpha, document)).count("document.replicate") == 1


async def test_healing_what_is_whole_changes_nothing(
    house: House, alpha: str, document: str
) -> None:
    await house.settle()
    before = await house.version(alpha, document)
    await house.services.replication.heal(event(house, alpha, document, EventType.DOCUMENT_DAMAGED))
    assert await house.version(alpha, document) == before
    assert "document.heal" not in await house.actions(alpha, document)


@pytest.mark.parametrize("store", ["vault", "replica"])
async def test_healing_at_once_heals_once(
    house: House, alpha: str, document: str, store: str
) -> None:
    await house.settle()
    version = await house.version(alpha, document)
    flip(99)(house.object(store, version.object if store == "vault" else version.replica))
    damaged = event(house, alpha, document, EventType.DOCUMENT_DAMAGED)
    await asyncio.gather(*(house.services.replication.heal(damaged) for _ in range(3)))
    await house.settle()
    await agree(house, alpha, document)
    assert (await house.actions(alpha, document)).count("document.heal") == 1


async def test_events_of_what_is_gone_do_nothing(
    house: House, alpha: str, auth: dict[str, str], document: str
) -> None:
    await house.settle()
    await house.http.delete(f"documents/{document}", headers=auth)
    await house.settle()
    await house.services.replication.replicate(
        event(house, alpha, document, EventType.DOCUMENT_SEALED)
    )
    await house.services.replication.heal(event(house, alpha, document, EventType.DOCUMENT_DAMAGED))
    erase = event(house, alpha, document, EventType.DOCUMENT_DELETED, objects=[], replicas=[])
    await house.services.replication.erase(erase)
    assert house.stored("vault") == house.stored("replica") == []


async def test_erasing_is_in_the_log_once_however_often_its_event_comes(
    house: House, alpha: str, auth: dict[str, str], document: str
) -> None:
    await house.settle()
    version = await house.version(alpha, document)
    await house.http.delete(f"documents/{document}", headers=auth)
    await house.settle()
    [erased] = [
        body
        for body in await house.entries(alpha, document)
        if body["entry"]["action"] == "document.erase"
    ]
    assert erased["position"] is not None
    assert erased["entry"]["outcome"] == "allowed"
    assert erased["entry"]["actor"]["kind"] == "system"
    assert erased["entry"]["details"] == {"objects": 1, "replicas": 1}
    released = {"objects": [version.object], "replicas": [version.replica]}
    again = event(house, alpha, document, EventType.DOCUMENT_DELETED, **released)
    await asyncio.gather(*(house.services.replication.erase(again) for _ in range(3)))
    await house.services.replication.erase(again)
    await house.settle()
    assert (await house.actions(alpha, document)).count("document.erase") == 2


@pytest.mark.parametrize("silent", ["vault", "replica"])
async def test_nothing_is_called_erased_before_it_is(
    house: House,
    alpha: str,
    auth: dict[str, str],
    document: str,
    monkeypatch: pytest.MonkeyPatch,
    silent: str,
) -> None:
    await house.settle()
    version = await house.version(alpha, document)
    await house.http.delete(f"documents/{document}", headers=auth)
    released = {"objects": [version.object], "replicas": [version.replica]}
    deleted = event(house, alpha, document, EventType.DOCUMENT_DELETED, **released)

    class Store:
        async def delete(self, name: str) -> None:
            raise Unavailable("The store does not answer.")

    places = dict(house.services.replication._places) | {silent: Store()}
    with monkeypatch.context() as down:
        down.setattr(house.services.replication, "_places", places)
        with pytest.raises(Unavailable):
            await house.services.replication.erase(deleted)
    assert "document.erase" not in await house.actions(alpha, document)
    await house.settle()
    assert "document.erase" in await house.actions(alpha, document)


async def test_deleting_while_replicating_leaves_nothing(
    house: House, alpha: str, auth: dict[str, str], document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = type(house.services.adapters.replica)
    real = replica.copy_from

    async def slow(*args: Any) -> int:
        size: int = await real(*args)
        answer = await house.http.delete(f"documents/{document}", headers=auth)
        assert answer.status_code == 204
        return size

    monkeypatch.setattr(replica, "copy_from", slow)
    await house.services.replication.replicate(
        event(house, alpha, document, EventType.DOCUMENT_SEALED)
    )
    monkeypatch.setattr(replica, "copy_from", real)
    await house.settle()
    assert house.stored("vault") == house.stored("replica") == []


async def test_a_copy_that_arrives_damaged_is_not_adopted(
    house: House, alpha: str, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = type(house.services.adapters.replica)
    real = replica.copy_from

    async def corrupting(self: Any, source: Any, source_name: str, name: str) -> int:
        async def wrong() -> AsyncIterator[bytes]:
            async for piece in source.get(source_name):
                yield piece[:-1] + bytes([piece[-1] ^ 1])

        size: int = await self.put(name, wrong())
        return size

    monkeypatch.setattr(replica, "copy_from", corrupting)
    sealed = event(house, alpha, document, EventType.DOCUMENT_SEALED)
    with pytest.raises(Unavailable):
        await house.services.replication.replicate(sealed)
    assert "document.lost" not in await house.actions(alpha, document), "the vault's copy is good"
    assert (await house.version(alpha, document)).replica is None
    assert house.stored("replica") == []
    monkeypatch.setattr(replica, "copy_from", real)
    await house.services.replication.replicate(sealed)
    await agree(house, alpha, document)


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_copy_that_went_while_it_was_copied_is_not_lost(
    house: House,
    alpha: str,
    auth: dict[str, str],
    document: str,
    monkeypatch: pytest.MonkeyPatch,
    deleted: bool,
) -> None:
    replication = house.services.replication
    replica = type(house.services.adapters.replica)
    real = replica.copy_from

    async def late(*args: Any) -> int:
        monkeypatch.setattr(replica, "copy_from", real)
        if deleted:
            await house.http.delete(f"documents/{document}", headers=auth)
        else:
            await replication.heal(event(house, alpha, document, EventType.DOCUMENT_DAMAGED))
        await house.settle()
        size: int = await real(*args)
        return size

    vault = house.object("vault", (await house.version(alpha, document)).object)
    vault.write_bytes(vault.read_bytes() + b"appended")
    monkeypatch.setattr(replica, "copy_from", late)
    with nullcontext() if deleted else pytest.raises(Unavailable):
        await replication.replicate(event(house, alpha, document, EventType.DOCUMENT_SEALED))
    assert "document.lost" not in await house.actions(alpha, document)
    if deleted:
        assert house.stored("vault") == house.stored("replica") == []
    else:
        await agree(house, alpha, document)


async def test_a_silent_store_leaves_the_event_for_another_try(
    house: House, alpha: str, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: Any) -> int:
        raise Unavailable("The store does not answer.")

    sealed = event(house, alpha, document, EventType.DOCUMENT_SEALED)
    with monkeypatch.context() as down:
        down.setattr(type(house.services.adapters.replica), "copy_from", silent)
        with pytest.raises(Unavailable):
            await house.services.replication.replicate(sealed)
    assert "document.lost" not in await house.actions(alpha, document)
    await house.services.replication.replicate(sealed)
    await agree(house, alpha, document)


async def test_a_late_replica_is_logged_for_the_operators(
    house: House, alpha: str, document: str, caplog: pytest.LogCaptureFixture
) -> None:
    house.clock.advance(3_600)
    await house.settle()
    assert f"replication.late {document}, 3600 s old" in caplog.text
