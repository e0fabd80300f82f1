"""What a bus may do to a message, with the same story on both buses: the effect is one, and right."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from functions import replication
from shared.base.errors import Conflict, InvalidEvent
from shared.base.events import Event, EventType, VersionData
from shared.base.topology import load_topology
from shared.ports.bus import Delivery
from shared.ports.clock import Runtime
from shared.wiring.adapters import Adapters
from shared.wiring.embedded import embedded_adapters
from shared.wiring.services import Services
from shared.wiring.settings import Settings
from tests.support.app import App, open_app
from tests.support.clock import FakeClock
from tests.support.contract import azure, embedded
from tests.support.contract.harness import BusHarness

pytestmark = pytest.mark.anyio

REPLICATION = "replication"
LOCK_SECONDS = 60
BUSES: dict[str, Callable[[Path], AbstractAsyncContextManager[BusHarness]]] = {
    "azure": azure.bus,
    "embedded": embedded.bus,
}


@dataclass
class Message:
    """What a function gets of a message, as far as ours look."""

    delivery: Delivery

    def get_body(self) -> bytes:
        return self.delivery.body


@dataclass
class Story:
    """A app on one of the buses, whose messages the test hands to the functions itself."""

    app: App
    harness: BusHarness
    tenant: str
    auth: dict[str, str]

    async def upload(self) -> str:
        """A document, whose event is on the bus."""
        answer = await self.app.upload(self.auth, b"the content")
        assert answer.status_code == 201
        await self.app.services.outbox.close()
        return str(answer.json()["id"])

    async def receive(self, count: int = 1) -> list[Delivery]:
        """So many messages for the replication function."""
        received: list[Delivery] = []
        while len(received) < count:
            received += await self.harness.bus.receive(REPLICATION, wait_seconds=5)
        return received

    async def handle(self, delivery: Delivery) -> None:
        """Hand a message to the replication function."""
        await replication.replication(Message(delivery))

    async def actions(self, document: str) -> Counter[str]:
        return Counter(await self.app.actions(self.tenant, document))


@pytest.fixture(params=sorted(BUSES))
async def story(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Story]:
    async with BUSES[request.param](tmp_path) as harness:

        def on_this_bus(settings: Settings) -> Adapters:
            adapters = embedded_adapters(
                settings, load_topology(), Runtime(FakeClock(), os.urandom)
            )
            return dataclasses.replace(adapters, bus=harness.bus, source=harness.bus)

        async with open_app(tmp_path / "data", make_adapters=on_this_bus) as app:

            async def services() -> Services:
                return app.services

            monkeypatch.setattr(replication, "ready_services", services)
            tenant = await app.tenant("acme")
            yield Story(app, harness, tenant, await app.auth(tenant))


async def test_a_lock_that_is_lost_half_way_makes_one_replica(story: Story) -> None:
    document = await story.upload()
    [first] = await story.receive()
    await story.harness.advance(LOCK_SECONDS + 1)
    [second] = await story.receive()
    assert second.message_id == first.message_id
    await story.handle(first)
    with pytest.raises(Conflict):
        await story.harness.bus.complete(first)
    await story.handle(second)
    await story.harness.bus.complete(second)
    assert (await story.actions(document))["document.replicate"] == 1
    assert len(story.app.stored("replica")) == 1


async def test_a_message_that_comes_twice_takes_effect_once(story: Story) -> None:
    document = await story.upload()
    for _ in range(2):
        [delivery] = await story.receive()
        await story.handle(delivery)
        await story.harness.advance(LOCK_SECONDS + 1)
    assert (await story.actions(document))["document.replicate"] == 1
    assert len(story.app.stored("replica")) == 1


async def test_a_deletion_that_comes_before_the_sealing_leaves_nothing(story: Story) -> None:
    document = await story.upload()
    await story.app.erase(story.auth, document)
    await story.app.services.outbox.close()
    by_type = {Event.from_json(each.body).type: each for each in await story.receive(2)}
    for kind in (EventType.DOCUMENT_DELETED, EventType.DOCUMENT_SEALED):
        await story.handle(by_type[kind])
        await story.harness.bus.complete(by_type[kind])
    assert story.app.stored("primary") == story.app.stored("replica") == []


class Poison(Event):
    """A message that passes a subscription's filter and is not what it seems."""

    def to_json(self) -> bytes:
        return b"not an event"


async def test_a_poison_message_is_put_aside_and_the_next_one_handled(story: Story) -> None:
    made = story.app.services.journal.event(
        EventType.DOCUMENT_SEALED, story.tenant, "doc_" + "0" * 26, VersionData(version=1)
    )
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    await story.harness.bus.publish([Poison(**fields)])
    [poison] = await story.receive()
    with pytest.raises(InvalidEvent):
        await story.handle(poison)
    await story.harness.bus.dead_letter(poison, InvalidEvent.slug)
    document = await story.upload()
    [delivery] = await story.receive()
    await story.handle(delivery)
    await story.harness.bus.complete(delivery)
    assert (await story.actions(document))["document.replicate"] == 1
    [letter] = await story.harness.bus.dead_letters(REPLICATION)
    assert (letter.message_id, letter.reason) == (made.id, InvalidEvent.slug)
