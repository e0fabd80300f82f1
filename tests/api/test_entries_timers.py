"""Which audit entries a timer makes: for each of ``functions.schedules`` exactly these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from azure.functions.decorators.function_app import FunctionBuilder

from functions import schedules
from shared.base.errors import Unavailable
from shared.base.partitions import OPERATOR
from shared.targets.health import FAILING_AFTER
from tests.support.app import TARGET, App, grant_request
from tests.support.attestation import announce, name_witness
from tests.support.damage import flip
from tests.support.entries import Fact, Recorder, in_order, system
from tests.support.uploads import begin
from tests.support.webhooks import WEBHOOK
from tests.support.witnesses import MemoryWitness

pytestmark = pytest.mark.anyio

CONTENT = b"what is kept"
SIZE = len(CONTENT)
DAY = timedelta(days=1)


@dataclass
class World:
    """A tenant, and what a timer will find."""

    app: App
    tenant: str
    auth: dict[str, str]
    patch: pytest.MonkeyPatch

    async def document(self) -> str:
        document: str = (await self.app.upload(self.auth, CONTENT)).json()["id"]
        await self.app.settle()
        return document

    def after(self, time: timedelta) -> None:
        self.app.clock.advance(time.total_seconds())

    async def back_up(self) -> str:
        """A backup set; its id."""
        self.after(timedelta(minutes=4))
        await self.app.services.outbox.relay()
        await self.app.services.backups.timer.run()
        return await self.app.services.backups.reader.newest(self.tenant)

    async def post(self, path: str, body: Any = None) -> Any:
        """The response to the administrator, who may need a new token by now."""
        auth = await self.app.auth(self.tenant)
        answer = await self.app.http.post(path, json=body, headers=auth)
        assert answer.is_success, answer.text
        return answer.json()


Scenario = Callable[[World], Awaitable[Sequence[Fact]]]
SCENARIOS: dict[str, list[Scenario]] = {}


def timer(name: str) -> Callable[[Scenario], Scenario]:
    """Add a scenario to the table."""

    def add(scenario: Scenario) -> Scenario:
        SCENARIOS.setdefault(name, []).append(scenario)
        return scenario

    return add


OTHERS = ("beta", "operator")


def verified(made: str, objects: int, *, opened: int, findings: int = 0) -> Fact:
    counted: dict[str, Any] = {
        "objects": objects,
        "versions": 1,
        "opened": opened,
        "findings": findings,
    }
    return system("backup.verify", "new ver", set=made, bytes="some", **counted)


def restored(**counts: int) -> Fact:
    """The end of a restore, in the name of who started it."""
    counted = dict.fromkeys(("documents", "restored", "versions", "records", "problems"), 0)
    return Fact("restore.end", "new rst", {"set": "new set", **counted, **counts})


def drilled(log: str, versions: int, *, failed: str = "", problems: int = 0) -> Fact:
    counted: dict[str, Any] = {"versions": versions, "differences": 0, "problems": problems}
    counted |= {"set": "new set", "recovery_seconds": 0, "recovery_point_seconds": 0}
    return system("restore.drill", "new drl", log=log, failed=failed, **counted)


@timer("outbox_relay")
async def what_was_not_published_is(world: World) -> Sequence[Fact]:
    """Its cause has its entry."""
    await world.app.upload(world.auth, CONTENT)
    world.after(timedelta(minutes=5))
    return ()


@timer("upload_sweep")
async def a_grant_has_expired(world: World) -> Sequence[Fact]:
    await begin(world.app, world.auth)
    world.after(2 * DAY)
    return [system("upload.expire", "new upl")]


@timer("trash")
async def the_time_in_the_trash_is_over(world: World) -> Sequence[Fact]:
    document = await world.document()
    await world.app.http.delete(f"documents/{document}", headers=world.auth)
    world.after(31 * DAY)
    return [system("document.delete", "new doc", versions=1)]


@timer("trash")
async def what_is_held_stays(world: World) -> Sequence[Fact]:
    document = await world.document()
    await world.app.http.delete(f"documents/{document}", headers=world.auth)
    await world.app.http.put(f"documents/{document}/hold", headers=world.auth)
    world.after(31 * DAY)
    return ()


@timer("target_copies")
async def a_version_waits_for_a_target(world: World) -> Sequence[Fact]:
    await world.post("targets", TARGET)
    world.after(timedelta(minutes=2))
    await world.app.services.target_timer.run()  # there are no earlier documents
    await world.document()
    world.after(timedelta(minutes=2))
    return [system("target.copy", "new doc", target="new tgt", version=1, size=SIZE)]


@timer("target_copies")
async def an_erasure_waits_for_a_target(world: World) -> Sequence[Fact]:
    await world.post("targets", TARGET)
    document = await world.document()
    world.after(timedelta(minutes=2))
    await world.app.services.target_timer.run()
    await world.app.erase(world.auth, document)
    await world.app.settle()
    world.after(timedelta(minutes=2))
    return [system("target.erase", "new doc", target="new tgt", objects=1)]


@timer("target_copies")
async def a_target_fails_for_long(world: World) -> Sequence[Fact]:
    await world.post("targets", TARGET)
    await world.document()
    world.app.targets.outages["copies"] = {"connect": Unavailable("It does not respond.")}
    world.after(timedelta(minutes=2))
    await world.app.services.target_timer.run()
    world.after(FAILING_AFTER + DAY)
    return [system("target.fail", "new tgt", failed="unavailable")]


@timer("token_key_rotation")
async def the_token_key_is_old(world: World) -> Sequence[Fact]:
    world.after(2 * DAY)
    return [system("key.rotate", "new key", log="operator")]


@timer("tenant_key_rotation")
async def tenant_keys_are_old(world: World) -> Sequence[Fact]:
    await world.document()
    world.after(366 * DAY)
    return [
        *(
            fact
            for log in ("alpha", "beta")
            for fact in (
                system("key.rewrap", "new int", log=log, epochs=1),
                system("key.rotate", "new int", log=log, key_version="random", replaces="new int"),
                system("key.delete", "new int", log=log, intermediate_keys=["new int"]),
            )
        ),
    ]


@timer("access_reviews")
async def a_quarter_is_over(world: World) -> Sequence[Fact]:
    await world.app.services.reviews.timer.run()  # puts all tenants on the agenda
    world.after(91 * DAY)
    return [system("review.open", "new rev", log=log, kind="full") for log in ("alpha", *OTHERS)]


@timer("access_reviews")
async def nobody_decided_for_a_fortnight(world: World) -> Sequence[Fact]:
    await world.post("reviews")
    await world.app.services.reviews.timer.run()
    world.after(14 * DAY)
    return [
        system("review.suspend", "new rev", user="new usr", role=role)
        for role in ("member", "reader")
    ]


@timer("access_reviews")
async def nobody_decided_for_two(world: World) -> Sequence[Fact]:
    await world.post("reviews")
    await world.app.services.reviews.timer.run()
    world.after(14 * DAY)
    await world.app.services.reviews.timer.run()
    world.after(14 * DAY)
    return [
        *(
            system("review.lapse", "new rev", user="new usr", role=role, disabled=1)
            for role in ("member", "reader")
        ),
        system(
            "review.finish",
            "new rev",
            sha256="random",
            items=3,
            confirmed=0,
            revoked=0,
            lapsed=2,
            obsolete=0,
            overdue=1,
        ),
        system("key.create", "new epo"),
    ]


@timer("backup")
async def something_changed(world: World) -> Sequence[Fact]:
    await world.document()
    world.after(timedelta(minutes=4))
    await world.app.services.outbox.relay()
    made: dict[str, Any] = {"sequence": 1, "kind": "yearly", "sha256": "random"}
    return [
        system("backup.create", "new set", **made, versions=1),
        *(system("backup.create", "new set", log=log, **made, versions=0) for log in OTHERS),
        system("key.create", "new int", log="operator"),
    ]


@timer("audit_checkpoint")
async def a_log_has_grown(world: World) -> Sequence[Fact]:
    await world.document()
    world.after(timedelta(minutes=2))
    return [system("key.create", "new key", log="operator")]


@timer("audit_monitor")
async def a_log_is_what_was_signed(world: World) -> Sequence[Fact]:
    await world.document()
    world.after(timedelta(minutes=2))
    await world.app.services.audit.checkpoints.run()
    world.after(timedelta(hours=2))
    # What its rules remember is sealed under the keys of whose log it is.
    return [system("key.create", f"new {kind}", log="operator") for kind in ("int", "epo")]


@timer("grant_expiry")
async def a_grant_and_a_request_are_over(world: World) -> Sequence[Fact]:
    """A copy of each entry follows in the tenant's log."""
    await world.app.grant(world.tenant, await world.document())
    request = grant_request(world.tenant, "doc_" + "0" * 26)
    auth = await world.app.auth(OPERATOR, "support")
    assert (await world.app.http.post("staff-grants", json=request, headers=auth)).is_success
    world.after(DAY)
    facts = {"tenant": "new ten", "reason_code": "customer-initiated", "scope": "documents"}
    more: dict[str, Any] = {"depth": "content", "operations": ["read"], "seconds": 3_600}
    over = system("grant.expire", "new grt", log="operator", **facts, **more)
    return [over, over]


@timer("grant_expiry")
async def a_grant_that_was_given_back_is_not_over_again(world: World) -> Sequence[Fact]:
    grant = await world.app.grant(world.tenant, await world.document())
    auth = await world.app.auth(OPERATOR, "support")
    assert (await world.app.http.delete(f"staff-grants/{grant}", headers=auth)).is_success
    world.after(DAY)
    return ()


@timer("audit_attestation")
async def what_a_witness_cosigns_is_no_entry(world: World) -> Sequence[Fact]:
    """The log would never come to rest: each entry makes a checkpoint, which is cosigned."""
    name_witness(world.app, MemoryWitness())
    await world.document()
    await announce(world.app, world.tenant)
    world.after(timedelta(minutes=2))
    await world.app.services.audit.checkpoints.run()
    return ()


@timer("webhooks")
async def what_is_pushed_is_no_entry(world: World) -> Sequence[Fact]:
    await world.post("webhooks", WEBHOOK)
    await world.document()
    world.after(timedelta(minutes=2))
    await world.app.services.audit.checkpoints.run()
    world.after(timedelta(minutes=2))
    return ()


@timer("audit_key_rotation")
async def the_key_of_checkpoints_is_old(world: World) -> Sequence[Fact]:
    await world.app.services.audit.keys.rotate()  # makes the first
    world.after(366 * DAY)
    return [system("key.rotate", "new key", log="operator")]


@timer("backup_verification")
async def a_verification_was_asked_for(world: World) -> Sequence[Fact]:
    await world.document()
    made = await world.back_up()
    await world.post("backups/verifications", {"set": made})
    return [verified("new set", 9, opened=1), verified("", 12, opened=1)]


@timer("backup_verification")
async def an_object_of_a_set_is_damaged(world: World) -> Sequence[Fact]:
    await world.document()
    made = await world.back_up()
    await world.post("backups/verifications", {"set": made})
    [pack] = (world.app.data / "backup" / "sets" / world.tenant / "packs").glob("*=")
    pack.chmod(0o600)
    flip(-1)(pack)
    named: dict[str, Any] = {"kind": "content", "object": "new doc.000001"}
    return [
        system("backup.finding", "new ver", failed="damaged", **named),
        verified("new set", 9, opened=1, findings=1),
        verified("", 10, opened=1),
    ]


@timer("restore")
async def a_restore_was_started(world: World) -> Sequence[Fact]:
    await world.document()
    made = await world.back_up()
    restore = await world.post("restores", {"set": made})
    await world.post(f"restores/{restore['id']}/start")
    return [restored(documents=1)]


@timer("restore")
async def a_version_is_brought_back(world: World) -> Sequence[Fact]:
    document = await world.document()
    made = await world.back_up()
    etag = await world.app.etag(world.auth, document)
    headers = world.auth | {"If-Match": etag, "Content-Disposition": 'attachment; filename="a"'}
    path = f"documents/{document}/content"
    await world.app.http.put(path, content=b"newer", headers=headers)
    wanted = {"set": made, "document": document, "version": 1, "overwrite": True}
    restore = await world.post("restores", wanted)
    await world.post(f"restores/{restore['id']}/start")
    end = restored(documents=1, restored=1, versions=1)
    return [Fact("document.restore", "new doc", {"set": "new set", "versions": 1}), end]


@timer("restore_drill")
async def a_drill_is_due(world: World) -> Sequence[Fact]:
    await world.document()
    await world.back_up()
    world.after(31 * DAY)
    return [drilled("alpha", 1), *(drilled(log, 0) for log in OTHERS)]


@timer("restore_drill")
async def a_drill_finds_damage(world: World) -> Sequence[Fact]:
    await world.document()
    await world.back_up()
    [pack] = (world.app.data / "backup" / "sets" / world.tenant / "packs").glob("*=")
    pack.chmod(0o600)
    flip(-1)(pack)
    world.after(31 * DAY)
    return [
        drilled("alpha", 0, failed="damaged", problems=1),
        *(drilled(log, 0) for log in OTHERS),
    ]


def timers() -> dict[str, FunctionBuilder]:
    return {
        name: each for name, each in vars(schedules).items() if isinstance(each, FunctionBuilder)
    }


def test_every_timer_has_a_row() -> None:
    assert set(SCENARIOS) == set(timers())


@pytest.mark.parametrize(
    ("name", "scenario"),
    [
        pytest.param(name, scenario, id=f"{name}-{scenario.__name__}")
        for name, scenarios in SCENARIOS.items()
        for scenario in scenarios
    ],
)
async def test_a_timer_makes_exactly_these_entries(
    app: App,
    alpha: str,
    auth: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    scenario: Scenario,
) -> None:
    async def ready() -> Any:
        return app.services

    monkeypatch.setattr(schedules, "ready_services", ready)
    run = timers()[name]._function.get_user_function()
    recorder = Recorder(app, {})
    facts = await scenario(World(app, alpha, auth, monkeypatch))
    recorder.new()
    await run(None)
    found = recorder.new()
    assert found == in_order(facts), "\n".join(map(repr, found))
    await run(None)
    assert recorder.new() == []
