"""Staged uploads: granted, put, completed, sealed; refused, cancelled, expired, swept."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from functions.api.floods import LOGGED_PER_MINUTE
from functions.api.response_headers import digest_header
from shared.base.errors import Conflict
from shared.base.events import Event, EventType
from shared.base.partitions import OPERATOR, Partition
from shared.documents.naming import hour_prefix, sweep_due
from shared.documents.timing import GRANT_LIFETIME
from tests.support.app import App, Opened, problem
from tests.support.uploads import CONTENT, NEW, begin, complete, put

pytestmark = pytest.mark.anyio


async def state(app: App, auth: dict[str, str], upload: dict[str, Any]) -> dict[str, Any]:
    answer = await app.http.get(f"uploads/{upload['id']}", headers=auth)
    view: dict[str, Any] = answer.json()
    return view


async def test_the_whole_story(app: App, alpha: str, auth: dict[str, str]) -> None:
    digest = digest_header(hashlib.sha256(CONTENT).digest())
    upload = await begin(app, auth, repr_digest=digest)
    assert (upload["state"], upload["failure"]) == ("granted", None)
    taken = await put(app, upload)
    assert (taken.status_code, taken.content) == (201, b"")
    assert (await state(app, auth, upload))["grant"] is None, "an address is shown once"
    answer = await complete(app, auth, upload)
    assert (answer.status_code, answer.json()["state"]) == (202, "completed")
    document = upload["document"]
    assert (await app.http.get(f"documents/{document}", headers=auth)).status_code == 404
    await app.settle()
    assert (await state(app, auth, upload))["state"] == "sealed"
    view = (await app.http.get(f"documents/{document}", headers=auth)).json()
    assert (view["name"], view["metadata"], view["size"]) == (
        NEW["name"],
        NEW["metadata"],
        len(CONTENT),
    )
    assert view["repr_digest"] == digest
    assert view["replicated"] is True
    answer = await app.http.get(f"documents/{document}/content", headers=auth)
    assert answer.content == CONTENT
    assert app.stored("staging") == []
    assert sorted(await app.actions(alpha, upload["id"])) == [
        "upload.complete",
        "upload.create",
        "upload.read",
        "upload.read",
        "upload.receive",
    ]
    again = await complete(app, auth, upload)
    assert (again.status_code, again.json()["state"]) == (202, "sealed")
    await app.settle()
    assert len(app.stored("primary")) == 1


async def test_a_grant_is_for_one_object_one_size_and_once(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    upload, other = await begin(app, auth), await begin(app, auth)
    url = upload["grant"]["url"]
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    address = f"{parts.scheme}://{parts.netloc}{parts.path}"
    elsewhere = urlsplit(other["grant"]["url"]).path
    bad: list[tuple[str, dict[str, str]]] = [
        (address, {}),
        (address, query | {"max": str(10**9)}),
        (address, query | {"expires": "99999999999"}),
        (address, query | {"signature": query["signature"][:-1]}),
        (address, query | {"signature": ""}),
        (address, query | {"signature": "ü"}),
        (address, query | {"max": "-1"}),
        (f"{parts.scheme}://{parts.netloc}{elsewhere}", query),
        (address + "x", query),
        (f"{parts.scheme}://{parts.netloc}/staged/../root.key", query),
        (f"{parts.scheme}://{parts.netloc}/staged/%2e%2e/root.key", query),
    ]
    for target, parameters in bad:
        answer = await app.http.put(target, params=parameters, content=CONTENT)
        assert answer.status_code in {400, 401, 404}, target
    assert app.stored("staging") == []
    assert (await put(app, upload, CONTENT + b"x")).status_code == 413

    async def chunks() -> AsyncIterator[bytes]:
        yield CONTENT
        yield b"x"

    answer = await app.http.put(url, content=chunks())
    assert (answer.status_code, problem(answer)) == (413, "too-large")
    assert app.stored("staging") == []
    assert (await put(app, upload)).status_code == 201
    answer = await put(app, upload, CONTENT[::-1])
    assert (answer.status_code, problem(answer)) == (409, "conflict")
    refused = [
        body["entry"]["reason"]
        for body in await app.entries(alpha, upload["id"])
        if body["entry"]["outcome"] == "refused"
    ]
    assert sorted(refused) == ["conflict", "too-large", "too-large"]
    await complete(app, auth, upload)
    await app.settle()
    answer = await app.http.get(f"documents/{upload['document']}/content", headers=auth)
    assert answer.content == CONTENT


@pytest.mark.parametrize("arrived", [b"", CONTENT[:-1]])
async def test_a_content_that_was_cut_on_its_way_is_not_completed(
    app: App, alpha: str, auth: dict[str, str], arrived: bytes
) -> None:
    upload = await begin(app, auth)

    async def cut() -> AsyncIterator[bytes]:
        yield arrived

    # A storage service takes it, as it knows no size.
    stored = await app.services.uploads.store.upload(alpha, upload["id"])
    await app.services.adapters.staging.put(stored.value.object, cut())
    answer = await complete(app, auth, upload)
    assert (answer.status_code, problem(answer)) == (409, "conflict")
    assert f"{len(arrived)} bytes, not {len(CONTENT)}" in answer.json()["detail"]
    assert (await state(app, auth, upload))["state"] == "granted"
    assert app.stored("staging") == [], "its URL takes the whole now"
    assert (await put(app, upload)).status_code == 201
    assert (await complete(app, auth, upload)).status_code == 202


@pytest.mark.parametrize("arrived", [b"", CONTENT[:-1]])
async def test_less_content_than_granted_is_refused_and_can_be_sent_again(
    app: App, alpha: str, auth: dict[str, str], arrived: bytes
) -> None:
    upload = await begin(app, auth)
    answer = await put(app, upload, arrived)
    assert (answer.status_code, problem(answer)) == (400, "invalid-input")
    assert app.stored("staging") == []
    assert (await put(app, upload)).status_code == 201
    assert (await complete(app, auth, upload)).status_code == 202
    entries = [body["entry"] for body in await app.entries(alpha, upload["id"])]
    received = [each for each in entries if each["action"] == "upload.receive"]
    assert sorted(each["reason"] for each in received) == ["", "invalid-input"]


async def test_the_same_content_may_come_again_after_its_response_was_lost(
    app: App, auth: dict[str, str]
) -> None:
    upload = await begin(app, auth)
    answers = await asyncio.gather(*(put(app, upload) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {201}
    assert (await put(app, upload)).status_code == 201
    answer = await put(app, upload, CONTENT[::-1])
    assert (answer.status_code, problem(answer)) == (409, "conflict")
    assert len(app.stored("staging")) == 1
    await complete(app, auth, upload)
    assert problem(await put(app, upload)) == "conflict"
    await app.settle()
    answer = await app.http.get(f"documents/{upload['document']}/content", headers=auth)
    assert answer.content == CONTENT


async def test_a_staged_content_is_never_a_part(app: App, auth: dict[str, str]) -> None:
    upload = await begin(app, auth)
    part = {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT) * 2}"}
    answer = await app.http.put(upload["grant"]["url"], content=CONTENT, headers=part)
    assert (answer.status_code, problem(answer)) == (400, "invalid-input")
    assert answer.json()["errors"][0]["field"] == "header.Content-Range"
    assert app.stored("staging") == []


async def test_a_staged_content_is_checked_against_its_digests(
    app: App, auth: dict[str, str]
) -> None:
    upload = await begin(app, auth)
    url = upload["grant"]["url"]
    for wrong, status in (
        ({"Content-MD5": base64.b64encode(bytes(16)).decode()}, 422),
        ({"Content-Digest": digest_header(bytes(32))}, 422),
        ({"x-ms-content-crc64": "AAAAAAAAAAA="}, 400),
        ({"Content-Encoding": "gzip"}, 415),
    ):
        answer = await app.http.put(url, content=CONTENT, headers=wrong)
        assert answer.status_code == status, (wrong, answer.text)
        assert app.stored("staging") == []
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).digest()
    right = {"Content-MD5": base64.b64encode(md5).decode()}
    assert (await app.http.put(url, content=CONTENT, headers=right)).status_code == 201


@pytest.mark.parametrize(("content", "state_after"), [(CONTENT, "sealed"), (b"", "failed")])
async def test_a_staged_upload_is_checked_against_sha_512(
    app: App, auth: dict[str, str], content: bytes, state_after: str
) -> None:
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    upload = await begin(app, auth, repr_digest=f"sha-512=:{digest}:")
    await put(app, upload)
    await complete(app, auth, upload)
    await app.settle()
    assert (await state(app, auth, upload))["state"] == state_after


async def test_a_flood_without_a_grant_is_one_entry(app: App, auth: dict[str, str]) -> None:
    url = (await begin(app, auth))["grant"]["url"].replace("signature=", "signature=x")
    for _ in range(LOGGED_PER_MINUTE + 10):
        assert (await app.http.put(url, content=b"x")).status_code == 401
    actions = await app.actions(OPERATOR)
    assert actions.count("upload.receive") == LOGGED_PER_MINUTE + 1
    app.clock.advance(60)
    await app.http.get("health")
    assert (await app.actions(OPERATOR)).count("requests.refused") == 1


async def test_a_grant_takes_nothing_more_once_its_upload_has_ended(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    sealed, cancelled = await begin(app, auth), await begin(app, auth)
    await put(app, sealed)
    await complete(app, auth, sealed)
    assert problem(await put(app, sealed, b"other")) == "conflict"
    await app.settle()
    await app.http.delete(f"uploads/{cancelled['id']}", headers=auth)
    for upload in (sealed, cancelled):
        answer = await put(app, upload, b"other")
        assert (answer.status_code, problem(answer)) == (409, "conflict")
        reasons = [body["entry"]["reason"] for body in await app.entries(alpha, upload["id"])]
        assert "conflict" in reasons
    assert app.stored("staging") == []


async def test_a_grant_expires(app: App, alpha: str, auth: dict[str, str]) -> None:
    upload = await begin(app, auth)
    app.clock.advance(3600)
    answer = await put(app, upload)
    assert (answer.status_code, problem(answer)) == (401, "token-expired")
    refused = [
        body["entry"]["reason"]
        for body in await app.entries(alpha, upload["id"])
        if body["entry"]["outcome"] == "refused"
    ]
    assert refused == ["token-expired"], "in the log of the tenant whose upload it was"
    assert app.stored("staging") == []


async def test_completing_before_the_content_is_there(app: App, auth: dict[str, str]) -> None:
    upload = await begin(app, auth)
    answer = await complete(app, auth, upload)
    assert (answer.status_code, problem(answer)) == (409, "conflict")
    assert (await put(app, upload)).status_code == 201
    assert (await complete(app, auth, upload)).status_code == 202


async def test_completing_twice_is_completing_once(app: App, auth: dict[str, str]) -> None:
    upload = await begin(app, auth)
    await put(app, upload)
    answers = await asyncio.gather(*(complete(app, auth, upload) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert (await complete(app, auth, upload)).status_code == 202
    await app.settle()
    assert len(app.stored("primary")) == 1
    assert (await state(app, auth, upload))["state"] == "sealed"


async def test_a_wrong_digest_fails_the_upload(app: App, alpha: str, auth: dict[str, str]) -> None:
    upload = await begin(app, auth, repr_digest=digest_header(hashlib.sha256(b"").digest()))
    await put(app, upload)
    await complete(app, auth, upload)
    await app.settle()
    view = await state(app, auth, upload)
    assert (view["state"], view["failure"]) == ("failed", "digest-mismatch")
    assert app.stored("staging") == app.stored("primary") == []
    path = f"documents/{upload['document']}"
    assert (await app.http.get(path, headers=auth)).status_code == 404
    failed = next(
        body["entry"]
        for body in await app.entries(alpha, upload["id"])
        if body["entry"]["action"] == "upload.fail"
    )
    assert (failed["outcome"], failed["reason"]) == ("failed", "digest-mismatch")
    assert (await complete(app, auth, upload)).status_code == 409


async def test_a_staged_content_that_is_gone_fails_the_upload(
    app: App, auth: dict[str, str]
) -> None:
    upload = await begin(app, auth)
    await put(app, upload)
    await complete(app, auth, upload)
    app.stored("staging")[0].unlink()
    await app.settle()
    view = await state(app, auth, upload)
    assert (view["state"], view["failure"]) == ("failed", "not-found")


async def test_a_staged_content_that_is_damaged_fails_the_upload(
    app: App, auth: dict[str, str]
) -> None:
    upload = await begin(app, auth)
    await put(app, upload)
    await complete(app, auth, upload)
    staged = app.stored("staging")[0]
    sealed = bytearray(staged.read_bytes())
    sealed[-1] ^= 1
    staged.write_bytes(sealed)
    await app.settle()
    view = await state(app, auth, upload)
    assert (view["state"], view["failure"]) == ("failed", "damaged")
    assert app.stored("staging") == app.stored("primary") == []


async def test_cancelling(app: App, auth: dict[str, str]) -> None:
    upload, done = await begin(app, auth), await begin(app, auth)
    for each in (upload, done):
        await put(app, each)
    path = f"uploads/{upload['id']}"
    for _ in range(2):
        assert (await app.http.delete(path, headers=auth)).status_code == 204
    assert len(app.stored("staging")) == 1
    view = await state(app, auth, upload)
    assert (view["state"], view["failure"]) == ("failed", "cancelled")
    assert (await complete(app, auth, upload)).status_code == 409
    await complete(app, auth, done)
    answer = await app.http.delete(f"uploads/{done['id']}", headers=auth)
    assert (answer.status_code, problem(answer)) == (409, "conflict")


async def test_an_upload_that_nobody_completes_expires(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    upload, waiting = await begin(app, auth), await begin(app, auth)
    for each in (upload, waiting):
        await put(app, each)
    await complete(app, auth, waiting)
    app.clock.advance(3599)
    await app.services.sweep.run()
    assert (await state(app, auth, upload))["state"] == "granted"
    app.clock.advance(1)
    for _ in range(2):
        await app.services.sweep.run()
    view = await state(app, auth, upload)
    assert (view["state"], view["failure"]) == ("failed", "expired")
    assert (await app.actions(alpha, upload["id"])).count("upload.expire") == 1
    assert len(app.stored("staging")) == 1
    assert (await complete(app, auth, upload)).status_code == 409
    await app.settle()
    assert (await state(app, auth, waiting))["state"] == "sealed"


async def test_an_upload_that_has_ended_is_forgotten_after_a_week(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    upload = await begin(app, auth)
    await app.http.delete(f"uploads/{upload['id']}", headers=auth)
    app.clock.advance(timedelta(days=7, hours=1).total_seconds())
    answer = await app.http.get(f"uploads/{upload['id']}", headers=await app.auth(alpha))
    assert answer.status_code == 404


async def test_the_sweep_removes_orphans_and_nothing_else(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    document = (await app.upload(auth, CONTENT)).json()["id"]
    headers = auth | {
        "Content-Disposition": 'attachment; filename="b"',
        "If-Match": await app.etag(auth, document),
    }
    await app.http.put(f"documents/{document}/content", content=b"two", headers=headers)
    waiting = await begin(app, auth)
    await put(app, waiting)
    await complete(app, auth, waiting)
    ended = await begin(app, auth)
    await put(app, ended)
    await app.services.outbox.close()
    source = app.services.adapters.source
    for delivery in await source.receive("replication", limit=50):
        await app.services.replication.replicate(Event.from_json(delivery.body))
        await source.complete(delivery)
    kept = {store: app.stored(store) for store in ("primary", "replica", "staging")}
    assert {store: len(paths) for store, paths in kept.items()} == {
        "primary": 2,
        "replica": 2,
        "staging": 2,
    }
    await app.http.delete(f"uploads/{ended['id']}", headers=auth)
    kept["staging"] = app.stored("staging")
    adapters = app.services.adapters

    async def nothing() -> AsyncIterator[bytes]:
        yield b"orphan"

    made = hour_prefix(alpha, app.clock.now())
    unknown = f"{made}doc_{'0' * 26}.1.{'0' * 16}"
    unadopted = f"{made}{document}.1.{'0' * 16}"
    later = f"{made}{document}.3.{'0' * 16}"
    for name in (unknown, unadopted, later):
        await adapters.primary.put(name, nothing())
        await adapters.replica.put(name, nothing())
    await adapters.staging.put(f"{made}upl_{'0' * 26}", nothing())
    await adapters.staging.put(f"{made}{ended['id']}", nothing())
    before = {store: app.stored(store) for store in kept}

    due = sweep_due(app.clock.now()) - app.clock.now()
    app.clock.advance(due.total_seconds() - 1)
    await app.services.sweep.run()
    assert {store: app.stored(store) for store in kept} == before, "within the grace"
    app.clock.advance(1)
    await app.services.sweep.run()
    assert {store: app.stored(store) for store in kept} == kept
    await app.settle()
    assert (await state(app, await app.auth(alpha), waiting))["state"] == "sealed"


@pytest.mark.parametrize("name", ["lost-found", "a.b", "a.b.c", "doc.1.x.y", "doc_x.1.00"])
async def test_an_object_that_we_cannot_have_made_does_not_stop_the_sweep(
    app: App, alpha: str, name: str
) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        yield b"orphan"

    now = app.clock.now()
    await app.services.adapters.primary.put(hour_prefix(alpha, now) + name, nothing())
    await app.services.reader.store.prepare_object(Partition(alpha), now)
    app.clock.advance((sweep_due(now) - now).total_seconds())
    await app.services.sweep.run()
    assert app.stored("primary") == []


async def completed_event(app: App) -> Event:
    await app.services.outbox.close()
    source = app.services.adapters.source
    delivery = (await source.receive("encryption"))[0]
    await source.complete(delivery)
    return Event.from_json(delivery.body)


@pytest.mark.parametrize("erased", [False, True])
async def test_an_event_that_comes_twice_takes_effect_once(
    app: App, alpha: str, auth: dict[str, str], erased: bool
) -> None:
    upload = await begin(app, auth)
    await put(app, upload)
    await complete(app, auth, upload)
    event = await completed_event(app)
    assert event.type is EventType.UPLOAD_COMPLETED
    for _ in range(3):
        await app.seal(event)
    assert len(app.stored("primary")) == 1
    if erased:
        await app.erase(auth, upload["document"])
    else:
        await app.http.delete(f"documents/{upload['document']}", headers=auth)
    await app.seal(event)
    answer = await app.http.get(f"documents/{upload['document']}", headers=auth)
    assert answer.status_code == 404, "a late delivery must not bring it back"


async def test_an_event_that_comes_twice_at_once_takes_effect_once(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    upload = await begin(app, auth)
    await put(app, upload)
    await complete(app, auth, upload)
    event = await completed_event(app)
    outcomes = await asyncio.gather(*(app.seal(event) for _ in range(4)), return_exceptions=True)
    assert outcomes.count(None) >= 1
    assert all(outcome is None or isinstance(outcome, Conflict) for outcome in outcomes)
    await app.seal(event)
    assert (await state(app, auth, upload))["state"] == "sealed"
    assert len(app.stored("primary")) == 1
    assert app.stored("staging") == []
    assert (await app.actions(alpha, upload["document"])).count("document.create") == 1
    answer = await app.http.get(f"documents/{upload['document']}/content", headers=auth)
    assert answer.content == CONTENT


async def test_an_event_of_an_upload_that_is_not_there(app: App, alpha: str) -> None:
    event = app.services.journal.event(EventType.UPLOAD_COMPLETED, alpha, "upl_" + "0" * 26)
    await app.seal(event)


async def test_a_repeated_request_gets_the_same_upload(app: App, auth: dict[str, str]) -> None:
    key = {"Idempotency-Key": "9e3a5bd6-6dbb-4a3c-b0f7-6ff0f0a3c3f1"}
    answers = [await app.http.post("uploads", json=NEW, headers=auth | key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    twins = await asyncio.gather(
        *(
            app.http.post("uploads", json=NEW, headers=auth | {"Idempotency-Key": "k" * 16})
            for _ in range(4)
        )
    )
    assert {answer.status_code for answer in twins} == {201}
    assert len({answer.json()["id"] for answer in twins}) == 1
    await put(app, answers[0].json())
    await complete(app, auth, answers[0].json())
    later = await app.http.post("uploads", json=NEW, headers=auth | key)
    assert later.json() == answers[0].json(), "what came of it is for GET to say"
    assert (await state(app, auth, later.json()))["state"] == "completed"
    await app.settle()
    app.clock.advance(GRANT_LIFETIME.total_seconds())
    fresh = await app.auth(next(iter(app.slugs)))
    expired = (await app.http.post("uploads", json=NEW, headers=fresh | key)).json()
    assert (expired["state"], expired["grant"]) == ("sealed", None)


async def test_an_upload_survives_a_restart(opened: Opened, alpha: str) -> None:
    async with opened() as app:
        auth = await app.auth(alpha)
        upload = await begin(app, auth)
    async with opened() as app:
        await put(app, upload)
        await complete(app, auth, upload)
    async with opened() as app:
        app.clock.advance(60)
        await app.services.outbox.relay()
        await app.settle()
        assert (await state(app, auth, upload))["state"] == "sealed"
