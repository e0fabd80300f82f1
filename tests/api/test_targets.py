"""Targets over the API: set up, shown without secrets, changed, probed, deleted, copied to."""

from __future__ import annotations

import json
import logging
from typing import Any

import httpx
import pyrage
import pytest

from shared.access.permissions import Permission
from shared.base.errors import Forbidden, Unavailable
from tests.api.test_secrets import forms
from tests.support.app import TARGET, App, Opened, problem

pytestmark = pytest.mark.anyio

HOLDERS = [pyrage.x25519.Identity.generate() for _ in range(2)]
RECIPIENTS = [str(holder.to_public()) for holder in HOLDERS]
RECOVERY = {"recipients": RECIPIENTS, "quorum": 1}
STEPS = ["resolve", "connect", "tls", "write", "read", "delete"]
CONTENT = b"what has to survive us"


async def create(
    app: App, auth: dict[str, str], *, status: int = 201, **change: Any
) -> httpx.Response:
    answer = await app.http.post("targets", json=TARGET | change, headers=auth)
    assert answer.status_code == status, answer.text
    return answer


async def copied(app: App) -> set[str]:
    """What the target holds, once the timer has run."""
    await app.settle()
    app.clock.advance(120)
    await app.services.target_timer.run()
    await app.settle()
    return {info.name for _, info in app.targets.buckets["copies"].values()}


async def shown(app: App, auth: dict[str, str], target: str) -> dict[str, Any]:
    answer = await app.http.get(f"targets/{target}", headers=auth)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_target_is_probed_set_up_and_shown_without_its_credentials(
    app: App, auth: dict[str, str]
) -> None:
    answer = await create(app, auth, recovery=RECOVERY)
    body = answer.json()
    target = body["target"]
    assert body["steps"] == [{"step": step, "ok": True, "detail": ""} for step in STEPS]
    assert answer.headers["location"].endswith(f"/api/v1/targets/{target['id']}")
    assert target == {
        "id": target["id"],
        "name": "Our own storage",
        "state": "active",
        "address": TARGET["address"]
        | {"prefix": "", "endpoint": "", "account": "", "bucket_in_host": False},
        "recovery": {"recipients": RECIPIENTS, "quorum": 1, "holders": 2},
        "bytes_per_second": 0,
        "created_at": "2026-01-01T00:00:00Z",
        "lag": {"waiting": 0, "since": None, "seconds": 0},
        "earlier_documents": False,
        "last_success_at": None,
        "last_error": None,
        "last_error_at": None,
        "failing_since": None,
    }
    assert await shown(app, auth, target["id"]) == target
    listed = (await app.http.get("targets", headers=auth)).json()
    assert listed == {"items": [target], "damaged": []}


async def test_documents_of_before_and_after_are_copied_and_erased(
    app: App, auth: dict[str, str]
) -> None:
    before = (await app.upload(auth, CONTENT)).json()["id"]
    await app.settle()
    target = (await create(app, auth, recovery=RECOVERY)).json()["target"]["id"]
    after = (await app.upload(auth, CONTENT)).json()["id"]
    names = await copied(app)
    for document in (before, after):
        assert len([name for name in names if f"/{document}/" in name]) == 2
    found = await shown(app, auth, target)
    assert found["earlier_documents"]
    assert found["lag"]["waiting"] == 0
    assert found["last_success_at"] is not None
    erased = await app.http.delete(f"documents/{after}?erase=true", headers=auth)
    assert erased.status_code == 200, erased.text
    names = await copied(app)
    assert not [name for name in names if after in name]


async def test_what_waits_is_shown_with_its_age(app: App, auth: dict[str, str]) -> None:
    target = (await create(app, auth)).json()["target"]["id"]
    await copied(app)
    app.targets.outages["copies"]["connect"] = Unavailable("The target does not respond.")
    await app.upload(auth, CONTENT)
    await copied(app)
    app.clock.advance(3_480)
    found = await shown(app, auth, target)
    assert (found["lag"]["waiting"], found["lag"]["seconds"]) == (1, 3_600)
    assert (found["state"], found["last_error"]) == ("active", "unavailable")
    assert found["failing_since"] is not None


@pytest.mark.parametrize("step", STEPS)
async def test_a_probe_that_fails_is_a_problem_with_its_steps(
    app: App, auth: dict[str, str], alpha: str, step: str
) -> None:
    detail = "The credentials do not allow this; grant it."
    app.targets.outages["copies"] = {step: Forbidden(detail)}  # type: ignore[dict-item]
    answer = await create(app, auth, status=422)
    assert problem(answer) == "target-unusable"
    steps = answer.json()["steps"]
    assert [each["step"] for each in steps] == STEPS[: STEPS.index(step) + 1]
    assert steps[-1] == {"step": step, "ok": False, "detail": detail}
    assert (await app.http.get("targets", headers=auth)).json() == {"items": [], "damaged": []}
    refused = [
        (body["entry"]["action"], body["entry"]["outcome"], body["entry"]["reason"])
        for body in await app.entries(alpha)
        if body["entry"]["reason"]
    ]
    assert refused == [("target.create", "refused", "target-unusable")]


async def test_a_target_is_probed_again_on_demand(app: App, auth: dict[str, str]) -> None:
    target = (await create(app, auth)).json()["target"]["id"]
    probed = await app.http.post(f"targets/{target}/probe", headers=auth)
    assert [step["step"] for step in probed.json()["steps"]] == STEPS
    app.targets.outages["copies"]["write"] = Forbidden("Grant write.")
    probed = await app.http.post(f"targets/{target}/probe", headers=auth)
    assert problem(probed) == "target-unusable"
    app.targets.outages["copies"].clear()
    app.targets.buckets["copies"].clear()
    probed = await app.http.post(f"targets/{target}/probe", headers=auth)
    assert (probed.status_code, problem(probed)) == (409, "target-changed")


async def test_a_target_is_renamed_paused_limited_and_given_new_credentials(
    app: App, auth: dict[str, str]
) -> None:
    created = await create(app, auth)
    path = f"targets/{created.json()['target']['id']}"
    for change, shows in (
        ({"name": "Frankfurt"}, {"name": "Frankfurt"}),
        ({"paused": True}, {"state": "paused"}),
        ({"paused": False}, {"state": "active"}),
        ({"bytes_per_second": 100_000_000}, {"bytes_per_second": 100_000_000}),
        ({"bytes_per_second": 0}, {"bytes_per_second": 0}),
        ({"credentials": {"access_key_id": "B", "secret_access_key": "C"}}, {}),
    ):
        answer = await app.http.patch(path, json=change, headers=auth)
        assert answer.status_code == 200, answer.text
        assert answer.json()["target"].items() >= shows.items()
        assert bool(answer.json()["steps"]) == ("credentials" in change)
    stale = {"If-Match": created.headers["etag"]}
    answer = await app.http.patch(path, json={"name": "x"}, headers=auth | stale)
    assert problem(answer) == "precondition-failed"
    current = {"If-Match": (await app.http.get(path, headers=auth)).headers["etag"]}
    answer = await app.http.patch(path, json={"name": "x"}, headers=auth | current)
    assert answer.status_code == 200
    for wrong in (
        {},
        {"bytes_per_second": 1},
        {"state": "active"},
        {"name": "a\nb"},
        {"name": "a\u202e"},
    ):
        answer = await app.http.patch(path, json=wrong, headers=auth)
        assert problem(answer) == "invalid-input", wrong


async def test_deleting_leaves_the_copies_and_says_so(app: App, auth: dict[str, str]) -> None:
    target = (await create(app, auth)).json()["target"]["id"]
    await app.upload(auth, CONTENT)
    names = await copied(app)
    answer = await app.http.delete(f"targets/{target}", headers=auth)
    assert answer.json() == {"id": target, "copies_left": True}
    assert await copied(app) == names
    answer = await app.http.get(f"targets/{target}", headers=auth)
    assert problem(answer) == "not-found"
    answer = await app.http.post("targets", json=TARGET, headers=auth)
    assert problem(answer) == "conflict"
    assert "strongroom.json" in answer.json()["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "\u200b"},
        {"name": "\u0958" * 64},
        {"address": {"kind": "ftp", "bucket": "copies"}},
        {"address": {"kind": "s3", "bucket": "copies", "endpoint": "http://127.0.0.1"}},
        {"address": {"kind": "s3", "bucket": "copies", "endpoint": "https://169.254.169.254"}},
        {"credentials": {}},
        {"credentials": {"password": "zebra-7719"}},
        {"recovery": {"recipients": []}},
        {"recovery": {"recipients": ["zebra-7719"]}},
        {"recovery": {"recipients": [str(HOLDERS[0])]}},
        {"recovery": {"recipients": RECIPIENTS, "quorum": 3}},
        {"recovery": {"recipients": [RECIPIENTS[0], RECIPIENTS[0].upper()]}},
        {"bytes_per_second": 1},
        {"bytes_per_second": -1},
    ],
)
async def test_what_cannot_be_a_target_is_refused_without_being_repeated(
    app: App, auth: dict[str, str], change: dict[str, Any]
) -> None:
    answer = await create(app, auth, status=400, **change)
    assert problem(answer) == "invalid-input"
    for secret in ("zebra-7719", str(HOLDERS[0]), "a secret access key"):
        assert secret not in answer.text


async def test_probing_is_limited(app: App, auth: dict[str, str]) -> None:
    target = (await create(app, auth)).json()["target"]["id"]
    for _ in range(9):
        answer = await app.http.post(f"targets/{target}/probe", headers=auth)
        assert answer.status_code == 200
    for request in (
        app.http.post(f"targets/{target}/probe", headers=auth),
        app.http.post("targets", json=TARGET, headers=auth),
        app.http.patch(
            f"targets/{target}", json={"credentials": TARGET["credentials"]}, headers=auth
        ),
    ):
        assert problem(await request) == "rate-limited"
    answer = await app.http.patch(f"targets/{target}", json={"name": "x"}, headers=auth)
    assert answer.status_code == 200


async def test_a_tenant_sees_and_changes_its_own_targets_alone(
    app: App, auth: dict[str, str], beta: str
) -> None:
    mine = (await create(app, auth)).json()["target"]["id"]
    theirs = await app.auth(beta)
    assert (await app.http.get("targets", headers=theirs)).json() == {"items": [], "damaged": []}
    for request in (
        app.http.get(f"targets/{mine}", headers=theirs),
        app.http.patch(f"targets/{mine}", json={"paused": True}, headers=theirs),
        app.http.post(f"targets/{mine}/probe", headers=theirs),
        app.http.delete(f"targets/{mine}", headers=theirs),
    ):
        assert problem(await request) == "not-found"
    # The place is the first tenant's, whoever has credentials for it.
    answer = await app.http.post("targets", json=TARGET, headers=theirs)
    assert problem(answer) == "conflict"
    await app.upload(theirs, b"another tenant's")
    assert await copied(app) == {"strongroom.json"}


async def test_members_and_readers_neither_see_nor_change_targets(
    app: App, auth: dict[str, str], alpha: str
) -> None:
    mine = (await create(app, auth)).json()["target"]["id"]
    for role in ("member", "reader"):
        headers = await app.auth(alpha, role)
        answer = await app.http.get(f"targets/{mine}", headers=headers)
        assert problem(answer) == "forbidden"
        assert Permission.TARGETS_READ.value in answer.json()["detail"]
        answer = await app.http.delete(f"targets/{mine}", headers=headers)
        assert problem(answer) == "forbidden"


async def test_everything_is_in_the_audit_log(app: App, auth: dict[str, str], alpha: str) -> None:
    target = (await create(app, auth)).json()["target"]["id"]
    await copied(app)
    document = (await app.upload(auth, CONTENT)).json()["id"]
    await copied(app)
    path = f"targets/{target}"
    await app.http.get(path, headers=auth)
    await app.http.get("targets", headers=auth)
    await app.http.patch(path, json={"name": "x", "paused": True}, headers=auth)
    await app.http.post(f"{path}/probe", headers=auth)
    await app.http.delete(path, headers=auth)
    await app.settle()
    details = {
        body["entry"]["action"]: body["entry"]["details"]
        for body in await app.entries(alpha, target)
    }
    assert details == {
        "target.create": {"kind": "s3", "quorum": 0, "holders": 0},
        "target.read": {},
        "target.change": {"changed": ["name", "paused"]},
        "target.probe": {},
        "target.delete": {},
    }
    assert "target.list" in await app.actions(alpha)
    (copy,) = [
        body["entry"]
        for body in await app.entries(alpha, document)
        if body["entry"]["action"] == "target.copy"
    ]
    assert copy["details"] == {"target": target, "version": 1, "size": len(CONTENT)}
    assert copy["actor"] == {"kind": "system", "id": ""}
    everything = json.dumps(await app.entries(alpha))
    assert "copies" not in everything
    assert "Our own storage" not in everything


async def test_credentials_are_written_and_said_nowhere(
    opened: Opened, alpha: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {
        "access key": "AKIAZEBRA7719EXAMPLE",
        "secret": "zebra/7719+secret access key",
        "new secret": "giraffe/4242+secret access key",
        "malformed": "leopard-1313-secret",
    }
    credentials = {
        "access_key_id": secrets["access key"],
        "secret_access_key": secrets["secret"],
    }
    answers: list[httpx.Response] = []
    async with opened() as app:
        auth = await app.auth(alpha)

        async def ask(method: str, path: str, **request: Any) -> httpx.Response:
            answers.append(await app.http.request(method, path, headers=auth, **request))
            return answers[-1]

        body = TARGET | {"credentials": credentials, "recovery": RECOVERY}
        target = (await ask("POST", "targets", json=body)).json()["target"]["id"]
        await ask("POST", "targets", json=body)  # the address is taken
        await ask("POST", "targets", json=body | {"credentials": {"key": secrets["malformed"]}})
        await ask(
            "POST",
            "targets",
            json=body | {"credentials": {"account_key": secrets["malformed"]}},
        )
        renewed = credentials | {"secret_access_key": secrets["new secret"]}
        await ask("PATCH", f"targets/{target}", json={"credentials": renewed})
        await ask("GET", f"targets/{target}")
        await ask("GET", "targets")
        await app.upload(auth, CONTENT)
        app.targets.outages["copies"]["write"] = Forbidden("The credentials do not allow this.")
        await copied(app)
        await ask("POST", f"targets/{target}/probe")
        app.targets.outages["copies"].clear()
        await ask("POST", f"targets/{target}/probe")
        await copied(app)
        await ask("GET", "audit?limit=200")
        assert app.targets.opened[-1][0].secret_access_key is not None
        used = app.targets.opened[-1][0].secret_access_key.get_secret_value()
        assert used == secrets["new secret"]
        open_bytes = b"".join(p.read_bytes() for p in app.data.rglob("*") if p.is_file())
        at_target = b"".join(content for content, _ in app.targets.buckets["copies"].values())
        await ask("DELETE", f"targets/{target}")
    closed = b"".join(path.read_bytes() for path in app.data.rglob("*") if path.is_file())
    logged = "\n".join(
        f"{record.getMessage()} {record.args} {record.exc_text or ''} {record.__dict__}"
        for record in caplog.records
        if record.name.split(".")[0] not in {"httpx", "httpcore"}
    ).encode()
    assert b"target.unavailable" in logged
    places = {
        "data": open_bytes,
        "data after closing": closed,
        "log": logged,
        "target": at_target,
        "answers": b"".join(answer.content for answer in answers),
    }
    assert target.encode() in open_bytes
    found = [
        (name, place)
        for name, secret in secrets.items()
        for form in forms(secret.encode())
        for place, content in places.items()
        if form in content
    ]
    assert found == []
