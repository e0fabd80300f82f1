"""Isolation: every route, every caller, the victim's own ids; nothing but 401, 403 and 404."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts

from functions.api.guard import GuardedRoute, public, requires
from shared.access.permissions import PERMISSIONS, STAFF_ROLES, Permission, Role
from shared.base.partitions import OPERATOR
from tests.support.app import App, Opened, SeededApp, problem
from tests.support.records import find_records
from tests.support.routes import CONTENT, USERNAMES, Victim, furnish, guarded, permission_of, send

pytestmark = pytest.mark.anyio


@pytest.fixture
async def victim(app: App, alpha: str, auth: dict[str, str]) -> Victim:
    return await furnish(app, alpha, auth)


def facts(app: App, tenant: str) -> dict[str, Any]:
    """Every record of a tenant but the audit log's and the bus's: what must not change."""
    kinds = (
        *("document", "version", "upload", "user", "username", "epoch", "intermediate-key"),
        *("document-month", "idempotency", "idempotency-reservation", "policy"),
        *("target", "target-places", "target-status", "webhooks", "webhook-status"),
    )
    return {
        f"{record.kind} {record.partition} {record.id}": record.body
        for record in find_records(app.data, *kinds, tenant=tenant)
    }


async def untouched(app: App, victim: Victim, before: dict[str, Any]) -> None:
    assert facts(app, victim.tenant) == before
    answer = await app.http.get(
        f"documents/{victim.document}/content", headers=await app.auth(victim.tenant)
    )
    assert (answer.status_code, answer.content) == (200, CONTENT)


async def refusals(app: App, tenant: str) -> list[dict[str, Any]]:
    return [
        body["entry"]
        for body in await app.entries(tenant)
        if body["entry"]["outcome"] == "refused" and body["entry"]["action"] == "request"
    ]


def test_the_table_knows_every_role() -> None:
    assert PERMISSIONS.keys() == set(Role)


async def test_both_apps_declare_a_permission_everywhere(app: App) -> None:
    counts = [
        len([permission_of(context) for context in iter_route_contexts(app.routes)])
        for app in app.apps
    ]
    assert counts[0] > 20
    assert counts[1] == 1


async def test_what_is_public_is_known(app: App) -> None:
    public = {
        f"{method} {context.path}"
        for app in app.apps
        for context in iter_route_contexts(app.routes)
        if permission_of(context) is None
        for method in context.methods or ()
    }
    assert public == {
        "POST /api/v1/auth/bootstrap",
        "POST /api/v1/auth/sign-in",
        "GET /api/v1/health",
        "GET /api/v1/openapi.json",
        "GET /api/v1/docs",
        "GET /api/v1/docs/{asset}",
        "PUT /staged/{name:path}",
    }


def test_a_route_without_a_permission_cannot_be_made() -> None:
    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(TypeError, match="/open names no permission"):

        @router.get("/open")
        async def everybody() -> None: ...


def test_a_route_with_an_unknown_permission_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"documents\.everything"):

        @requires("documents.everything")  # type: ignore[arg-type]
        async def everybody() -> None: ...


def test_the_openapi_document_is_told_what_the_route_requires() -> None:
    router = APIRouter(route_class=GuardedRoute)

    @router.get("/own", openapi_extra={"x-permission": "public", "x-other": 1})
    @requires(Permission.OWN_ACCOUNT)
    async def own() -> None: ...

    @router.get("/open")
    @public
    async def everybody() -> None: ...

    app = FastAPI()
    app.include_router(router)
    paths = app.openapi()["paths"]
    found = paths["/own"]["get"]
    assert (found["x-permission"], found["x-other"]) == ("account.own", 1)
    assert found["security"] == [{"token": []}]
    assert paths["/open"]["get"]["x-permission"] == "public"
    assert "security" not in paths["/open"]["get"]


def test_an_openapi_field_alone_opens_no_route() -> None:
    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(TypeError, match="/open names no permission"):

        @router.get("/open", openapi_extra={"x-permission": "public"})
        async def everybody() -> None: ...


async def test_nobody_gets_in_without_a_token_of_ours(app: App, victim: Victim, alpha: str) -> None:
    token = await app.token(alpha)
    head, _, nonce, ciphertext, tag = token.split(".")
    flipped = ("A" if ciphertext[5] != "A" else "B").join((ciphertext[:5], ciphertext[6:]))
    unknown = json.loads(base64.urlsafe_b64decode(head + "==")) | {"kid": "key_unknown"}
    other_head = base64.urlsafe_b64encode(json.dumps(unknown).encode()).decode().rstrip("=")
    credentials = {
        "none": None,
        "empty": "",
        "no token": "Bearer",
        "basic": "Basic YWRtaW46YWRtaW4=",
        "garbage": "Bearer garbage",
        "five parts": "Bearer a.b.c.d.e",
        "unsigned": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
        "not ascii": "Bearer " + "\xff" * 40,
        "huge": "Bearer " + "x" * 8_000,
        "tampered ciphertext": f"Bearer {head}..{nonce}.{flipped}.{tag}",
        "tampered tag": f"Bearer {head}..{nonce}.{ciphertext}.{'A' * 22}",
        "unknown key": f"Bearer {other_head}..{nonce}.{ciphertext}.{tag}",
        "nul": "Bearer " + token + "\x00",
    }
    before = facts(app, alpha)
    refused = 0
    for route in guarded(app.apps[0]):
        for name, value in credentials.items():
            headers = {} if value is None else {"Authorization": value.encode("latin-1")}
            answer = await send(app, victim, route, headers)  # type: ignore[arg-type]
            assert answer.status_code == 401, (route, name)
            assert answer.headers["www-authenticate"] == "Bearer"
            if route.method != "HEAD":
                assert problem(answer) == "unauthenticated", (route, name)
            refused += 1
            app.clock.advance(1)  # slower than what would be a flood
    await untouched(app, victim, before)
    entries = await refusals(app, OPERATOR)
    assert len(entries) == refused
    assert {entry["actor"]["kind"] for entry in entries} == {"anonymous"}
    assert {(entry["details"]["route"], entry["resource"]) for entry in entries} == {
        (f"{route.method} {route.path.removeprefix('/api/v1')}", victim.named(route))
        for route in guarded(app.apps[0])
    }


async def test_a_refusal_repeats_nothing_but_an_id_of_ours(
    app: App, victim: Victim, beta: str
) -> None:
    reader = await app.auth(beta, "reader")
    assert (await app.http.delete(f"documents/{victim.document}", headers=reader)).is_error
    for text in (
        "zebra-7719",
        victim.document + "0",
        victim.document.upper(),
        "zebra" + victim.document[3:],
    ):
        for headers in ({}, reader):
            answer = await app.http.delete(f"documents/{text}", headers=headers)
            assert answer.status_code in {401, 403}
    named = Counter(entry["resource"] for entry in await refusals(app, beta))
    assert named == {victim.document: 1, "": 4}
    assert {entry["resource"] for entry in await refusals(app, OPERATOR)} == {""}
    for tenant in (beta, OPERATOR):
        assert "zebra" not in json.dumps(await app.entries(tenant))


async def test_a_token_ends_after_two_hours_on_every_route(app: App, victim: Victim) -> None:
    headers = await app.auth(victim.tenant)
    app.clock.advance(2 * 3600)
    before = facts(app, victim.tenant)
    for route in guarded(app.apps[0]):
        answer = await send(app, victim, route, headers)
        assert answer.status_code == 401
        if route.method != "HEAD":
            assert problem(answer) == "token-expired"
    await untouched(app, victim, before)


@pytest.mark.parametrize("role", sorted(set(Role) - STAFF_ROLES))
async def test_another_tenant_reaches_nothing(
    app: App, victim: Victim, beta: str, role: Role
) -> None:
    headers = await app.auth(beta, USERNAMES[role])
    before = facts(app, victim.tenant)
    expected: dict[str, int] = {"forbidden": 0, "not-found": 0}
    for route in guarded(app.apps[0]):
        allowed = route.permission in PERMISSIONS[role]
        if allowed and not victim.named(route):
            continue  # it concerns the caller's own tenant; see the test below
        answer = await send(app, victim, route, headers)
        assert answer.status_code == (404 if allowed else 403), route
        assert not (set(victim.__dict__.values()) & set(re.findall(r"[\w.]+", answer.text)))
        if route.method != "HEAD":
            assert problem(answer) == ("not-found" if allowed else "forbidden")
        expected["not-found" if allowed else "forbidden"] += 1
    await untouched(app, victim, before)
    reasons = [entry["reason"] for entry in await refusals(app, beta)]
    assert {reason: reasons.count(reason) for reason in expected} == expected
    assert expected["not-found"] > 0


@pytest.mark.parametrize("role", sorted(STAFF_ROLES))
async def test_no_employee_reaches_a_tenants_things(app: App, victim: Victim, role: Role) -> None:
    headers = await app.auth(OPERATOR, USERNAMES[role])
    before = facts(app, victim.tenant)
    for route in guarded(app.apps[0]):
        allowed = route.permission in PERMISSIONS[role]
        is_operators = "{tenant}" in route.path or (
            "/staff-grants/{grant}" in route.path and "/documents" not in route.path
        )
        if allowed and (not victim.named(route) or is_operators):
            continue  # the operator's own people, the directory of tenants, and what others may see
        answer = await send(app, victim, route, headers)
        assert answer.status_code == (404 if allowed else 403), route
    await untouched(app, victim, before)
    assert await refusals(app, OPERATOR)


async def test_an_employee_with_every_role_and_no_grant_sees_nothing_of_a_tenants(
    app: App, victim: Victim
) -> None:
    everything = await app.user(OPERATOR, "mighty", Role.OPERATOR)
    stored = await app.services.accounts.load(OPERATOR, everything)
    users = app.services.accounts.users
    # Nobody can be given these together.
    mighty = stored.value.model_copy(update={"roles": tuple(sorted(STAFF_ROLES))})
    await app.services.adapters.records.commit(stored.partition, [users.replace(stored, mighty)])
    headers = await app.auth(OPERATOR, "mighty")
    named = [name for name in await names(app, victim.tenant) if name]
    assert named
    seen = 0
    for route in guarded(app.apps[0]):
        if "/auth/" in route.path:
            continue  # their own account, and the end of their tokens
        answer = await send(app, victim, route, headers)
        assert CONTENT not in answer.content, route
        assert not [name for name in named if name.encode() in answer.content], route
        if "/documents" in route.path:
            assert answer.status_code in {403, 404, 405}, route
        seen += answer.is_success
    assert seen > 5, "the operator's own things"


async def names(app: App, tenant: str) -> list[str]:
    """The names of a tenant's documents."""
    listed = await app.http.get("documents", headers=await app.auth(tenant))
    return [item["name"] for item in listed.json()["items"]]


@pytest.mark.parametrize("role", sorted(set(Role) - STAFF_ROLES))
async def test_a_role_may_what_the_table_says_in_its_own_tenant(
    app: App, victim: Victim, role: Role
) -> None:
    before = facts(app, victim.tenant)
    for route in guarded(app.apps[0]):
        if route.permission in PERMISSIONS[role]:
            continue
        headers = await app.auth(victim.tenant, USERNAMES[role])
        answer = await send(app, victim, route, headers)
        assert answer.status_code == 403, route
        if route.method != "HEAD":
            assert problem(answer) == "forbidden"
            assert route.permission.value in answer.json()["detail"]
    await untouched(app, victim, before)
    forbidden = [entry["reason"] for entry in await refusals(app, victim.tenant)]
    missing = [r for r in guarded(app.apps[0]) if r.permission not in PERMISSIONS[role]]
    assert forbidden == ["forbidden"] * len(missing)


@pytest.mark.parametrize("role", sorted(Role))
async def test_what_the_table_allows_is_not_forbidden(
    opened: Opened, seeded: SeededApp, role: Role
) -> None:
    async with opened() as app:
        tenant = OPERATOR if role in STAFF_ROLES else seeded.beta
        auth = await app.auth(seeded.alpha)
        document = (await app.upload(auth, CONTENT)).json()
        victim = Victim(
            seeded.alpha,
            document["id"],
            document["etag"],
            "upl_" + "0" * 26,
            "usr_" + "0" * 26,
            "tgt_" + "0" * 26,
            "whk_" + "0" * 26,
            "set_" + "0" * 26,
            "ver_" + "0" * 26,
            "rst_" + "0" * 26,
            "grt_" + "0" * 26,
            "rev_" + "0" * 26,
            "usr_" + "0" * 26 + ".member",
        )
        for route in guarded(app.apps[0]):
            if route.permission in PERMISSIONS[role]:
                headers = await app.auth(tenant, USERNAMES[role])
                answer = await send(app, victim, route, headers)
                # The present password that it sends is wrong; everything else is in order.
                wrong_password = route.path.endswith("/auth/password")
                assert answer.status_code not in {403, 405, 500}, route
                assert (answer.status_code == 401) == wrong_password, (route, answer.text)


async def test_lists_hold_nothing_of_another_tenant(app: App, victim: Victim, beta: str) -> None:
    headers = await app.auth(beta)
    for path in ("documents", "users", "audit"):
        answer = await app.http.get(path, headers=headers, params={"limit": 200})
        assert answer.status_code == 200
        for secret in (victim.tenant, victim.document, victim.upload, victim.user):
            assert secret not in answer.text
    answer = await app.http.get("audit", headers=headers, params={"resource": victim.document})
    assert answer.json()["items"] == []


async def test_a_cursor_of_one_tenant_shows_nothing_to_another(
    app: App, alpha: str, beta: str, auth: dict[str, str]
) -> None:
    for number in range(3):
        await app.upload(auth, b"%d" % number)
    cursor = (await app.http.get("documents?limit=1", headers=auth)).json()["cursor"]
    answer = await app.http.get(
        "documents", params={"limit": 200, "cursor": cursor}, headers=await app.auth(beta)
    )
    assert answer.status_code == 400 or answer.json()["items"] == []


async def test_an_idempotency_key_of_one_tenant_means_nothing_to_another(
    app: App, alpha: str, beta: str, auth: dict[str, str]
) -> None:
    key = {"Idempotency-Key": "the same key in both tenants"}
    mine = (await app.upload(auth, CONTENT, **key)).json()
    theirs = (await app.upload(await app.auth(beta), CONTENT, **key)).json()
    assert mine["id"] != theirs["id"]
    member = (await app.upload(await app.auth(alpha, "member"), CONTENT, **key)).json()
    assert member["id"] not in {mine["id"], theirs["id"]}


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "QUERY"])
async def test_other_methods_do_nothing(app: App, victim: Victim, method: str) -> None:
    headers = await app.auth(victim.tenant)
    before = facts(app, victim.tenant)
    for route in guarded(app.apps[0]):
        own = {each.method for each in guarded(app.apps[0]) if each.path == route.path}
        if method in own or (method == "HEAD" and "GET" in own):
            continue
        answer = await app.http.request(method, victim.address(route), headers=headers)
        allowed = {each.strip() for each in answer.headers["allow"].split(",")}
        assert allowed == own | {"OPTIONS"} | ({"HEAD"} if "GET" in own else set())
        if method == "OPTIONS":
            assert (answer.status_code, answer.content) == (204, b"")
            continue
        assert answer.status_code == 405, route
        if method != "HEAD":
            assert problem(answer) == "method-not-allowed"
    await untouched(app, victim, before)


async def test_a_path_that_does_not_exist_is_a_problem(app: App) -> None:
    for path in ("nothing", "documents/a/b/c/d", "../../etc/passwd", "documents//"):
        answer = await app.http.get(path)
        assert answer.status_code in {307, 404}
        if answer.status_code == 404:
            assert problem(answer) == "no-such-route"
