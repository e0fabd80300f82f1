"""What goes wrong on the bus, with the real pump, the real functions and the embedded bus."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import runpy
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from functions import audit, encryption, replication, targets
from shared.base.buffers import Buffer
from shared.base.errors import Unavailable
from shared.base.events import Event, EventType, VersionData
from shared.base.partitions import OPERATOR
from shared.base.topology import load_topology
from shared.ports.blobs import BlobInfo, BlobStore, UploadGrant
from shared.ports.bus import Delivery, EventSource
from shared.ports.clock import Runtime
from shared.wiring.adapters import Adapters
from shared.wiring.embedded import embedded_adapters
from shared.wiring.services import Services
from shared.wiring.settings import Settings
from standalone.pump import MessagePump
from standalone.triggers import read_functions
from tests.support.app import BOOTSTRAP_SECRET, App, open_app
from tests.support.process import ROOT
from tests.support.timeline import Timeline
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

CONTENT = b"the content " * 1_000
LOCK_SECONDS = 60
REPLICATION = "replication"

# An app tells its functions once, so this is not the one that others import.
FUNCTIONS = read_functions(runpy.run_path(str(ROOT / "function_app.py"))["app"]).messages


class FaultyStore:
    """A blob store that can be told to fail, or to make writers wait."""

    def __init__(self, store: BlobStore, clock: Timeline) -> None:
        self._store = store
        self._clock = clock
        self.tried_at: list[datetime] = []
        self.failures = 0
        self.waiting = 0
        self.open = asyncio.Event()
        self.open.set()

    async def put(self, name: str, content: AsyncIterator[Buffer]) -> int:
        return await self._store.put(name, content)

    async def put_all(self, contents: Sequence[tuple[str, Buffer]]) -> None:
        await self._store.put_all(contents)

    def get(self, name: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        return self._store.get(name, start=start, end=end)

    async def get_all(self, wanted: Sequence[tuple[str, int]]) -> Sequence[bytes | None]:
        return await self._store.get_all(wanted)

    async def head(self, name: str) -> BlobInfo:
        return await self._store.head(name)

    def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        return self._store.list(prefix)

    async def delete(self, name: str) -> None:
        await self._store.delete(name)

    async def copy_from(self, source: BlobStore, source_name: str, name: str) -> int:
        self.tried_at.append(self._clock.now())
        if self.failures:
            self.failures -= 1
            raise Unavailable("The second region does not answer.")
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1
        return await self._store.copy_from(source, source_name, name)

    async def grant_upload(self, name: str, *, max_size: int, expires_at: datetime) -> UploadGrant:
        return await self._store.grant_upload(name, max_size=max_size, expires_at=expires_at)


class ForgetfulSource:
    """An event source that cannot be told of the first success with a message, so it comes again."""

    def __init__(self, source: EventSource) -> None:
        self._source = source
        self._seen: set[tuple[str, str]] = set()

    async def receive(
        self, subscription: str, *, limit: int = 1, wait_seconds: float = 0.0
    ) -> Sequence[Delivery]:
        return await self._source.receive(subscription, limit=limit, wait_seconds=wait_seconds)

    async def complete(self, delivery: Delivery) -> None:
        message = (delivery.subscription, delivery.message_id)
        if message not in self._seen:
            self._seen.add(message)
            raise Unavailable("The bus does not answer.")
        await self._source.complete(delivery)

    async def abandon(self, delivery: Delivery) -> None:
        await self._source.abandon(delivery)

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        await self._source.dead_letter(delivery, reason)

    async def renew(self, delivery: Delivery) -> Delivery:
        return await self._source.renew(delivery)


class Poison(Event):
    """A message that passes a subscription's filter and is not what it seems: its subject."""

    def to_json(self) -> bytes:
        return self.subject.encode()


@dataclass
class Story:
    """A app with a tenant, whose messages are pumped or not, as a test likes.

    Attributes:
        app: The app.
        clock: Its time.
        tenant: The tenant's id.
        auth: The header of its administrator's token.
        operator: The header of an operator's token.
        replica: The second region.
        caplog: Holds what the pump logged.
    """

    app: App
    clock: Timeline
    tenant: str
    auth: dict[str, str]
    operator: dict[str, str]
    replica: FaultyStore
    caplog: pytest.LogCaptureFixture

    @asynccontextmanager
    async def pumping(
        self, source: EventSource | None = None, concurrency: int = 8
    ) -> AsyncIterator[None]:
        """Let the functions have their messages."""
        stopping = asyncio.Event()
        pump = MessagePump(
            source or self.app.services.adapters.source,
            FUNCTIONS,
            clock=self.clock,
            concurrency=concurrency,
            grace_seconds=10,
            activity=self.app.services.adapters.activity,
            sleep=self.clock.sleep,
        )
        running = asyncio.create_task(pump.run(stopping))
        yield
        stopping.set()
        await running

    async def upload(self) -> str:
        """A document, whose event is on the bus."""
        answer = await self.app.upload(self.auth, CONTENT)
        assert answer.status_code == 201
        await self.app.services.outbox.close()
        return str(answer.json()["id"])

    async def publish(self, *events: Event) -> None:
        await self.app.services.adapters.bus.publish(events)

    def event(self, document: str, kind: EventType = EventType.DOCUMENT_SEALED) -> Event:
        return self.app.services.journal.event(kind, self.tenant, document, VersionData(version=1))

    async def put_back(self, *kinds: EventType) -> None:
        """Let the replication messages of these kinds come in this order, and before all others."""
        source = self.app.services.adapters.source
        taken = {
            Event.from_json(delivery.body).type: delivery
            for delivery in await source.receive(REPLICATION, limit=10)
        }
        for kind in kinds:
            await source.abandon(taken[kind])
            self.clock.advance(0.1)
        self.clock.advance(1)

    async def dead_letters(self, subscription: str = REPLICATION) -> list[dict[str, Any]]:
        """What the API lists."""
        answer = await self.app.http.get(
            f"dead-letters?subscription={subscription}", headers=self.operator
        )
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def replay(self, *message_ids: str) -> int:
        """What the API says it replayed."""
        answer = await self.app.http.post(
            "dead-letters/replay",
            headers=self.operator,
            json={"subscription": REPLICATION, "message_ids": message_ids},
        )
        assert answer.status_code == 200, answer.text
        return int(answer.json()["replayed"])

    def outcomes(self, function: str = REPLICATION) -> list[tuple[str, str, int]]:
        """Type, outcome and delivery count of each message that a function has handled."""
        return [
            (line["event_type"], line["outcome"], line["delivery_count"])
            for line in (record.__dict__ for record in self.caplog.records)
            if line["name"] == "standalone.pump" and line.get("function") == function
        ]

    async def document(self, document: str) -> dict[str, Any]:
        answer = await self.app.http.get(f"documents/{document}", headers=self.auth)
        found: dict[str, Any] = answer.json()
        return found

    async def actions(self, document: str) -> Counter[str]:
        return Counter(await self.app.actions(self.tenant, document))


@pytest.fixture
async def story(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Story]:
    caplog.set_level(logging.INFO, "standalone.pump")
    # A receive must notice that the test's own time has passed.
    monkeypatch.setattr("standalone.pump.RECEIVE_WAIT_SECONDS", 0.01)
    clock = Timeline()

    def with_faulty_replica(settings: Settings) -> Adapters:
        adapters = embedded_adapters(settings, load_topology(), Runtime(clock, os.urandom))
        return dataclasses.replace(adapters, replica=FaultyStore(adapters.replica, clock))

    async with open_app(tmp_path / "data", clock, make_adapters=with_faulty_replica) as app:

        async def services() -> Services:
            return app.services

        for function in (audit, encryption, replication, targets):
            monkeypatch.setattr(function, "ready_services", services)
        tenant = await app.tenant("acme")
        secret = {"username": "operator", "secret": BOOTSTRAP_SECRET}
        assert (await app.http.post("auth/bootstrap", json=secret)).status_code == 201
        replica = app.services.adapters.replica
        assert isinstance(replica, FaultyStore)
        auth = await app.auth(tenant)
        operator = await app.auth(OPERATOR, "operator")
        await app.settle()
        yield Story(app, clock, tenant, auth, operator, replica, caplog)


async def test_a_lock_that_is_lost_half_way_makes_one_replica(story: Story) -> None:
    document = await story.upload()
    story.replica.open.clear()
    async with story.pumping():
        await eventually(lambda: story.replica.waiting == 1)
        # The process stands still for longer than the lock; nobody renews it.
        story.clock.advance(LOCK_SECONDS + 1)
        await eventually(lambda: story.replica.waiting == 2)
        story.replica.open.set()
        await eventually(lambda: len(story.outcomes()) == 2)
    assert sorted(story.outcomes()) == [
        ("document.sealed", "completed", 2),
        ("document.sealed", "lock-lost", 1),
    ]
    assert (await story.document(document))["replicated"]
    assert len(story.app.stored("replica")) == 1
    assert (await story.actions(document))["document.replicate"] == 1


async def test_every_message_comes_twice_and_takes_effect_once(story: Story) -> None:
    app = story.app
    async with story.pumping(ForgetfulSource(app.services.adapters.source)):
        kept, deleted = await story.upload(), await story.upload()
        granted = await app.http.post(
            "uploads", headers=story.auth, json={"name": "staged.bin", "size": len(CONTENT)}
        )
        upload = granted.json()
        put = await app.http.put(upload["grant"]["url"], content=CONTENT)
        assert put.status_code == 201
        await app.http.post(f"uploads/{upload['id']}/complete", headers=story.auth)
        await app.erase(story.auth, deleted)
        await eventually(lambda: len(story.outcomes()) == 4)
        story.clock.advance(LOCK_SECONDS + 1)
        await eventually(lambda: len(story.outcomes()) == 8)
        await eventually(lambda: len(story.outcomes("encryption")) == 2)

    for outcome in ("unsettled", "completed"):
        count = 1 if outcome == "unsettled" else 2
        assert Counter(each for each in story.outcomes() if each[1] == outcome) == {
            ("document.sealed", outcome, count): 3,
            ("document.deleted", outcome, count): 1,
        }
        assert ("upload.completed", outcome, count) in story.outcomes("encryption")
    for document in (kept, upload["document"]):
        once = await story.actions(document)
        assert (once["document.create"], once["document.replicate"]) == (1, 1)
        assert (await story.document(document))["replicated"]
    assert (await story.actions(deleted))["document.delete"] == 1
    assert len(app.stored("primary")) == len(app.stored("replica")) == 2
    assert app.stored("staging") == []


async def test_a_deletion_that_comes_before_the_sealing(story: Story) -> None:
    document = await story.upload()
    await story.app.erase(story.auth, document)
    await story.app.services.outbox.close()
    await story.put_back(EventType.DOCUMENT_DELETED, EventType.DOCUMENT_SEALED)
    async with story.pumping(concurrency=1):
        await eventually(lambda: len(story.outcomes()) == 2)
    assert story.outcomes() == [
        ("document.deleted", "completed", 2),
        ("document.sealed", "completed", 2),
    ]
    assert story.app.stored("primary") == story.app.stored("replica") == []


async def test_damage_that_passed_comes_before_the_sealing(story: Story) -> None:
    document = await story.upload()
    [sealed] = story.app.stored("primary")
    content = sealed.read_bytes()
    sealed.unlink()
    answer = await story.app.http.get(f"documents/{document}/content", headers=story.auth)
    assert answer.status_code == 500
    sealed.write_bytes(content)
    await story.app.services.outbox.close()
    await story.put_back(EventType.DOCUMENT_DAMAGED, EventType.DOCUMENT_SEALED)
    async with story.pumping(concurrency=1):
        await eventually(lambda: len(story.outcomes()) == 2)
    assert [kind for kind, outcome, _ in story.outcomes() if outcome == "completed"] == [
        "document.damaged",
        "document.sealed",
    ]
    assert [path.read_bytes() for path in story.app.stored("replica")] == [sealed.read_bytes()]
    answer = await story.app.http.get(f"documents/{document}/content", headers=story.auth)
    assert answer.content == CONTENT


async def test_damage_before_there_is_a_replica_is_said_and_ends(story: Story) -> None:
    document = await story.upload()
    [sealed] = story.app.stored("primary")
    sealed.write_bytes(sealed.read_bytes()[:-1] + b"!")
    answer = await story.app.http.get(f"documents/{document}/content", headers=story.auth)
    assert answer.status_code == 500
    assert CONTENT[:12] not in answer.content
    await story.app.services.outbox.close()
    await story.put_back(EventType.DOCUMENT_DAMAGED, EventType.DOCUMENT_SEALED)
    async with story.pumping(concurrency=1):
        await eventually(lambda: len(story.outcomes()) == 2)
    assert {outcome for _, outcome, _ in story.outcomes()} == {"completed"}
    assert (await story.actions(document))["document.lost"] >= 1
    assert story.app.stored("replica") == []
    assert not (await story.document(document))["replicated"]


@pytest.mark.parametrize(
    "body",
    ["no event at all", "{}", json.dumps({"specversion": "1.0", "type": "document.exploded"})],
    ids=["text", "empty", "unknown type"],
)
async def test_a_poison_message_is_given_up_at_once_and_can_be_replayed(
    story: Story, body: str
) -> None:
    event = story.event("doc_" + "0" * 26)
    poison = Poison(
        event.id,
        event.type,
        event.environment,
        event.partition,
        body,
        event.time,
    )
    document = await story.upload()
    async with story.pumping():
        await story.publish(poison)
        await eventually(lambda: len(story.outcomes()) == 2)
        [letter] = await story.dead_letters()
        assert letter == {
            "message_id": event.id,
            "type": None,
            "tenant": None,
            "subject": None,
            "reason": "invalid-event",
            "delivery_count": 1,
            "dead_lettered_at": letter["dead_lettered_at"],
        }
        assert (await story.document(document))["replicated"]

        assert await story.replay(event.id) == 1
        await eventually(lambda: len(story.outcomes()) == 3)
        [again] = await story.dead_letters()
        assert again["message_id"] == event.id
    assert sorted(outcome for _, outcome, _ in story.outcomes()) == [
        "completed",
        "dead-lettered",
        "dead-lettered",
    ]


async def test_a_store_that_does_not_answer_is_asked_again_after_growing_pauses(
    story: Story,
) -> None:
    story.replica.failures = 3
    document = await story.upload()
    async with story.pumping():
        while len(story.outcomes()) < 4:
            await asyncio.sleep(0.02)
            story.clock.advance(0.25)
    assert story.outcomes() == [
        *(("document.sealed", "abandoned", tries) for tries in (1, 2, 3)),
        ("document.sealed", "completed", 4),
    ]
    pauses = [after - before for before, after in pairwise(story.replica.tried_at)]
    assert all(
        pause >= timedelta(seconds=wanted) for pause, wanted in zip(pauses, (1, 2, 4), strict=True)
    )
    assert (await story.document(document))["replicated"]
    assert len(story.app.stored("replica")) == 1
    assert (await story.actions(document))["document.replicate"] == 1


async def test_a_message_that_never_succeeds_is_given_up_listed_and_replayed(story: Story) -> None:
    limit = next(
        each.max_delivery_count
        for each in story.app.services.topology.subscriptions
        if each.name == REPLICATION
    )
    story.replica.failures = limit
    document = await story.upload()
    async with story.pumping():
        for tries in range(1, limit + 1):
            await eventually(lambda tries=tries: len(story.outcomes()) == tries)  # type: ignore[misc]
            story.clock.advance(LOCK_SECONDS * 10)
        [letter] = await story.dead_letters()
        assert letter["reason"] == "delivery-limit"
        assert letter["delivery_count"] == limit
        assert (letter["type"], letter["tenant"]) == ("document.sealed", story.tenant)
        assert letter["subject"] == document
        assert not (await story.document(document))["replicated"]

        assert await story.replay(letter["message_id"]) == 1
        assert await story.dead_letters() == []
        await eventually(lambda: len(story.outcomes()) == limit + 1)
    assert story.outcomes()[-1] == ("document.sealed", "completed", 1)
    assert (await story.document(document))["replicated"]
