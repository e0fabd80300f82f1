"""Deleting over the API: trash, recovery, erasing, holds, and who may do which of them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from shared.base.partitions import OPERATOR, partition_of
from tests.support.app import POLICY, App, Opened, problem

pytestmark = pytest.mark.anyio

CONTENT = b"what somebody deletes and somebody misses"
DAY = timedelta(days=1).total_seconds()


@pytest.fixture
async def document(app: App, auth: dict[str, str]) -> str:
    made: str = (await app.upload(auth, CONTENT)).json()["id"]
    await app.settle()
    return made


async def listed(app: App, auth: dict[str, str], state: str) -> list[dict[str, Any]]:
    """The documents of a state, page by page."""
    found: list[dict[str, Any]] = []
    query = {"state": state, "limit": "2"}
    while True:
        page = (await app.http.get("documents", params=query, headers=auth)).json()
        found += page["items"]
        if page["cursor"] is None:
            return found
        query["cursor"] = page["cursor"]


async def content(app: App, auth: dict[str, str], document: str) -> httpx.Response:
    return await app.http.get(f"documents/{document}/content", headers=auth)


async def test_a_deleted_document_can_be_recovered(
    app: App, alpha: str, auth: dict[str, str], document: str
) -> None:
    before = (await app.http.get(f"documents/{document}", headers=auth)).json()
    assert (before["held"], before["trashed_at"], before["erased_at"]) == (False, None, None)
    answer = await app.http.delete(f"documents/{document}", headers=auth)
    assert answer.status_code == 200
    assert answer.json() == {
        "id": document,
        "outcome": "trashed",
        "erased_at": "2026-01-31T00:00:00Z",
    }
    await app.settle()
    for path in ("", "/content", "/versions", "?version=1"):
        gone = await app.http.get(f"documents/{document}{path}", headers=auth)
        assert (gone.status_code, problem(gone)) == (404, "not-found"), path
    again = await app.http.delete(f"documents/{document}", headers=auth)
    assert (again.status_code, problem(again)) == (404, "not-found")
    assert await listed(app, auth, "live") == []
    times = {"trashed_at": "2026-01-01T00:00:00Z", "erased_at": "2026-01-31T00:00:00Z"}
    assert await listed(app, auth, "trash") == [before | times]
    assert len(app.stored("primary")) == len(app.stored("replica")) == 1

    recovered = await app.http.post(f"documents/{document}/recover", headers=auth)
    assert (recovered.status_code, recovered.json()) == (200, before)
    assert recovered.headers["etag"] == before["etag"]
    assert (await content(app, auth, document)).content == CONTENT
    assert await listed(app, auth, "trash") == []
    # Within a millisecond, entries have no order.
    assert sorted(await app.actions(alpha, document)) == [
        *("document.create", "document.open", "document.read", "document.recover"),
        *("document.replicate", "document.trash", *["request"] * 5),
    ]


async def test_the_timer_erases_when_the_window_ends(
    app: App, alpha: str, auth: dict[str, str], document: str
) -> None:
    await app.http.delete(f"documents/{document}", headers=auth)
    app.clock.advance(30 * DAY - 1)
    await app.services.trash.empty()
    auth = await app.auth(alpha)
    assert [each["id"] for each in await listed(app, auth, "trash")] == [document]
    app.clock.advance(1)
    await app.services.trash.empty()
    assert await listed(app, auth, "trash") == []
    records = app.services.adapters.records
    record = await records.get(partition_of(alpha, document), "document", document)
    assert "wrapped_key" not in json.dumps(record.body)
    refused = await app.http.post(f"documents/{document}/recover", headers=auth)
    assert (refused.status_code, problem(refused)) == (404, "not-found")
    await app.settle()
    assert app.stored("primary") == app.stored("replica") == []
    [deleted] = [
        body["entry"]
        for body in await app.entries(alpha, document)
        if body["entry"]["action"] == "document.delete"
    ]
    assert (deleted["actor"]["kind"], deleted["details"]) == ("system", {"versions": 1})


async def test_a_restart_forgets_neither_the_trash_nor_its_time(opened: Opened, alpha: str) -> None:
    async with opened() as app:
        auth = await app.auth(alpha)
        document = (await app.upload(auth, CONTENT)).json()["id"]
        await app.http.delete(f"documents/{document}", headers=auth)
    async with opened() as app:
        app.clock.advance(30 * DAY)
        auth = await app.auth(alpha)
        assert [each["id"] for each in await listed(app, auth, "trash")] == [document]
        assert await app.services.trash.empty() == 1
        await app.settle()
        assert app.stored("primary") == []


async def test_a_process_that_ends_between_the_commit_and_the_removal_leaves_it_to_the_next(
    opened: Opened, alpha: str
) -> None:
    async with opened() as app:
        auth = await app.auth(alpha)
        document = (await app.upload(auth, CONTENT)).json()["id"]
        await app.settle()
        await app.erase(auth, document)
        assert len(app.stored("primary")) == len(app.stored("replica")) == 1
    async with opened() as app:
        auth = await app.auth(alpha)
        for path in (f"documents/{document}", f"documents/{document}/content"):
            assert (await app.http.get(path, headers=auth)).status_code == 404
        assert await listed(app, auth, "trash") == []
        await app.services.outbox.relay(everything=True)
        await app.settle()
        assert app.stored("primary") == app.stored("replica") == []
        assert (await app.actions(alpha, document)).count("document.erase") == 1


@pytest.mark.parametrize(
    ("username", "may"),
    [
        ("admin", {"trash", "recover", "list", "erase", "hold"}),
        ("member", {"trash", "recover", "list"}),
        ("reader", set()),
    ],
)
async def test_who_may_do_what_with_the_trash(
    app: App, alpha: str, auth: dict[str, str], document: str, username: str, may: set[str]
) -> None:
    lying = (await app.upload(auth, CONTENT)).json()["id"]
    await app.http.delete(f"documents/{lying}", headers=auth)
    theirs = await app.auth(alpha, username)
    tries = [
        ("list", "GET", "documents?state=trash"),
        ("hold", "PUT", f"documents/{document}/hold"),
        ("hold", "DELETE", f"documents/{document}/hold"),
        ("trash", "DELETE", f"documents/{document}"),
        ("recover", "POST", f"documents/{document}/recover"),
        ("erase", "DELETE", f"documents/{document}?erase=true"),
        ("erase", "DELETE", f"documents/{lying}?erase=true"),
    ]
    for what, method, path in tries:
        answer = await app.http.request(method, path, headers=theirs)
        if what in may:
            assert answer.status_code in {200, 204}, (path, answer.text)
        else:
            assert (answer.status_code, problem(answer)) == (403, "forbidden"), path
    expected = 404 if "erase" in may else 200
    assert (await content(app, auth, document)).status_code == expected
    assert [each["id"] for each in await listed(app, auth, "trash")] == (
        [] if "erase" in may else [lying]
    )


async def test_another_tenant_and_the_operator_reach_nothing_in_the_trash(
    app: App, alpha: str, beta: str, auth: dict[str, str], document: str
) -> None:
    await app.http.delete(f"documents/{document}", headers=auth)
    before = await listed(app, auth, "trash")
    tries = [
        ("GET", f"documents/{document}"),
        ("DELETE", f"documents/{document}"),
        ("DELETE", f"documents/{document}?erase=true"),
        ("POST", f"documents/{document}/recover"),
        ("PUT", f"documents/{document}/hold"),
        ("DELETE", f"documents/{document}/hold"),
    ]
    for headers, status in (
        (await app.auth(beta), 404),
        (await app.auth(OPERATOR, "operator"), 403),
        ({}, 401),
    ):
        for method, path in tries:
            answer = await app.http.request(method, path, headers=headers)
            assert answer.status_code == status, path
    assert await listed(app, await app.auth(beta), "trash") == []
    assert await listed(app, auth, "trash") == before


async def test_the_trash_and_the_documents_are_two_lists(app: App, auth: dict[str, str]) -> None:
    documents = []
    for number in range(6):
        app.clock.advance(1)
        documents.append((await app.upload(auth, b"%d" % number)).json()["id"])
    for document in documents[::2]:
        await app.http.delete(f"documents/{document}", headers=auth)
    trash = [each["id"] for each in await listed(app, auth, "trash")]
    live = [each["id"] for each in await listed(app, auth, "live")]
    assert (trash, live) == (documents[::2][::-1], documents[1::2][::-1])
    answer = await app.http.get("documents?state=erased", headers=auth)
    assert (answer.status_code, problem(answer)) == (400, "invalid-input")
    cursor = (await app.http.get("documents?limit=1", headers=auth)).json()["cursor"]
    answer = await app.http.get(
        "documents", params={"cursor": cursor, "state": "trash"}, headers=auth
    )
    assert answer.status_code in {200, 400}
    assert not set(live) & {each["id"] for each in answer.json().get("items", ())}


async def test_a_condition_on_deleting(app: App, auth: dict[str, str], document: str) -> None:
    etag = await app.etag(auth, document)
    for query in ("", "?erase=true"):
        answer = await app.http.delete(
            f"documents/{document}{query}", headers=auth | {"If-Match": f'"{document}.1"'}
        )
        assert (answer.status_code, problem(answer)) == (412, "precondition-failed")
    answer = await app.http.delete(f"documents/{document}", headers=auth | {"If-Match": etag})
    assert answer.json()["outcome"] == "trashed"
    erase = await app.http.delete(
        f"documents/{document}?erase=true", headers=auth | {"If-Match": etag}
    )
    assert erase.json() == {
        "id": document,
        "outcome": "erased",
        "erased_at": "2026-01-01T00:00:00Z",
    }


@pytest.mark.parametrize("whole_tenant", [False, True])
async def test_a_legal_hold_forbids_deleting_and_says_so(
    app: App, alpha: str, auth: dict[str, str], document: str, whole_tenant: bool
) -> None:
    path = f"documents/{document}"
    if whole_tenant:
        held = await app.http.put("policy", json=POLICY | {"legal_hold": True}, headers=auth)
        assert held.status_code == 200
    else:
        assert (await app.http.put(f"{path}/hold", headers=auth)).status_code == 204
    for query in ("", "?erase=true"):
        answer = await app.http.delete(path + query, headers=auth)
        assert (answer.status_code, problem(answer)) == (409, "legal-hold")
    view = (await app.http.get(path, headers=auth)).json()
    assert view["held"] is not whole_tenant
    await app.settle()
    assert (await content(app, auth, document)).content == CONTENT
    reasons = [
        body["entry"]["reason"]
        for body in await app.entries(alpha, document)
        if body["entry"]["outcome"] == "refused"
    ]
    assert reasons == ["legal-hold"] * 2

    # It beats neither reading nor new versions, which take nothing away.
    headers = auth | {"Content-Disposition": 'attachment; filename="b"', "If-Match": view["etag"]}
    newer = await app.http.put(f"{path}/content", content=b"two", headers=headers)
    assert newer.status_code == 200

    if whole_tenant:
        await app.http.put("policy", json=POLICY, headers=auth)
    else:
        assert (await app.http.delete(f"{path}/hold", headers=auth)).status_code == 204
    assert (await app.http.delete(path, headers=auth)).json()["outcome"] == "trashed"


async def test_a_document_in_the_trash_can_be_held_beyond_its_time(
    app: App, alpha: str, auth: dict[str, str], document: str
) -> None:
    await app.http.delete(f"documents/{document}", headers=auth)
    assert (await app.http.put(f"documents/{document}/hold", headers=auth)).status_code == 204
    [lying] = await listed(app, auth, "trash")
    assert lying["held"] is True
    app.clock.advance(40 * DAY)
    await app.services.trash.empty()
    auth = await app.auth(alpha)
    assert [each["id"] for each in await listed(app, auth, "trash")] == [document]
    refused = await app.http.delete(f"documents/{document}?erase=true", headers=auth)
    assert (refused.status_code, problem(refused)) == (409, "legal-hold")
    assert (await app.http.delete(f"documents/{document}/hold", headers=auth)).status_code == 204
    app.clock.advance(DAY)
    assert await app.services.trash.empty() == 1
    await app.settle()
    assert app.stored("primary") == app.stored("replica") == []


async def test_nothing_of_the_trash_is_logged_but_ids_and_numbers(
    app: App, alpha: str, auth: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    document = (await app.upload(auth, CONTENT, "zebra-7719.txt")).json()["id"]
    await app.http.delete(f"documents/{document}", headers=auth)
    await app.http.put(f"documents/{document}/hold", headers=auth)
    app.clock.advance(31 * DAY)
    await app.services.trash.empty()
    auth = await app.auth(alpha)
    await app.http.delete(f"documents/{document}/hold", headers=auth)
    app.clock.advance(DAY)
    assert await app.services.trash.empty() == 1
    await app.settle()
    assert "zebra" not in json.dumps(await app.entries(alpha))
    assert "zebra" not in caplog.text
    [moved] = [
        body["entry"]["details"]
        for body in await app.entries(alpha, document)
        if body["entry"]["action"] == "document.trash"
    ]
    assert moved == {"versions": 1, "erase_at": "2026-01-31T00:00:00+00:00"}
