"""Sign-in: passwords given out and chosen, lock-out, tokens that end, floods, a silent Key Vault."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.errors import Conflict, Unavailable
from shared.base.partitions import OPERATOR, Partition
from shared.identity.lockout import FREE_ATTEMPTS
from shared.identity.tokens import ACTIVATION
from shared.journal.collections import Stored
from tests.support.accounts import bearer
from tests.support.app import BOOTSTRAP_SECRET, PASSWORD, App, Opened, open_app, problem

pytestmark = pytest.mark.anyio

OTHER_PASSWORD = "another horse, another staple"


async def sign_in(
    app: App, username: str = "admin", password: str = PASSWORD, **more: str
) -> httpx.Response:
    body = {"tenant": "alpha", "username": username, "password": password} | more
    return await app.http.post("auth/sign-in", json=body)


async def given_out(app: App, auth: dict[str, str], username: str = "anna") -> dict[str, Any]:
    answer = await app.http.post(
        "users", json={"username": username, "roles": ["reader"]}, headers=auth
    )
    assert answer.status_code == 201
    view: dict[str, Any] = answer.json()
    return view


async def test_signing_in(app: App) -> None:
    answer = await sign_in(app, " ADMIN ")
    view = answer.json()
    assert (answer.status_code, view["token_type"]) == (200, "Bearer")
    assert view["expires_at"] == "2026-01-01T02:00:00Z"
    assert view["user"]["roles"] == ["administrator"]
    auth = {"Authorization": f"Bearer {view['token']}"}
    assert (await app.http.get("auth/account", headers=auth)).json() == view["user"]
    answer = await sign_in(app, new_password=OTHER_PASSWORD)
    assert (answer.status_code, problem(answer)) == (400, "invalid-input")


async def test_a_temporary_password_works_once(app: App, auth: dict[str, str]) -> None:
    temporary = (await given_out(app, auth))["temporary_password"]
    answer = await sign_in(app, "anna", temporary)
    assert (answer.status_code, problem(answer)) == (401, "password-change-required")
    for bad in ("short", "x" * 11, temporary, "tab\tin the middle"):
        answer = await sign_in(app, "anna", temporary, new_password=bad)
        assert (answer.status_code, problem(answer)) == (400, "invalid-input")
    answer = await sign_in(app, "anna", temporary, new_password=OTHER_PASSWORD)
    assert answer.status_code == 200
    for password in (temporary, temporary.upper()):
        answer = await sign_in(app, "anna", password, new_password=OTHER_PASSWORD + "!")
        assert (answer.status_code, problem(answer)) == (401, "sign-in-refused")
    assert (await sign_in(app, "anna", OTHER_PASSWORD)).status_code == 200


async def test_two_at_once_use_a_temporary_password_once(app: App, auth: dict[str, str]) -> None:
    temporary = (await given_out(app, auth))["temporary_password"]
    answers = await asyncio.gather(
        *(sign_in(app, "anna", temporary, new_password=OTHER_PASSWORD + str(n)) for n in range(2))
    )
    assert sorted(answer.status_code for answer in answers) in ([200, 401], [200, 409])


async def test_a_temporary_password_is_valid_for_two_hours(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    view = await given_out(app, auth)
    assert view["user"]["temporary_password_until"] == "2026-01-01T02:00:00Z"
    temporary = view["temporary_password"]
    app.clock.advance(2 * 3600)
    answer = await sign_in(app, "anna", temporary, new_password=OTHER_PASSWORD)
    assert (answer.status_code, problem(answer)) == (401, "sign-in-refused")
    path = f"users/{view['user']['id']}/temporary-password"
    fresh = (await app.http.post(path, headers=await app.auth(alpha))).json()
    app.clock.advance(2 * 3600 - 1)
    answer = await sign_in(app, "anna", fresh["temporary_password"], new_password=OTHER_PASSWORD)
    assert answer.status_code == 200


async def test_a_repeated_request_does_not_show_the_password_again(
    app: App, auth: dict[str, str]
) -> None:
    body = {"username": "anna", "roles": ["reader"]}
    headers = auth | {"Idempotency-Key": "9e3a5bd6-6dbb-4a3c-b0f7-6ff0f0a3c3f1"}
    first, again = [await app.http.post("users", json=body, headers=headers) for _ in range(2)]
    assert first.json()["temporary_password"]
    assert again.json() == {"user": first.json()["user"], "temporary_password": None}


@pytest.mark.parametrize("username", ["admin", "nobody"])
async def test_failures_lock_a_username_whether_it_exists_or_not(
    app: App, alpha: str, username: str
) -> None:
    wrong = [await sign_in(app, username, "wrong") for _ in range(FREE_ATTEMPTS)]
    assert {(each.status_code, problem(each)) for each in wrong} == {(401, "sign-in-refused")}
    assert len({each.json()["detail"] for each in wrong}) == 1
    for password in ("wrong", PASSWORD):
        locked = await sign_in(app, username, password)
        assert (locked.status_code, problem(locked)) == (429, "rate-limited")
        assert 0 < int(locked.headers["retry-after"]) <= 61
    entries = [
        body["entry"]["reason"]
        for body in await app.entries(alpha)
        if body["entry"]["outcome"] == "refused"
    ]
    assert sorted(entries) == ["rate-limited"] * 2 + ["sign-in-refused"] * FREE_ATTEMPTS
    app.clock.advance(61)
    answer = await sign_in(app, username)
    assert answer.status_code == (200 if username == "admin" else 401)
    app.clock.advance(1)
    locked = await sign_in(app, username, "wrong")
    assert locked.status_code == (401 if username == "admin" else 429), "a success starts anew"


async def test_guessing_in_parallel_gains_nothing(app: App) -> None:
    answers = await asyncio.gather(*(sign_in(app, password="wrong") for _ in range(25)))
    looked_at = [answer for answer in answers if answer.status_code == 401]
    assert len(looked_at) <= FREE_ATTEMPTS
    assert {answer.status_code for answer in answers} == {401, 429}


async def test_signing_out_everywhere(app: App, alpha: str) -> None:
    tokens = [await app.auth(alpha, "member") for _ in range(2)]
    bystander = await app.auth(alpha)
    answer = await app.http.post("auth/sign-out-everywhere", headers=tokens[0])
    assert answer.status_code == 204
    for token in tokens:
        answer = await app.http.get("documents", headers=token)
        assert (answer.status_code, problem(answer)) == (401, "token-revoked")
    assert (await app.http.get("documents", headers=bystander)).status_code == 200
    fresh = await app.auth(alpha, "member")
    assert (await app.http.get("documents", headers=fresh)).status_code == 200


async def test_a_token_that_is_void_is_refused_in_the_name_of_its_user(
    app: App, alpha: str
) -> None:
    operator = (await app.found(OPERATOR, "operator")).value.id
    member = (await app.found(alpha, "member")).value.id
    revoked = await app.auth(alpha, "member")
    assert (await app.http.post("auth/sign-out-everywhere", headers=revoked)).status_code == 204
    expired = await app.auth(alpha, "member"), await app.auth(OPERATOR, "operator")

    async def refused(tenant: str, auth: dict[str, str]) -> list[tuple[str, str, str, str]]:
        before = {body["entry"]["id"] for body in await app.entries(tenant)}
        others = {alpha: OPERATOR, OPERATOR: alpha}[tenant]
        elsewhere = len(await app.entries(others))
        assert (await app.http.get("documents", headers=auth)).status_code == 401
        assert len(await app.entries(others)) == elsewhere
        return [
            (entry["actor"]["kind"], entry["actor"]["id"], entry["reason"], entry["address"])
            for entry in (body["entry"] for body in await app.entries(tenant))
            if entry["id"] not in before
        ]

    where = "203.0.113.7"
    assert await refused(alpha, revoked) == [("user", member, "token-revoked", where)]
    app.clock.advance(7_200)
    assert await refused(alpha, expired[0]) == [("user", member, "token-expired", where)]
    assert await refused(OPERATOR, expired[1]) == [("employee", operator, "token-expired", where)]
    token, _, tag = expired[0]["Authorization"].rpartition(".")
    forged = {"Authorization": f"{token}.{'B' if tag[0] == 'A' else 'A'}{tag[1:]}"}
    assert await refused(OPERATOR, forged) == [("anonymous", "", "unauthenticated", where)]


async def test_disabling_and_changing_roles_void_tokens_at_once(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    member = await app.auth(alpha, "member")
    user = (await app.http.get("auth/account", headers=member)).json()["id"]
    stored = await app.http.get(f"users/{user}", headers=auth)
    body = {"roles": ["reader"]}
    stale = auth | {"If-Match": '"stale"'}
    assert (await app.http.patch(f"users/{user}", json=body, headers=stale)).status_code == 412
    fresh = auth | {"If-Match": stored.headers["etag"]}
    changed = await app.http.patch(f"users/{user}", json=body, headers=fresh)
    assert (changed.status_code, changed.json()["roles"]) == (200, ["reader"])
    assert problem(await app.http.get("documents", headers=member)) == "token-revoked"
    reader = await app.auth(alpha, "member")
    assert (await app.upload(reader, b"x")).status_code == 403
    await app.http.patch(f"users/{user}", json={"disabled": True}, headers=auth)
    assert problem(await app.http.get("documents", headers=reader)) == "token-revoked"
    issued_anyway = await app.auth(alpha, "member")
    assert problem(await app.http.get("documents", headers=issued_anyway)) == "token-revoked"
    entries = [
        body["entry"]["details"]
        for body in await app.entries(alpha, user)
        if body["entry"]["action"] == "user.change"
    ]
    assert sorted(entry["disabled"] for entry in entries) == [0, 1]
    assert [entry["roles"] for entry in entries] == [["reader"]] * 2


async def test_a_disabled_person_cannot_sign_in(app: App, auth: dict[str, str]) -> None:
    view = await given_out(app, auth)
    path = f"users/{view['user']['id']}"
    await app.http.patch(path, json={"disabled": True}, headers=auth)
    answer = await sign_in(app, "anna", view["temporary_password"], new_password=OTHER_PASSWORD)
    assert (answer.status_code, problem(answer)) == (401, "sign-in-refused")


async def test_nobody_gives_themselves_a_password(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    admin = (await app.found(alpha, "admin")).value.id
    answer = await app.http.post(f"users/{admin}/temporary-password", headers=auth)
    assert (answer.status_code, problem(answer)) == (409, "conflict")
    assert (await sign_in(app)).status_code == 200


@pytest.mark.parametrize("change", [{"disabled": True}, {"roles": (Role.READER,)}])
async def test_two_administrators_cannot_remove_each_other(
    app: App, alpha: str, change: dict[str, Any]
) -> None:
    accounts = app.services.accounts
    admins = [(await app.found(alpha, "admin")).value.id]
    admins.append(await app.user(alpha, "second", Role.ADMINISTRATOR))
    full: dict[str, Any] = {"roles": None, "disabled": None, "if_match": None} | change
    outcomes = await asyncio.gather(
        *(
            accounts.change(Principal(alpha, one, (Role.ADMINISTRATOR,)), other, **full)
            for one, other in (admins, reversed(admins))
        ),
        return_exceptions=True,
    )
    assert {type(outcome) for outcome in outcomes} == {Conflict, Stored}
    left = [(await accounts.load(alpha, admin)).value for admin in admins]
    assert sum(not user.disabled and Role.ADMINISTRATOR in user.roles for user in left) == 1


async def test_changing_ones_password(app: App, auth: dict[str, str]) -> None:
    async def change(password: str, new_password: str) -> httpx.Response:
        body = {"password": password, "new_password": new_password}
        return await app.http.put("auth/password", json=body, headers=auth)

    assert problem(await change("wrong", OTHER_PASSWORD)) == "sign-in-refused"
    for bad in ("short", PASSWORD, "x" * 11 + "\x00"):
        assert problem(await change(PASSWORD, bad)) == "invalid-input"
    assert (await change(PASSWORD, OTHER_PASSWORD)).status_code == 204
    assert problem(await change(OTHER_PASSWORD, PASSWORD)) == "token-revoked"
    assert (await sign_in(app)).status_code == 401
    assert (await sign_in(app, password=OTHER_PASSWORD)).status_code == 200


async def test_the_first_operator_is_created_once(tmp_path: Any) -> None:
    async with open_app(tmp_path / "empty") as app:

        async def bootstrap(secret: str) -> httpx.Response:
            return await app.http.post(
                "auth/bootstrap", json={"secret": secret, "username": "root"}
            )

        assert problem(await bootstrap("wrong")) == "sign-in-refused"
        answers = await asyncio.gather(*(bootstrap(BOOTSTRAP_SECRET) for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
        view = next(answer.json() for answer in answers if answer.status_code == 201)
        assert view["user"]["roles"] == [Role.OPERATOR]
        assert problem(await bootstrap(BOOTSTRAP_SECRET)) == "conflict"
        refused = [
            body["entry"]["reason"]
            for body in await app.entries(OPERATOR)
            if body["entry"]["outcome"] == "refused"
        ]
        assert sorted(refused) == ["conflict"] * 3 + ["sign-in-refused"]


async def test_without_a_bootstrap_secret_nobody_is_first(opened: Opened) -> None:
    async with opened(bootstrap_secret_sha256="") as app:
        for secret in ("", BOOTSTRAP_SECRET):
            answer = await app.http.post(
                "auth/bootstrap", json={"secret": secret, "username": "root"}
            )
            assert (answer.status_code, problem(answer)) == (401, "sign-in-refused")


async def floods(app: App, tenant: str) -> int:
    return sum(
        body["entry"]["action"] == "request" and body["entry"]["reason"] == "rate-limited"
        for body in await app.entries(tenant)
    )


async def test_a_user_who_asks_too_much(opened: Opened, alpha: str) -> None:
    async with opened(requests_per_minute=5) as app:
        auth = await app.auth(alpha)
        for round_ in (1, 2):
            for _ in range(5):
                assert (await app.http.get("auth/account", headers=auth)).status_code == 200
            for _ in range(4):
                answer = await app.http.get("auth/account", headers=auth)
                assert (answer.status_code, problem(answer)) == (429, "rate-limited")
                assert answer.headers["retry-after"] == "12"
            assert await floods(app, alpha) == round_
            member = await app.auth(alpha, "member")
            assert (await app.http.get("auth/account", headers=member)).status_code == 200
            app.clock.advance(60)


async def test_an_address_that_asks_too_much_without_a_token(opened: Opened, alpha: str) -> None:
    async with opened(requests_per_minute=5) as app:
        statuses = [(await app.http.get("documents")).status_code for _ in range(9)]
        assert statuses == [401] * 5 + [429] * 4
        answer = await app.http.get("health")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "12")
        assert await floods(app, OPERATOR) == 1
        auth = await app.auth(alpha)
        assert (await app.http.get("documents", headers=auth)).status_code == 200


async def test_a_flood_of_forged_tokens_costs_no_reads(
    opened: Opened, alpha: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(requests_per_minute=1) as app:
        token = await app.token(alpha)
        head, _, nonce, ciphertext, tag = token.split(".")
        header = json.loads(base64.urlsafe_b64decode(head + "==")) | {"kid": "key_made-up"}
        made_up = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
        forged = [
            "no token of ours",
            f"{head}..{nonce}.{ciphertext}.{'A' * 22}",
            f"{made_up}..{nonce}.{ciphertext}.{tag}",
        ]
        records = type(app.services.adapters.records)
        reads: list[str] = []
        get = records.get

        async def counted(store: Any, partition: Partition, kind: str, key: str) -> Any:
            reads.append(kind)
            return await get(store, partition, kind, key)

        monkeypatch.setattr(records, "get", counted)
        for each in forged * 5:
            answer = await app.http.get("documents", headers=bearer(each))
            assert answer.status_code in {401, 429}
        assert reads == []
        app.clock.advance(60)
        for each in forged * 5:
            await app.http.get("documents", headers=bearer(each))
        assert reads == ["token-ring"], "its keys may be new"


async def test_an_address_that_signs_in_too_often(opened: Opened) -> None:
    async with opened(sign_ins_per_minute=2) as app:
        answers = [await sign_in(app, f"user{number}", "wrong") for number in range(5)]
        assert [answer.status_code for answer in answers] == [401] * 2 + [429] * 3
        assert answers[-1].headers["retry-after"] == "30"
        assert await floods(app, OPERATOR) == 1
        app.clock.advance(30)
        assert (await sign_in(app)).status_code == 200


async def test_token_keys_rotate_and_tokens_live_on(opened: Opened, alpha: str) -> None:
    async with opened() as app:
        old = await app.auth(alpha)
        tokens = app.services.tokens
        assert not await tokens.rotate(), "too soon"
        app.clock.advance(3600)
        assert await tokens.rotate()
        assert not await tokens.rotate()
        assert (await app.http.get("auth/account", headers=old)).status_code == 200
        app.clock.advance(ACTIVATION.total_seconds())
        new = await app.auth(alpha)
        assert new["Authorization"].split(".")[0] != old["Authorization"].split(".")[0]
        app.clock.advance(3600 - ACTIVATION.total_seconds() - 1)
        for auth in (old, new):
            assert (await app.http.get("auth/account", headers=auth)).status_code == 200
        app.clock.advance(1)
        assert problem(await app.http.get("auth/account", headers=old)) == "token-expired"
        for _ in range(3):
            app.clock.advance(timedelta(hours=24).total_seconds())
            assert await tokens.rotate()
        answer = await app.http.get("auth/account", headers=old)
        assert (answer.status_code, problem(answer)) == (401, "unauthenticated")


async def test_another_process_learns_of_a_new_token_key(opened: Opened, alpha: str) -> None:
    async with opened() as first, opened() as second:
        second_auth = await second.auth(alpha)
        for app in (first, second):
            app.clock.advance(3600)
        assert await first.services.tokens.rotate()
        first.clock.advance(61)
        second.clock.advance(61)
        fresh = await first.auth(alpha)
        assert (await second.http.get("auth/account", headers=fresh)).status_code == 200
        assert (await first.http.get("auth/account", headers=second_auth)).status_code == 200


async def test_a_key_vault_that_does_not_answer_at_the_start(
    opened: Opened, alpha: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as app:
        token = await app.auth(alpha)
    async with opened() as app:

        async def silent(*_: object) -> bytes:
            raise Unavailable("The key vault does not answer.", 7)

        with monkeypatch.context() as down:
            down.setattr(type(app.services.adapters.key_vault), "unwrap", silent)
            answer = await app.http.get("documents", headers=token)
            assert (answer.status_code, problem(answer)) == (503, "unavailable")
            assert answer.headers["retry-after"] == "7"
            assert problem(await sign_in(app)) == "unavailable"
            assert (await app.http.get("health")).status_code == 200
        assert (await app.http.get("documents", headers=token)).status_code == 200
        assert (await sign_in(app)).status_code == 200
