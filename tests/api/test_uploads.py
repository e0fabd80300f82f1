"""Staged uploads: granted, put, completed, sealed; refused, cancelled, expired, swept."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from functions.api.headers import digest_header
from shared.documents.sweep import GRACE
from shared.errors import Conflict
from shared.events import Event, EventType
from tests.api.conftest import Opened
from tests.house import House, problem

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(253)) * 9_000
NEW = {"name": "Großes Buch.bin", "size": len(CONTENT), "metadata": {"shelf": "12"}}


async def begin(house: House, auth: dict[str, str], **changes: Any) -> dict[str, Any]:
    answer = await house.http.post("uploads", json=NEW | changes, headers=auth)
    assert answer.status_code == 201, answer.text
    upload: dict[str, Any] = answer.json()
    return upload


async def put(house: House, upload: dict[str, Any], content: bytes = CONTENT) -> httpx.Response:
    grant = upload["grant"]
    assert grant["method"] == "PUT"
    return await house.http.put(grant["url"], content=content, headers=grant["headers"])


async def complete(house: House, auth: dict[str, str], upload: dict[str, Any]) -> httpx.Response:
    return await house.http.post(f"uploads/{upload['id']}/complete", headers=auth)


async def state(house: House, auth: dict[str, str], upload: dict[str, Any]) -> dict[str, Any]:
    answer = await house.http.get(f"uploads/{upload['id']}", headers=auth)
    view: dict[str, Any] = answer.json()
    return view


async def test_the_whole_story(house: House, alpha: str, auth: dict[str, str]) -> None:
    digest = digest_header(hashlib.sha256(CONTENT).digest())
    upload = await begin(house, auth, repr_digest=digest)
    assert (upload["state"], upload["failure"]) == ("granted", None)
    taken = await put(house, upload)
    assert (taken.status_code, taken.content) == (201, b"")
    assert (await state(house, auth, upload))["grant"] is None, "an address is shown once"
    answer = await complete(house, auth, upload)
    assert (answer.status_code, answer.json()["state"]) == (202, "completed")
    document = upload["document"]
    assert (await house.http.get(f"documents/{document}", headers=auth)).status_code == 404
    await house.settle()
    assert (await state(house, auth, upload))["state"] == "sealed"
    view = (await house.http.get(f"documents/{document}", headers=auth)).json()
    assert (view["name"], view["metadata"], view["size"]) == (
        NEW["name"],
        NEW["metadata"],
        len(CONTENT),
    )
    assert view["repr_digest"] == digest
    assert view["replicated"] is True
    answer = await house.http.get(f"documents/{document}/content", headers=auth)
    assert answer.content == CONTENT
    assert house.stored("staging") == []
    assert sorted(await house.actions(alpha, upload["id"])) == [
        "upload.complete",
        "upload.create",
        "upload.read",
        "upload.read",
        "upload.receive",
    ]
    again = await complete(house, auth, upload)
    assert (again.status_code, again.json()["state"]) == (202, "sealed")
    await house.settle()
    assert len(house.stored("vault")) == 1


async def test_a_grant_is_for_one_object_one_size_and_once(
    house: House, alpha: str, auth: dict[str, str]
) -> None:
    upload, other = await begin(house, auth), await begin(house, auth)
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
        answer = await house.http.put(target, params=parameters, content=CONTENT)
        assert answer.status_code in {400, 401, 404}, target
    assert house.stored("staging") == []
    assert (await put(house, upload, CONTENT + b"x")).status_code == 413

    async def chunks() -> AsyncIterator[bytes]:
        yield CONTENT
        yield b"x"

    answer = await house.http.put(url, content=chunks())
    assert (answer.status_code, problem(answer)) == (413, "too-large")
    assert house.stored("staging") == []
    assert (await put(house, upload)).status_code == 201
    answer = await put(house, upload, b"other")
    assert (answer.status_code, problem(answer)) == (409, "conflict")
    refused = [
        body["entry"]["reason"]
        for body in await house.entries(alpha, upload["id"])
        if body["entry"]["outcome"] == "refused"
    ]
    assert sorted(refused) == ["conflict", "too-large", "too-large"]
    await complete(house, auth, upload)
    await house.settle()
    answer = await house.http.get(f"documents/{upload['document']}/content", headers=auth)
    assert answer.content == CONTENT


@pytest.mark.parametrize("arrived", [b"", CONTENT[:-1]])
async def test_a_content_that_was_cut_on_its_way_is_not_completed(
    house: House, auth: dict[str, str], arrived: bytes
) -> None:
    upload = await begin(house, auth)
    assert (await put(house, upload, arrived)).status_code == 201
    answer = await complete(house, auth, upload)
    assert (answer.status_code, problem(answer)) == (409, "conflict")
    assert f"{len(arrived)} bytes, not {len(CONTENT)}" in answer.json()["detail"]
    assert (await state(house, auth, upload))["state"] == "granted"
    assert (await house.http.delete(f"uploads/{upload['id']}", headers=auth)).status_code == 204
    assert house.stored("staging") == []


async def test_a_grant_takes_nothing_more_once_its_upload_has_ended(
    house: House, alpha: str, auth: dict[str, str]
) -> None:
    sealed, cancelled = await begin(house, auth), await begin(house, auth)
    await put(house, sealed)
    await complete(house, auth, sealed)
    assert problem(await put(house, sealed, b"other")) == "conflict"
    await house.settle()
    await house.http.delete(f"uploads/{cancelled['id']}", headers=auth)
    for upload in (sealed, cancelled):
        answer = await put(house, upload, b"other")
        assert (answer.status_code, problem(answer)) == (409, "conflict")
        reasons = [body["entry"]["reason"] for body in await house.entries(alpha, upload["id"])]
        assert "conflict" in reasons
    assert house.stored("staging") == []


async def test_a_grant_expires(house: House, auth: dict[str, str]) -> None:
    upload = await begin(house, auth)
    house.clock.advance(3600)
    answer = await put(house, upload)
    assert (answer.status_code, problem(answer)) == (401, "token-expired")
    assert house.stored("staging") == []


async def test_completing_before_the_content_is_there(house: House, auth: dict[str, str]) -> None:
    upload = await begin(house, auth)
    answer = await complete(house, auth, upload)
    assert (answer.status_code, problem(answer)) == (409, "conflict")
    assert (await put(house, upload)).status_code == 201
    assert (await complete(house, auth, upload)).status_code == 202


async def test_completing_twice_is_completing_once(house: House, auth: dict[str, str]) -> None:
    upload = await begin(house, auth)
    await put(house, upload)
    answers = await asyncio.gather(*(complete(house, auth, upload) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert (await complete(house, auth, upload)).status_code == 202
    await house.settle()
    assert len(house.stored("vault")) == 1
    assert (await state(house, auth, upload))["state"] == "sealed"


async def test_a_wrong_digest_fails_the_upload(
    house: House, alpha: str, auth: dict[str, str]
) -> None:
    upload = await begin(house, auth, repr_digest=digest_header(hashlib.sha256(b"").digest()))
    await put(house, upload)
    await complete(house, auth, upload)
    await house.settle()
    view = await state(house, auth, upload)
    assert (view["state"], view["failure"]) == ("failed", "digest-mismatch")
    assert house.stored("staging") == house.stored("vault") == []
    path = f"documents/{upload['document']}"
    assert (await house.http.get(path, headers=auth)).status_code == 404
    failed = next(
        body["entry"]
        for body in await house.entries(alpha, upload["id"])
        if body["entry"]["action"] == "upload.fail"
    )
    assert (failed["outcome"], failed["reason"]) == ("failed", "digest-mismatch")
    assert (await complete(house, auth, upload)).status_code == 409


async def test_a_staged_content_that_is_gone_fails_the_upload(
    house: House, auth: dict[str, str]
) -> None:
    upload = await begin(house, auth)
    await put(house, upload)
    await complete(house, auth, upload)
    house.stored("staging")[0].unlink()
    await house.settle()
    view = await state(house, auth, upload)
    assert (view["state"], view["failure"]) == ("failed", "not-found")


async def test_a_staged_content_that_is_damaged_fails_the_upload(
    house: House, auth: dict[str, str]
) -> None:
    upload = await begin(house, auth)
    await put(house, upload)
    await complete(house, auth, upload)
    staged = house.stored("staging")[0]
    sealed = bytearray(staged.read_bytes())
    sealed[-1] ^= 1
    staged.write_bytes(sealed)
    await house.settle()
    view = await state(house, auth, upload)
    assert (view["state"], view["failure"]) == ("failed", "damaged")
    assert house.stored("staging") == house.stored("vault") == []


async def test_cancelling(house: House, auth: dict[str, str]) -> None:
    upload, done = await begin(house, auth), await begin(house, auth)
    for each in (upload, done):
        await put(house, each)
    path = f"uploads/{upload['id']}"
    for _ in range(2):
        assert (await house.http.delete(path, headers=auth)).status_code == 204
    assert len(house.stored("staging")) == 1
    view = await state(house, auth, upload)
    assert (view["state"], view["failure"]) == ("failed", "cancelled")
    assert (await complete(house, auth, upload)).status_code == 409
    await complete(house, auth, done)
    answer = await house.http.delete(f"uploads/{done['id']}", headers=auth)
    assert (answer.status_code, problem(answer)) == (409, "conflict")


async def test_an_upload_that_nobody_completes_expires(
    house: House, alpha: str, auth: dict[str, str]
) -> None:
    upload, waiting = await begin(house, auth), await begin(house, auth)
    for each in (upload, waiting):
        await put(house, each)
    await complete(house, auth, waiting)
    house.clock.advance(3599)
    await house.services.sweep.run()
    assert (await state(house, auth, upload))["state"] == "granted"
    house.clock.advance(1)
    for _ in range(2):
        await house.services.sweep.run()
    view = await state(house, auth, upload)
    assert (view["state"], view["failure"]) == ("failed", "expired")
    assert (await house.actions(alpha, upload["id"])).count("upload.expire") == 1
    assert len(house.stored("staging")) == 1
    assert (await complete(house, auth, upload)).status_code == 409
    await house.settle()
    assert (await state(house, auth, waiting))["state"] == "sealed"


async def test_an_upload_that_has_ended_is_forgotten_after_a_week(
    house: House, alpha: str, auth: dict[str, str]
) -> None:
    upload = await begin(house, auth)
    await house.http.delete(f"uploads/{upload['id']}", headers=auth)
    house.clock.advance(timedelta(days=7, hours=1).total_seconds())
    answer = await house.http.get(f"uploads/{upload['id']}", headers=await house.auth(alpha))
    assert answer.status_code == 404


async def test_the_sweep_removes_orphans_and_nothing_else(
    house: House, alpha: str, auth: dict[str, str]
) -> None:
    document = (await house.upload(auth, CONTENT)).json()["id"]
    headers = auth | {
        "Content-Disposition": 'attachment; filename="b"',
        "If-Match": f'"{document}.1"',
    }
    await house.http.put(f"documents/{document}/content", content=b"two", headers=headers)
    waiting = await begin(house, auth)
    await put(house, waiting)
    await complete(house, auth, waiting)
    ended = await begin(house, auth)
    await put(house, ended)
    await house.services.outbox.close()
    source = house.services.adapters.source
    for delivery in await source.receive("replication", limit=50):
        await house.services.replication.replicate(Event.from_json(delivery.body))
        await source.complete(delivery)
    kept = {store: house.stored(store) for store in ("vault", "replica", "staging")}
    assert {store: len(paths) for store, paths in kept.items()} == {
        "vault": 2,
        "replica": 2,
        "staging": 2,
    }
    await house.http.delete(f"uploads/{ended['id']}", headers=auth)
    kept["staging"] = house.stored("staging")
    adapters = house.services.adapters

    async def nothing() -> AsyncIterator[bytes]:
        yield b"orphan"

    day = f"{house.clock.now():%Y-%m-%d}"
    unknown = f"{alpha}/{day}/doc_{'0' * 26}.1.{'0' * 16}"
    unadopted = f"{alpha}/{day}/{document}.1.{'0' * 16}"
    later = f"{alpha}/{day}/{document}.3.{'0' * 16}"
    for name in (unknown, unadopted, later):
        await adapters.vault.put(name, nothing())
        await adapters.replica.put(name, nothing())
    await adapters.staging.put(f"{alpha}/{day}/upl_{'0' * 26}", nothing())
    await adapters.staging.put(f"{alpha}/{day}/{ended['id']}", nothing())
    before = {store: house.stored(store) for store in kept}

    house.clock.advance(GRACE.total_seconds())
    await house.services.sweep.run()
    assert {store: house.stored(store) for store in kept} == before, "within the grace"
    house.clock.advance(1)
    await house.services.sweep.run()
    assert {store: house.stored(store) for store in kept} == kept
    await house.settle()
    assert (await state(house, await house.auth(alpha), waiting))["state"] == "sealed"


@pytest.mark.parametrize("name", ["lost-found", "a.b", "a.b.c", "doc.1.x.y", "doc_x.1.00"])
async def test_an_object_that_we_cannot_have_made_does_not_stop_the_sweep(
    house: House, alpha: str, name: str
) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        yield b"orphan"

    day = f"{house.clock.now():%Y-%m-%d}"
    await house.services.adapters.vault.put(f"{alpha}/{day}/{name}", nothing())
    house.clock.advance(GRACE.total_seconds() + 1)
    await house.services.sweep.run()
    assert house.stored("vault") == []


async def completed_event(house: House) -> Event:
    await house.services.outbox.close()
    source = house.services.adapters.source
    delivery = (await source.receive("encryption"))[0]
    await source.complete(delivery)
    return Event.from_json(delivery.body)


async def test_an_event_that_comes_twice_takes_effect_once(
    house: House, alpha: str, auth: dict[str, str]
) -> None:
    upload = await begin(house, auth)
    await put(house, upload)
    await complete(house, auth, upload)
    event = await completed_event(house)
    assert event.type is EventType.UPLOAD_COMPLETED
    for _ in range(3):
        await house.services.uploads.seal(event)
    assert len(house.stored("vault")) == 1
    await house.http.delete(f"documents/{upload['document']}", headers=auth)
    await house.services.uploads.seal(event)
    answer = await house.http.get(f"documents/{upload['document']}", headers=auth)
    assert answer.status_code == 404, "a late delivery must not bring it back"


async def test_an_event_that_comes_twice_at_once_takes_effect_once(
    house: House, alpha: str, auth: dict[str, str]
) -> None:
    upload = await begin(house, auth)
    await put(house, upload)
    await complete(house, auth, upload)
    event = await completed_event(house)
    outcomes = await asyncio.gather(
        *(house.services.uploads.seal(event) for _ in range(4)), return_exceptions=True
    )
    assert outcomes.count(None) >= 1
    assert all(outcome is None or isinstance(outcome, Conflict) for outcome in outcomes)
    await house.services.uploads.seal(event)
    assert (await state(house, auth, upload))["state"] == "sealed"
    assert len(house.stored("vault")) == 1
    assert house.stored("staging") == []
    assert (await house.actions(alpha, upload["document"])).count("document.create") == 1
    answer = await house.http.get(f"documents/{upload['document']}/content", headers=auth)
    assert answer.content == CONTENT


async def test_an_event_of_an_upload_that_is_not_there(house: House, alpha: str) -> None:
    event = house.services.journal.event(EventType.UPLOAD_COMPLETED, alpha, "upl_" + "0" * 26, {})
    await house.services.uploads.seal(event)


async def test_a_repeated_request_gets_the_same_upload(house: House, auth: dict[str, str]) -> None:
    key = {"Idempotency-Key": "9e3a5bd6-6dbb-4a3c-b0f7-6ff0f0a3c3f1"}
    answers = [await house.http.post("uploads", json=NEW, headers=auth | key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    twins = await asyncio.gather(
        *(
            house.http.post("uploads", json=NEW, headers=auth | {"Idempotency-Key": "k" * 16})
            for _ in range(4)
        )
    )
    assert {answer.status_code for answer in twins} == {201}
    assert len({answer.json()["id"] for answer in twins}) == 1
    await put(house, answers[0].json())
    await complete(house, auth, answers[0].json())
    later = (await house.http.post("uploads", json=NEW, headers=auth | key)).json()
    assert (later["state"], later["grant"]) == ("completed", None)


async def test_an_upload_survives_a_restart(opened: Opened, alpha: str) -> None:
    async with opened() as house:
        auth = await house.auth(alpha)
        upload = await begin(house, auth)
    async with opened() as house:
        await put(house, upload)
        await complete(house, auth, upload)
    async with opened() as house:
        house.clock.advance(60)
        await house.services.outbox.relay()
        await house.settle()
        assert (await state(house, auth, upload))["state"] == "sealed"
