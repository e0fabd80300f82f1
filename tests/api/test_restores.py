"""Restores over the API: a plan, a start, a pause; who may, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shared.base.partitions import OPERATOR
from tests.support.app import App, problem

pytestmark = pytest.mark.anyio


async def back_up(app: App) -> None:
    """Let what was committed come into a set."""
    await app.settle()
    app.clock.advance(240)
    await app.services.outbox.relay()
    await app.services.backups.timer.run()


async def plan(app: App, auth: dict[str, str], **body: Any) -> httpx.Response:
    """Plan a restore."""
    return await app.http.post("restores", json=body, headers=auth)


async def move(app: App, auth: dict[str, str], restore: str, what: str) -> httpx.Response:
    """Start or pause a restore."""
    return await app.http.post(f"restores/{restore}/{what}", headers=auth)


async def test_a_mistake_is_undone(app: App, alpha: str, auth: dict[str, str]) -> None:
    document = (await app.upload(auth, b"right")).json()
    await back_up(app)
    headers = auth | {
        "If-Match": document["etag"],
        "Content-Disposition": 'attachment; filename="paper.txt"',
    }
    path = f"documents/{document['id']}/content"
    assert (await app.http.put(path, content=b"wrong", headers=headers)).status_code == 200

    planned = await plan(app, auth, document=document["id"])
    assert planned.status_code == 201, planned.text
    assert planned.json()["plan"] | {"expected_seconds": 0} == {
        "documents": 1,
        "versions": 0,
        "bytes": 0,
        "skipped_newer": 1,
        "erased": 0,
        "expected_seconds": 0,
        "exact": True,
    }
    planned = await plan(app, auth, document=document["id"], overwrite=True)
    restore = planned.json()["id"]
    assert (planned.json()["state"], planned.json()["plan"]["versions"]) == ("planned", 1)
    assert (await app.http.get(path, headers=auth)).content == b"wrong"

    started = await move(app, auth, restore, "start")
    assert (started.status_code, started.json()["state"]) == (200, "running")
    await app.services.backups.restore_timer.run()
    ended = (await app.http.get(f"restores/{restore}", headers=auth)).json()
    assert (ended["state"], ended["progress"]["versions"], ended["problems"]) == ("done", 1, [])
    content = await app.http.get(path, headers=auth)
    assert content.content == b"right"
    assert content.headers["etag"] != f'"{document["etag"]}"'
    again = await move(app, auth, restore, "start")
    assert (again.status_code, problem(again)) == (409, "conflict")

    listed = (await app.http.get("restores", headers=auth)).json()["items"]
    assert sorted(item["state"] for item in listed) == ["done", "planned"]
    actions = await app.actions(alpha)
    assert sorted(each for each in actions if each.startswith("restore.")) == [
        *("restore.end", "restore.plan", "restore.plan"),
        *("restore.read", "restore.read", "restore.start"),
    ]
    assert "document.restore" in await app.actions(alpha, document["id"])


async def test_a_restore_is_paused_goes_on_and_is_cancelled(app: App, auth: dict[str, str]) -> None:
    await app.upload(auth, b"content")
    await back_up(app)
    restore = (await plan(app, auth)).json()["id"]
    refused = await move(app, auth, restore, "pause")
    assert (refused.status_code, problem(refused)) == (409, "conflict")
    for _ in range(2):
        app.clock.advance(1)
        assert (await move(app, auth, restore, "start")).json()["state"] == "running"
        assert (await move(app, auth, restore, "pause")).json()["state"] == "paused"
        await app.services.backups.restore_timer.run()
        found = (await app.http.get(f"restores/{restore}", headers=auth)).json()
        assert (found["state"], found["progress"]["documents"]) == ("paused", 0)
    assert (await app.http.delete(f"restores/{restore}", headers=auth)).status_code == 204
    for _ in range(2):
        gone = await move(app, auth, restore, "start")
        assert (gone.status_code, problem(gone)) == (409, "conflict")


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        ({"version": 1}, 400, "invalid-input"),
        ({"set": "set_" + "0" * 26}, 404, "not-found"),
        ({"set": "../../root.key"}, 400, "invalid-input"),
        ({"at": "2001-01-01T00:00:00Z"}, 404, "not-found"),
        ({"at": "2001-01-01T00:00:00"}, 400, "invalid-input"),
        ({"document": "doc_" + "0" * 26}, 404, "not-found"),
        ({"set": "set_" + "0" * 26, "at": "2026-01-01T00:00:00Z"}, 400, "invalid-input"),
        ({"tenant": "ten_" + "0" * 26}, 403, "forbidden"),
        ({"into": "ten_" + "0" * 26}, 403, "forbidden"),
        ({"everything": True}, 400, "invalid-input"),
        ({"tenant": "", "at": "\u00ae", "version": None}, 400, "invalid-input"),
        ({"version": 0, "document": "doc_" + "0" * 26}, 400, "invalid-input"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    app: App, auth: dict[str, str], body: dict[str, Any], status: int, slug: str
) -> None:
    await app.upload(auth, b"content")
    await back_up(app)
    answer = await plan(app, auth, **body)
    assert (answer.status_code, problem(answer)) == (status, slug), answer.text
    assert (await app.http.get("restores", headers=auth)).json()["items"] == []


async def test_nobody_restores_from_a_set_of_another_tenant(
    app: App, alpha: str, beta: str, auth: dict[str, str]
) -> None:
    document = (await app.upload(auth, b"of alpha's")).json()["id"]
    await back_up(app)
    theirs = await app.services.backups.reader.newest(alpha)
    stranger = await app.auth(beta)
    for body in ({"set": theirs}, {"tenant": alpha}, {"document": document}):
        answer = await plan(app, stranger, **body)
        assert answer.status_code in {403, 404}, answer.text
    restore = (await plan(app, auth)).json()["id"]
    for what in ("start", "pause"):
        assert (await move(app, stranger, restore, what)).status_code == 404
    assert (await app.http.get(f"restores/{restore}", headers=stranger)).status_code == 404


async def test_an_operator_copies_a_tenant_and_sees_nothing_of_it(
    app: App, alpha: str, beta: str, auth: dict[str, str]
) -> None:
    await app.upload(auth, b"of alpha's", name="secret name.txt")
    await back_up(app)
    operator = await app.auth(OPERATOR, "operator")
    planned = await plan(app, operator, tenant=alpha, into=beta)
    assert planned.status_code == 201, planned.text
    assert "secret name" not in planned.text
    app.clock.advance(1)
    await move(app, operator, planned.json()["id"], "start")
    await app.services.backups.restore_timer.run()
    [copy] = (await app.http.get("documents", headers=await app.auth(beta))).json()["items"]
    assert copy["name"] == "secret name.txt"
    for body in ({"tenant": OPERATOR}, {"tenant": alpha, "into": alpha}, {}):
        assert (await plan(app, operator, **body)).status_code == 400
    nobody = await plan(app, operator, tenant=alpha, into="ten_" + "0" * 26)
    assert (nobody.status_code, problem(nobody)) == (404, "not-found")
    officer = await plan(app, await app.auth(OPERATOR, "officer"), tenant=alpha)
    assert (officer.status_code, problem(officer)) == (403, "forbidden")
