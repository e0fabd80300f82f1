"""A request repeated under its Idempotency-Key gets what the first one got, whatever came after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pyrage
import pytest

from shared.base.partitions import OPERATOR
from tests.support.app import TARGET, App, problem
from tests.support.records import find_records
from tests.support.uploads import NEW, complete, put

pytestmark = pytest.mark.anyio

RECIPIENTS = [str(pyrage.x25519.Identity.generate().to_public()) for _ in range(2)]
CONTENT = b"content-zebra-7719" * 10
KEY = {"Idempotency-Key": "9e3a5bd6-6dbb-4a3c-b0f7-6ff0f0a3c3f1"}
After = Callable[[App, dict[str, str], httpx.Response], Awaitable[Any]]


async def updated(app: App, auth: dict[str, str], first: httpx.Response) -> None:
    answer = await app.http.put(
        f"documents/{first.json()['id']}/content",
        content=b"another",
        headers=auth
        | {"Content-Disposition": 'attachment; filename="b"', "If-Match": first.headers["etag"]},
    )
    assert answer.json()["version"] == 2


async def replicated(app: App, auth: dict[str, str], first: httpx.Response) -> None:
    await app.settle()
    path = f"documents/{first.json()['id']}"
    assert (await app.http.get(path, headers=auth)).json()["replicated"]


async def held(app: App, auth: dict[str, str], first: httpx.Response) -> None:
    path = f"documents/{first.json()['id']}/hold"
    assert (await app.http.put(path, headers=auth)).status_code == 204


async def trashed(app: App, auth: dict[str, str], first: httpx.Response) -> None:
    answer = await app.http.delete(f"documents/{first.json()['id']}", headers=auth)
    assert answer.json()["outcome"] == "trashed"


async def erased(app: App, auth: dict[str, str], first: httpx.Response) -> None:
    await app.erase(auth, first.json()["id"])
    await app.settle()


async def updated_and_erased(app: App, auth: dict[str, str], first: httpx.Response) -> None:
    await updated(app, auth, first)
    await erased(app, auth, first)


@pytest.mark.parametrize("after", [updated, replicated, held, trashed, erased, updated_and_erased])
async def test_a_repeated_upload_is_answered_like_the_first(
    app: App, alpha: str, auth: dict[str, str], after: After
) -> None:
    headers = KEY | {"Strongroom-Metadata": '{"shelf": "12"}'}
    first = await app.upload(auth, CONTENT, "Paper 1.txt", **headers)
    assert first.status_code == 201
    await after(app, auth, first)
    before = app.stored("primary")
    read = (await app.actions(alpha, first.json()["id"])).count("document.read")
    app.clock.advance(60)
    again = await app.upload(auth, CONTENT, "Paper 1.txt", **headers)
    assert (again.status_code, again.json()) == (201, first.json())
    for header in ("etag", "location"):
        assert again.headers[header] == first.headers[header]
    assert app.stored("primary") == before
    actions = await app.actions(alpha, first.json()["id"])
    assert actions.count("document.read") == read + 1
    other = await app.upload(auth, CONTENT, "Paper 2.txt", **headers)
    assert (other.status_code, problem(other)) == (422, "idempotency-key-reused")


async def test_what_is_remembered_of_an_erased_document_names_nothing(
    app: App, auth: dict[str, str]
) -> None:
    first = await app.upload(auth, CONTENT, "zebra-name.txt", **KEY)
    await app.erase(auth, first.json()["id"])
    (made,) = find_records(app.data, "idempotency")
    assert set(made.body["facts"]) == {"tag", "created_at"}
    assert "zebra" not in str(made.body)


async def test_a_repeated_staged_upload_is_answered_like_the_first(
    app: App, auth: dict[str, str]
) -> None:
    first = await app.http.post("uploads", json=NEW, headers=auth | KEY)
    await put(app, first.json())
    await complete(app, auth, first.json())
    await app.settle()
    again = await app.http.post("uploads", json=NEW, headers=auth | KEY)
    assert (again.status_code, again.json()) == (201, first.json())
    late = await put(app, again.json())
    assert (late.status_code, problem(late)) == (409, "conflict"), "it takes no more content"
    assert app.stored("staging") == []

    other = {"Idempotency-Key": "k" * 16}
    first = await app.http.post("uploads", json=NEW, headers=auth | other)
    answer = await app.http.delete(f"uploads/{first.json()['id']}", headers=auth)
    assert answer.status_code == 204
    again = await app.http.post("uploads", json=NEW, headers=auth | other)
    assert (again.status_code, again.json()) == (201, first.json())


async def test_a_repeated_user_is_answered_like_the_first(app: App, auth: dict[str, str]) -> None:
    body = {"username": "anna", "roles": ["reader", "member"]}
    first = await app.http.post("users", json=body, headers=auth | KEY)
    path = f"users/{first.json()['user']['id']}"
    change = {"roles": ["member"], "disabled": True}
    assert (await app.http.patch(path, json=change, headers=auth)).status_code == 200
    app.clock.advance(60)
    assert (await app.http.post(f"{path}/temporary-password", headers=auth)).status_code == 201
    again = await app.http.post("users", json=body, headers=auth | KEY)
    assert again.status_code == 201
    assert again.json() == first.json() | {"temporary_password": None}


async def test_a_repeated_tenant_is_answered_like_the_first(app: App) -> None:
    auth = await app.auth(OPERATOR, "operator")
    body = {"slug": "gamma", "administrator": "anna"}
    first = (await app.http.post("tenants", json=body, headers=auth | KEY)).json()
    signed_in = await app.http.post(
        "auth/sign-in",
        json={
            "tenant": "gamma",
            "username": "anna",
            "password": first["administrator"]["temporary_password"],
            "new_password": "correct horse battery staple",
        },
    )
    assert signed_in.status_code == 200
    again = await app.http.post("tenants", json=body, headers=auth | KEY)
    assert again.status_code == 201
    first["administrator"]["temporary_password"] = None
    assert again.json() == first


async def paused(app: App, auth: dict[str, str], first: httpx.Response) -> None:
    path = f"targets/{first.json()['target']['id']}"
    assert (await app.http.patch(path, json={"paused": True}, headers=auth)).status_code == 200


async def copied_to(app: App, auth: dict[str, str], first: httpx.Response) -> None:
    await app.upload(auth, CONTENT)
    await app.settle()
    app.clock.advance(120)
    await app.services.target_timer.run()
    path = f"targets/{first.json()['target']['id']}"
    assert (await app.http.get(path, headers=auth)).json()["last_success_at"]


async def deleted(app: App, auth: dict[str, str], first: httpx.Response) -> None:
    path = f"targets/{first.json()['target']['id']}"
    assert (await app.http.delete(path, headers=auth)).status_code == 200


@pytest.mark.parametrize("quorum", [None, 1, 2])
@pytest.mark.parametrize("after", [paused, copied_to, deleted])
async def test_a_repeated_target_is_answered_like_the_first(
    app: App, auth: dict[str, str], after: After, quorum: int | None
) -> None:
    body: dict[str, Any] = {**TARGET}
    if quorum is not None:
        body["recovery"] = {"recipients": RECIPIENTS, "quorum": quorum}
    first = await app.http.post("targets", json=body, headers=auth | KEY)
    assert first.status_code == 201, first.text
    path = f"targets/{first.json()['target']['id']}"
    assert (await app.http.get(path, headers=auth)).headers["etag"] == first.headers["etag"]
    await after(app, auth, first)
    again = await app.http.post("targets", json=body, headers=auth | KEY)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["location"] == first.headers["location"]
    other = await app.http.post("targets", json=body | {"name": "Another"}, headers=auth | KEY)
    assert problem(other) == "idempotency-key-reused"
