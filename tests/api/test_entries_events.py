"""Which audit entries an event makes: for each subscription and type exactly these, once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from shared.base.errors import Unavailable
from shared.base.events import Event, EventData, EventType, ReleasedData, VersionData
from shared.handlers import AUDIT, ENCRYPTION, REPLICATION, TARGETS
from standalone.demo.objects import StoredObject
from tests.support.app import TARGET, App
from tests.support.damage import flip
from tests.support.entries import Fact, Recorder, in_order, system
from tests.support.uploads import begin, complete, put

pytestmark = pytest.mark.anyio

CONTENT = b"what is kept"
SIZE = len(CONTENT)


@dataclass
class World:
    """A tenant, and an event that is about to be delivered."""

    app: App
    tenant: str
    auth: dict[str, str]
    patch: pytest.MonkeyPatch
    recorder: Recorder

    def event(self, kind: EventType, subject: str, data: EventData | None = None) -> Event:
        return self.app.services.journal.event(kind, self.tenant, subject, data)

    async def document(self, *, settled: bool = True) -> str:
        """A document, with its replica if settled."""
        document: str = (await self.app.upload(self.auth, CONTENT)).json()["id"]
        if settled:
            await self.app.settle()
        return document

    async def completed(self, **changes: Any) -> dict[str, Any]:
        """An upload that waits to be sealed."""
        upload = await begin(self.app, self.auth, size=SIZE, **changes)
        assert (await put(self.app, upload, CONTENT)).status_code == 201
        assert (await complete(self.app, self.auth, upload)).status_code == 202
        return upload

    async def copies(self, document: str) -> tuple[StoredObject, StoredObject]:
        """Its primary copy and its replica."""
        version = await self.app.version(self.tenant, document)
        return (
            self.app.object("primary", version.object),
            self.app.object("replica", version.replica),
        )


@dataclass(frozen=True)
class Effect:
    """An event and the entries that it makes; it cannot take effect yet where there is an error."""

    event: Event
    facts: Sequence[Fact] = ()
    error: type[Exception] | None = None


Scenario = Callable[[World], Awaitable[Effect]]
SCENARIOS: dict[tuple[str, EventType], list[Scenario]] = {}


def delivered(subscription: str, kind: EventType) -> Callable[[Scenario], Scenario]:
    """Add a scenario to the table."""

    def add(scenario: Scenario) -> Scenario:
        SCENARIOS.setdefault((subscription, kind), []).append(scenario)
        return scenario

    return add


def failed_upload(reason: str) -> Fact:
    return Fact("upload.fail", "new upl", {}, outcome="failed", reason=reason)


@delivered(ENCRYPTION, EventType.UPLOAD_COMPLETED)
async def completed_content_becomes_its_document(world: World) -> Effect:
    upload = await world.completed()
    created = Fact("document.create", "new doc", {"version": 1, "size": SIZE})
    return Effect(world.event(EventType.UPLOAD_COMPLETED, upload["id"]), [created])


@delivered(ENCRYPTION, EventType.UPLOAD_COMPLETED)
async def content_with_another_digest_fails(world: World) -> Effect:
    upload = await world.completed(repr_digest=f"sha-256=:{'A' * 43}=:")
    event = world.event(EventType.UPLOAD_COMPLETED, upload["id"])
    return Effect(event, [failed_upload("digest-mismatch")])


@delivered(ENCRYPTION, EventType.UPLOAD_COMPLETED)
async def content_that_is_missing_fails(world: World) -> Effect:
    upload = await world.completed()
    [staged] = world.app.stored("staging")
    staged.unlink()
    event = world.event(EventType.UPLOAD_COMPLETED, upload["id"])
    return Effect(event, [failed_upload("not-found")])


@delivered(ENCRYPTION, EventType.UPLOAD_COMPLETED)
async def an_upload_that_was_cancelled_stays_so(world: World) -> Effect:
    upload = await begin(world.app, world.auth, size=SIZE)
    await world.app.http.delete(f"uploads/{upload['id']}", headers=world.auth)
    return Effect(world.event(EventType.UPLOAD_COMPLETED, upload["id"]))


@delivered(REPLICATION, EventType.DOCUMENT_SEALED)
async def a_version_is_replicated(world: World) -> Effect:
    document = await world.document(settled=False)
    event = world.event(EventType.DOCUMENT_SEALED, document, VersionData(version=1))
    made = system("document.replicate", "new doc", version=1, copy="replica", size=SIZE)
    return Effect(event, [made])


@delivered(REPLICATION, EventType.DOCUMENT_SEALED)
async def a_version_cannot_be_replicated_yet(world: World) -> Effect:
    document = await world.document(settled=False)

    async def down(*_: object) -> None:
        raise Unavailable("The store does not respond.")

    world.patch.setattr(type(world.app.services.adapters.replica), "copy_from", down)
    event = world.event(EventType.DOCUMENT_SEALED, document, VersionData(version=1))
    return Effect(event, error=Unavailable)


@delivered(REPLICATION, EventType.DOCUMENT_DAMAGED)
async def a_damaged_replica_is_repaired(world: World) -> Effect:
    document = await world.document()
    flip(-1)((await world.copies(document))[1])
    event = world.event(EventType.DOCUMENT_DAMAGED, document, VersionData(version=1))
    made = system("document.repair", "new doc", version=1, copy="replica", size=SIZE)
    return Effect(event, [made])


@delivered(REPLICATION, EventType.DOCUMENT_DAMAGED)
async def a_version_without_a_good_copy_is_lost(world: World) -> Effect:
    document = await world.document()
    for copy in await world.copies(document):
        flip(-1)(copy)
    event = world.event(EventType.DOCUMENT_DAMAGED, document, VersionData(version=1))
    lost = system("document.lost", "new doc", failed="damaged", version=1)
    # It is told again with each report: nothing else can be done about it.
    return Effect(event, [lost])


@delivered(REPLICATION, EventType.DOCUMENT_DAMAGED)
async def good_copies_stay(world: World) -> Effect:
    document = await world.document()
    return Effect(world.event(EventType.DOCUMENT_DAMAGED, document, VersionData(version=1)))


@delivered(REPLICATION, EventType.DOCUMENT_REPAIRED)
async def a_replaced_object_is_erased(world: World) -> Effect:
    document = await world.document()
    released = ReleasedData(replicas=(f"{world.tenant}/2026-01-01-00/{document}.1.{'0' * 16}",))
    event = world.event(EventType.DOCUMENT_REPAIRED, document, released)
    return Effect(event, [system("document.erase", "new doc", objects=0, replicas=1)])


@delivered(REPLICATION, EventType.DOCUMENT_DELETED)
async def objects_of_an_erased_document_are_erased(world: World) -> Effect:
    document = await world.document()
    version = await world.app.version(world.tenant, document)
    assert version.replica is not None
    await world.app.erase(world.auth, document)
    released = ReleasedData(objects=(version.object,), replicas=(version.replica,))
    event = world.event(EventType.DOCUMENT_DELETED, document, released)
    return Effect(event, [system("document.erase", "new doc", objects=1, replicas=1)])


@delivered(TARGETS, EventType.DOCUMENT_SEALED)
async def a_version_waits_for_its_targets(world: World) -> Effect:
    """The entry is made when it has been copied."""
    await world.app.http.post("targets", json=TARGET, headers=world.auth)
    document = await world.document(settled=False)
    return Effect(world.event(EventType.DOCUMENT_SEALED, document, VersionData(version=1)))


@delivered(TARGETS, EventType.DOCUMENT_DELETED)
async def an_erasure_waits_for_its_targets(world: World) -> Effect:
    await world.app.http.post("targets", json=TARGET, headers=world.auth)
    document = await world.document()
    await world.app.erase(world.auth, document)
    return Effect(world.event(EventType.DOCUMENT_DELETED, document, ReleasedData()))


async def waiting_entries_are_appended(world: World) -> Effect:
    """Entries move, and none is made."""
    document = await world.document(settled=False)
    assert None in [body["position"] for body in await world.app.entries(world.tenant, document)]
    return Effect(world.event(EventType.AUDIT_RECORDED, document))


for each in EventType:
    delivered(AUDIT, each)(waiting_entries_are_appended)


async def test_every_event_type_of_every_subscription_has_a_row(app: App) -> None:
    table = app.services.handlers.table
    assert set(SCENARIOS) == {(name, kind) for name, kinds in table.items() for kind in kinds}


@pytest.mark.parametrize(
    ("subscription", "scenario"),
    [
        pytest.param(subscription, scenario, id=f"{subscription}-{kind}-{scenario.__name__}")
        for (subscription, kind), scenarios in SCENARIOS.items()
        for scenario in scenarios
    ],
)
async def test_an_event_makes_exactly_these_entries_once(
    app: App,
    alpha: str,
    auth: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    subscription: str,
    scenario: Scenario,
) -> None:
    world = World(app, alpha, auth, monkeypatch, Recorder(app, {}))
    effect = await scenario(world)
    world.recorder.new()
    if effect.error is None:
        await app.services.handlers.handle(subscription, effect.event.to_json())
    else:
        with pytest.raises(effect.error):
            await app.services.handlers.handle(subscription, effect.event.to_json())
    assert world.recorder.new() == in_order(effect.facts)
    if effect.error is None:
        await app.services.handlers.handle(subscription, effect.event.to_json())
        again = [fact for fact in effect.facts if fact.action == "document.lost"]
        assert world.recorder.new() == again
