"""Webhooks: what happens is pushed once, in order and signed, tried again, and to nobody else."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from shared.base.errors import Unavailable
from shared.base.partitions import OPERATOR
from shared.webhooks.models import MAX_WEBHOOKS, PAUSES
from tests.support.app import App, problem
from tests.support.records import find_records
from tests.support.webhooks import (
    URL,
    WEBHOOK,
    body,
    publish,
    push,
    pushed_entries,
    set_up,
    signed_by,
)

pytestmark = pytest.mark.anyio


async def status(app: App, auth: dict[str, str], webhook: str) -> dict[str, Any]:
    found: dict[str, Any] = (await app.http.get(f"webhooks/{webhook}", headers=auth)).json()
    return found


async def test_what_happens_is_pushed_once_in_order_and_signed(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    await app.upload(auth, b"before")
    await publish(app, alpha)
    _, secret = await set_up(app, auth)
    before = len(await app.entries(alpha))
    document = (await app.upload(auth, b"content")).json()["id"]
    for _ in range(3):
        await publish(app, alpha)
        await push(app)
    sent = app.collectors.sent
    assert sent
    assert {each.url for each in sent} == {URL}
    assert all(signed_by(secret, each) for each in sent)
    assert len({each.headers["webhook-id"] for each in sent}) == len(sent)
    positions = [each["position"] for each in pushed_entries(app)]
    assert positions == list(range(positions[0], positions[0] + len(positions)))
    assert 0 < positions[0] <= before, "from when it was set up"
    created = [
        each["entry"]
        for each in pushed_entries(app)
        if each["entry"]["action"] == "document.create"
    ]
    assert [entry["resource"] for entry in created] == [document]
    assert created[0]["address"] == "203.0.113.7", "opened"
    events = [body(each) for each in sent if body(each)["type"] == "document.created"]
    assert [event["data"]["document"] for event in events] == [document]
    assert set(events[0]["data"]) == {"document", "position", "entry", "version"}
    assert "paper.txt" not in json.dumps(events)


async def test_only_the_wanted_kinds_are_pushed(app: App, alpha: str, auth: dict[str, str]) -> None:
    await set_up(app, auth, kinds=["documents"])
    document = (await app.upload(auth, b"content")).json()["id"]
    for method, path in (
        *(("DELETE", ""), ("POST", "/recover"), ("PUT", "/hold")),
        *(("DELETE", ""), ("DELETE", "/hold")),  # the first of these is refused
    ):
        app.clock.advance(1)
        await app.http.request(method, f"documents/{document}{path}", headers=auth)
    app.clock.advance(1)
    await app.erase(auth, document)
    await publish(app, alpha)
    await push(app)
    types = [body(each)["type"] for each in app.collectors.sent]
    types = [each for each in types if each != "document.replicated"]
    assert types[:5] == [
        *("document.created", "document.trashed", "document.recovered", "document.held"),
        "document.released",
    ]
    # Of the same millisecond by this clock, which gives them no order.
    assert sorted(types[5:]) == ["document.deleted", "document.erased"]


async def test_nothing_is_skipped_and_retries_are_the_same_message(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    webhook, _ = await set_up(app, auth)
    await app.upload(auth, b"content")
    await publish(app, alpha)
    app.collectors.answers[URL] = [204, 500, Unavailable("The host refused the connection.")]
    await push(app)
    assert len(app.collectors.sent) == 2, "it rests after a failure"
    found = await status(app, auth, webhook)
    assert (found["state"], found["attempts"]) == ("active", 1)
    assert found["last_error"] == "The collector responded with the status 500."
    await app.upload(auth, b"more")
    await publish(app, alpha)
    await push(app, 1)
    await push(app, 9)
    found = await status(app, auth, webhook)
    assert (found["attempts"], found["last_error"]) == (2, "The host refused the connection.")
    await push(app, 200)
    assert len(app.collectors.sent) == 3, "five minutes"
    await push(app, 200)
    first, second, *again = [
        (each.headers["webhook-id"], each.body) for each in app.collectors.sent
    ]
    assert again[:2] == [second, second]
    assert first not in again, "what was taken is not sent again"
    positions = [each["position"] for each in pushed_entries(app)]
    assert positions == list(range(positions[0], positions[0] + len(positions)))
    found = await status(app, auth, webhook)
    assert (found["attempts"], found["failing_since"]) == (0, None)
    assert found["last_success_at"]


async def test_after_all_retries_it_is_paused_and_an_administrator_resumes_it(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    webhook, _ = await set_up(app, auth)
    await publish(app, alpha)
    app.collectors.answers[URL] = [503] * (len(PAUSES) + 1)
    await push(app)
    for rest in PAUSES:
        await push(app, rest.total_seconds() + 2)
    assert len(app.collectors.sent) == len(PAUSES) + 1
    assert sum(PAUSES, timedelta()) < timedelta(hours=77)
    auth = await app.auth(alpha)
    found = await status(app, auth, webhook)
    assert (found["state"], found["next_at"]) == ("failed", None)
    await publish(app, alpha)
    [entry] = [
        each["entry"]
        for each in await app.entries(alpha, webhook)
        if each["entry"]["action"] == "webhook.fail"
    ]
    assert entry["actor"]["kind"] == "system"
    assert entry["details"] == {"state": "failed", "attempts": 10, "status": 503}
    await push(app, 86_400)
    assert len(app.collectors.sent) == len(PAUSES) + 1
    auth = await app.auth(alpha)
    answer = await app.http.patch(f"webhooks/{webhook}", json={"paused": False}, headers=auth)
    assert (answer.json()["state"], answer.json()["attempts"]) == ("active", 0)
    await push(app)
    positions = [each["position"] for each in pushed_entries(app)]
    assert len(positions) > len(PAUSES) + 1
    assert "webhook.fail" in {each["entry"]["action"] for each in pushed_entries(app)}


async def test_a_collector_that_is_gone_disables_its_webhook(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    webhook, _ = await set_up(app, auth)
    await publish(app, alpha)
    app.collectors.answers[URL] = [410]
    await push(app)
    await push(app)
    assert len(app.collectors.sent) == 1
    assert (await status(app, auth, webhook))["state"] == "disabled"


async def test_a_secret_is_shown_once_and_is_nowhere_in_clear(
    app: App, alpha: str, auth: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    headers = auth | {"Idempotency-Key": "b5c9a1d2-6dbb-4a3c-b0f7-6ff0f0a3c3f1"}
    first = await app.http.post("webhooks", json=WEBHOOK, headers=headers)
    secret = first.json()["secret"]
    webhook = first.json()["webhook"]["id"]
    again = await app.http.post("webhooks", json=WEBHOOK, headers=headers)
    assert again.status_code == 201
    assert again.json() == first.json() | {"secret": None}
    assert again.headers["etag"] == first.headers["etag"]
    other = await app.http.post("webhooks", json=WEBHOOK | {"name": "x"}, headers=headers)
    assert (other.status_code, problem(other)) == (422, "idempotency-key-reused")
    app.collectors.answers[URL] = [500]
    await publish(app, alpha)
    await push(app)
    texts = [(await app.http.get("webhooks", headers=auth)).text, caplog.text]
    texts += [json.dumps(await status(app, auth, webhook)), json.dumps(await app.entries(alpha))]
    raw = secret.removeprefix("whsec_")
    for text in texts:
        assert raw not in text
    records = json.dumps([each.body for each in find_records(app.data, tenant=alpha)])
    assert records
    for text in (records, caplog.text, json.dumps(await app.entries(alpha))):
        assert raw not in text
        assert "zebra" not in text, "URLs hold secrets, too"


async def test_a_rotated_secret_and_the_one_before_sign_for_a_day(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    webhook, first = await set_up(app, auth)
    answer = await app.http.post(f"webhooks/{webhook}/secret", headers=auth)
    second = answer.json()["secret"]
    assert second != first
    await app.http.post(f"webhooks/{webhook}/probe", headers=auth)
    assert signed_by(first, app.collectors.sent[-1])
    assert signed_by(second, app.collectors.sent[-1])
    app.clock.advance(86_400)
    auth = await app.auth(alpha)
    await app.http.post(f"webhooks/{webhook}/probe", headers=auth)
    assert not signed_by(first, app.collectors.sent[-1])
    assert signed_by(second, app.collectors.sent[-1])


async def test_a_probe_says_what_the_collector_responds(app: App, auth: dict[str, str]) -> None:
    webhook, secret = await set_up(app, auth)
    app.collectors.answers[URL] = [204, 302, Unavailable("The host is not at a public address.")]
    found = [
        (await app.http.post(f"webhooks/{webhook}/probe", headers=auth)).json() for _ in range(3)
    ]
    assert found[0] == {"taken": True, "status": 204, "detail": ""}
    assert (found[1]["taken"], found[1]["status"]) == (False, 302)
    assert found[2]["detail"] == "The host is not at a public address."
    assert body(app.collectors.sent[0])["type"] == "webhook.probe"
    assert signed_by(secret, app.collectors.sent[0])
    limited = [
        (await app.http.post(f"webhooks/{webhook}/probe", headers=auth)).status_code
        for _ in range(8)
    ]
    assert limited[-1] == 429


async def test_a_replay_sends_again_from_a_position_or_a_time(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    webhook, _ = await set_up(app, auth)
    await publish(app, alpha)
    await push(app)
    since = app.clock.now()
    await app.upload(auth, b"content")
    await publish(app, alpha)
    await push(app)
    sent = len(app.collectors.sent)
    for start in ({"position": 3}, {"since": since.isoformat()}):
        answer = await app.http.post(f"webhooks/{webhook}/replay", json=start, headers=auth)
        assert answer.status_code == 200, answer.text
        app.collectors.sent.clear()
        await push(app)
        first = pushed_entries(app)[0]
        if "position" in start:
            assert first["position"] == 3
        else:
            assert first["entry"]["time"] >= since.isoformat().replace("+00:00", "Z")
            assert 0 < len(app.collectors.sent) <= sent
    for invalid in ({}, {"position": 10**9}, {"position": 1, "since": since.isoformat()}):
        answer = await app.http.post(f"webhooks/{webhook}/replay", json=invalid, headers=auth)
        assert (answer.status_code, problem(answer)) == (400, "invalid-input"), invalid


async def test_a_webhook_is_changed_under_its_entity_tag(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    webhook, secret = await set_up(app, auth)
    got = await app.http.get(f"webhooks/{webhook}", headers=auth)
    tagged = auth | {"If-Match": got.headers["etag"]}
    elsewhere = "https://collector.example/elsewhere"
    for change, codes in (
        ({"paused": True}, (200, 412)),
        ({"url": elsewhere, "paused": False}, (200, 412)),
    ):
        got = await app.http.get(f"webhooks/{webhook}", headers=auth)
        tagged = auth | {"If-Match": got.headers["etag"]}
        answers = [
            await app.http.patch(f"webhooks/{webhook}", json=change, headers=tagged)
            for _ in range(2)
        ]
        assert tuple(answer.status_code for answer in answers) == codes
    await publish(app, alpha)
    await push(app)
    assert {each.url for each in app.collectors.sent} == {elsewhere}
    assert all(signed_by(secret, each) for each in app.collectors.sent)


@pytest.mark.parametrize(
    "url",
    [
        "http://collector.example/",
        "https://user:password@collector.example/",
        "https://collector.example/#fragment",
        "https://collector.example:8443/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/metadata",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://collector.example\\@127.0.0.1/",
        "https://collector.example/\r\nX: y",
        "https://bücher.example/",
        "ftp://collector.example/",
        "https://",
        "https://collector.example/" + "x" * 2_100,
    ],
)
async def test_urls_that_cannot_be_a_collectors_are_refused(
    app: App, auth: dict[str, str], url: str
) -> None:
    answer = await app.http.post("webhooks", json=WEBHOOK | {"url": url}, headers=auth)
    assert (answer.status_code, problem(answer)) == (400, "invalid-input")
    webhook, _ = await set_up(app, auth)
    answer = await app.http.patch(f"webhooks/{webhook}", json={"url": url}, headers=auth)
    assert (answer.status_code, problem(answer)) == (400, "invalid-input")


async def test_there_are_so_many_and_no_more(app: App, auth: dict[str, str]) -> None:
    answers = await asyncio.gather(
        *(app.http.post("webhooks", json=WEBHOOK, headers=auth) for _ in range(MAX_WEBHOOKS + 3))
    )
    assert max(answer.status_code for answer in answers) in {409, 503}
    for _ in range(MAX_WEBHOOKS):
        last = await app.http.post("webhooks", json=WEBHOOK, headers=auth)
    assert (last.status_code, problem(last)) == (409, "conflict")
    items = (await app.http.get("webhooks", headers=auth)).json()["items"]
    assert len(items) == MAX_WEBHOOKS
    deleted = await app.http.delete(f"webhooks/{items[0]['id']}", headers=auth)
    assert deleted.status_code == 204
    assert (await app.http.post("webhooks", json=WEBHOOK, headers=auth)).status_code == 201


async def test_a_deleted_webhook_gets_nothing(app: App, alpha: str, auth: dict[str, str]) -> None:
    webhook, _ = await set_up(app, auth)
    await publish(app, alpha)
    assert (await app.http.delete(f"webhooks/{webhook}", headers=auth)).status_code == 204
    await push(app)
    assert app.collectors.sent == []
    assert (await app.http.get(f"webhooks/{webhook}", headers=auth)).status_code == 404
    assert not list(find_records(app.data, "webhook-status", tenant=alpha))


async def test_each_tenant_gets_its_own(
    app: App, alpha: str, beta: str, auth: dict[str, str]
) -> None:
    theirs = await app.auth(beta)
    webhook, _ = await set_up(app, auth)
    other = "https://other.example/"
    await set_up(app, theirs, url=other)
    for tenant in (alpha, beta):
        await publish(app, tenant)
    await push(app)
    for each in app.collectors.sent:
        for entry in body(each)["data"].get("entries", ()):
            assert entry["entry"]["tenant"] == (beta if each.url == other else alpha)
    for method, path in (*(("GET", ""), ("DELETE", ""), ("POST", "/secret"), ("POST", "/probe")),):
        answer = await app.http.request(method, f"webhooks/{webhook}{path}", headers=theirs)
        assert (answer.status_code, problem(answer)) == (404, "not-found"), path


async def test_only_administrators_manage_webhooks(app: App, alpha: str) -> None:
    for tenant, username in ((alpha, "member"), (OPERATOR, "operator"), (OPERATOR, "officer")):
        auth = await app.auth(tenant, username)
        answer = await app.http.get("webhooks", headers=auth)
        assert (answer.status_code, problem(answer)) == (403, "forbidden"), username


async def test_one_failing_webhook_holds_up_no_other(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    await set_up(app, auth)
    other = "https://other.example/"
    await set_up(app, auth, url=other)
    app.collectors.answers[URL] = [500] * 50
    await publish(app, alpha)
    await push(app)
    assert [each for each in app.collectors.sent if each.url == other]


async def test_pushing_does_not_make_the_log_grow(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    await set_up(app, auth)
    for _ in range(4):
        await publish(app, alpha)
        await push(app)
    before = len(await app.entries(alpha))
    sent = len(app.collectors.sent)
    for _ in range(4):
        await publish(app, alpha)
        await push(app)
    assert (len(await app.entries(alpha)), len(app.collectors.sent)) == (before, sent)


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ("turns", Unavailable("The store does not respond.")),
        ("turns", ValueError("zebra")),
        ("store", Unavailable("The store does not respond.")),
    ],
)
async def test_a_turn_that_fails_is_taken_again(
    app: App,
    alpha: str,
    auth: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    part: str,
    error: Exception,
) -> None:
    await set_up(app, auth)
    await publish(app, alpha)
    timer = app.services.webhooks.timer
    of = type(timer.turns if part == "turns" else timer.store)
    name = "take" if part == "turns" else "of_tenant"

    async def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(of, name, fail)
        await push(app)
    assert app.collectors.sent == []
    assert "webhook.turn-failed" in caplog.text
    assert "zebra" not in caplog.text
    await push(app)
    assert app.collectors.sent
