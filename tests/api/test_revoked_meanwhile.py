"""What a user began while they were allowed to does not take effect once they are not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.partitions import OPERATOR
from shared.identity.passwords import PasswordHasher
from tests.support.app import TARGET, App, problem

pytestmark = pytest.mark.anyio

CONTENT = b"content-zebra-7719" * 10
NAMED = {"Content-Disposition": 'attachment; filename="a"', "Content-Type": "text/plain"}
Change = Callable[[], Awaitable[Any]]


async def interrupted(content: bytes, change: Change) -> AsyncIterator[bytes]:
    """Send half of the content, wait for the change, then send the rest."""
    yield content[: len(content) // 2]
    await change()
    yield content[len(content) // 2 :]


@pytest.fixture
async def disable(app: App, alpha: str) -> Callable[[str], Change]:
    """Makes what disables a user of alpha."""
    other = Principal(alpha, await app.user(alpha, "other", Role.ADMINISTRATOR), ())

    def disable(username: str) -> Change:
        async def change() -> None:
            user = (await app.found(alpha, username)).value.id
            await app.services.accounts.change(
                other, user, roles=None, disabled=True, if_match=None
            )

        return change

    return disable


async def test_an_upload_whose_user_is_disabled_meanwhile_is_refused(
    app: App, alpha: str, disable: Callable[[str], Change]
) -> None:
    member = await app.auth(alpha, "member")
    admin = await app.auth(alpha)
    user = (await app.found(alpha, "member")).value.id
    before = app.stored("primary")
    answer = await app.http.post(
        "documents", content=interrupted(CONTENT, disable("member")), headers=member | NAMED
    )
    assert (answer.status_code, problem(answer)) == (401, "token-revoked")
    assert (await app.http.get("documents", headers=admin)).json()["items"] == []
    assert app.stored("primary") == before, "the object was removed"
    (refused,) = [
        body["entry"] for body in await app.entries(alpha) if body["entry"]["outcome"] == "refused"
    ]
    assert (refused["reason"], refused["actor"]["id"]) == ("token-revoked", user)


async def test_a_new_version_whose_user_is_disabled_meanwhile_is_refused(
    app: App, alpha: str, disable: Callable[[str], Change]
) -> None:
    member = await app.auth(alpha, "member")
    created = await app.upload(member, b"first")
    path = f"documents/{created.json()['id']}"
    before = app.stored("primary")
    answer = await app.http.put(
        f"{path}/content",
        content=interrupted(CONTENT, disable("member")),
        headers=member | NAMED | {"If-Match": created.headers["etag"]},
    )
    assert (answer.status_code, problem(answer)) == (401, "token-revoked")
    admin = await app.auth(alpha)
    assert (await app.http.get(path, headers=admin)).json()["version"] == 1
    assert app.stored("primary") == before


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_an_upload_during_which_nothing_is_revoked_is_kept(
    app: App, alpha: str, disable: Callable[[str], Change], method: str
) -> None:
    member = await app.auth(alpha, "member")
    created = await app.upload(member, b"first")
    path = "documents" if method == "POST" else f"documents/{created.json()['id']}/content"
    headers = member | NAMED | {"If-Match": created.headers["etag"]}
    answer = await app.http.request(
        method, path, content=interrupted(CONTENT, disable("reader")), headers=headers
    )
    assert answer.status_code == {"POST": 201, "PUT": 200}[method]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("users", {"username": "zebra", "roles": ["reader"]}),
        ("uploads", {"name": "a", "size": 1}),
    ],
)
async def test_a_body_that_comes_slowly_has_no_effect_once_its_user_is_disabled(
    app: App, alpha: str, disable: Callable[[str], Change], path: str, body: dict[str, Any]
) -> None:
    admin = await app.auth(alpha)
    before = Counter(await app.actions(alpha))
    answer = await app.http.post(
        path,
        content=interrupted(json.dumps(body).encode(), disable("admin")),
        headers=admin | {"Content-Type": "application/json"},
    )
    assert (answer.status_code, problem(answer)) == (401, "token-revoked")
    assert Counter(await app.actions(alpha)) - before == {"user.change": 1, "request": 1}


@pytest.mark.parametrize("path", ["users", "users/{member}/temporary-password"])
async def test_a_user_is_not_changed_by_one_who_is_disabled_while_a_password_is_hashed(
    app: App,
    alpha: str,
    disable: Callable[[str], Change],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    admin = await app.auth(alpha)
    member = await app.found(alpha, "member")
    real = PasswordHasher.hash

    async def slow(hasher: PasswordHasher, password: str) -> str:
        await disable("admin")()
        return await real(hasher, password)

    monkeypatch.setattr(PasswordHasher, "hash", slow)
    body = {"username": "zebra", "roles": ["reader"]} if path == "users" else None
    answer = await app.http.post(path.format(member=member.value.id), json=body, headers=admin)
    assert (answer.status_code, problem(answer)) == (401, "token-revoked")
    assert await app.services.accounts.find(alpha, "zebra") is None
    assert (await app.found(alpha, "member")).etag == member.etag


async def test_a_target_is_not_set_up_for_one_who_is_disabled_while_it_is_probed(
    app: App, alpha: str, disable: Callable[[str], Change], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await app.auth(alpha)
    setup = type(app.services.targets.setup)
    real = setup.prepare

    async def prepare(*args: Any) -> Any:
        prepared = await real(*args)
        await disable("admin")()
        return prepared

    monkeypatch.setattr(setup, "prepare", prepare)
    answer = await app.http.post("targets", json=TARGET, headers=admin)
    assert (answer.status_code, problem(answer)) == (401, "token-revoked")
    other = await app.auth(alpha, "other")
    assert (await app.http.get("targets", headers=other)).json()["items"] == []


async def test_a_tenant_is_not_made_for_one_who_is_disabled_while_its_key_is(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = await app.auth(OPERATOR, "operator")
    user = (await app.found(OPERATOR, "operator")).value.id
    other = Principal(OPERATOR, await app.user(OPERATOR, "other", Role.OPERATOR), ())
    keys = type(app.services.tenants.keys)
    real, destroyed = keys.create, []

    async def create(*args: Any) -> None:
        await real(*args)
        accounts = app.services.accounts
        await accounts.change(other, user, roles=None, disabled=True, if_match=None)

    async def destroy(_: object, tenant: str) -> None:
        destroyed.append(tenant)

    monkeypatch.setattr(keys, "create", create)
    monkeypatch.setattr(keys, "destroy", destroy)
    body = {"slug": "gamma", "administrator": "admin"}
    answer = await app.http.post("tenants", json=body, headers=operator)
    assert (answer.status_code, problem(answer)) == (401, "token-revoked")
    assert await app.services.tenants.resolve("gamma") is None
    assert len(destroyed) == 1
