"""Which audit entries a request makes: for each operation, exactly these."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts

from shared.access.permissions import PERMISSIONS, STAFF_ROLES, Role
from shared.base.partitions import OPERATOR
from tests.support.app import BOOTSTRAP_SECRET, PASSWORD, TARGET, App, grant_request
from tests.support.entries import Fact, Recorder, in_order, ok, refused
from tests.support.reviews import break_glass
from tests.support.routes import CONTENT, USERNAMES, Route, Victim, furnish, guarded, send

pytestmark = pytest.mark.anyio

NAMED = {"Content-Disposition": 'attachment; filename="a.txt"'}
NEW_PASSWORD = "another battery staple"
SIZE = len(CONTENT)
POLICY_FACTS: dict[str, Any] = {
    "trash_days": 7,
    "hourly": 48,
    "daily": 14,
    "monthly": 6,
    "yearly": 3,
    "verification_days": 10,
    "legal_hold": 0,
    "staff_access": "approval",
}


@dataclass(frozen=True)
class Success:
    """A request that succeeds, and what it makes.

    Attributes:
        route: Method and template, as in the OpenAPI document, without ``/api/v1``.
        facts: The entries.
        who: A username of alpha, ``operator`` or ``helper`` for an employee, or nobody.
        request: Arguments of httpx; none: what ``Victim.request`` has.
        grant: The name of the grant that the path names, where it does.
    """

    route: str
    facts: tuple[Fact, ...]
    who: str = "admin"
    request: dict[str, Any] | None = None
    grant: str = "grant"


def staff(action: str, resource: str = "", **details: Any) -> Fact:
    """An entry of an employee, in the operator's log."""
    return Fact(action, resource, details, "operator", "employee")


def granted(action: str, grant: str, by: str = "employee", **narrowed: Any) -> Fact:
    """An entry about a grant; the audit function copies it into the other log."""
    facts = {"tenant": "tenant", "reason_code": "customer-initiated", "scope": "documents"}
    more: dict[str, Any] = {"depth": "content", "operations": ["read"], "seconds": 3_600}
    return Fact(action, grant, facts | more | narrowed, "operator", by)


def under_grant(action: str, resource: str, **details: Any) -> Fact:
    """An entry of an employee under a grant, in the tenant's log."""
    return Fact(action, resource, details, "alpha", "employee")


STAFF_GRANT = "/staff-grants/{grant}"
ALL = ["delete", "read", "write"]
OF_BROKEN: dict[str, Any] = {"operations": ["read"], "seconds": 3_600}

# In an order in which each finds what it needs.
SUCCESSES = [
    Success("GET /health", (), ""),
    Success(
        "POST /auth/bootstrap",
        (Fact("user.create", "new usr", {}, "operator", "anonymous"),),
        "",
        {"json": {"secret": BOOTSTRAP_SECRET, "username": "first"}},
    ),
    Success(
        "POST /auth/sign-in",
        (ok("account.sign-in", "admin"),),
        "",
        {"json": {"tenant": "alpha", "username": "admin", "password": PASSWORD}},
    ),
    Success("GET /auth/account", (ok("account.read", "admin"),)),
    Success("POST /auth/sign-out-everywhere", (ok("account.sign-out", "admin"),)),
    Success(
        "PUT /auth/password",
        (ok("account.password-change", "admin"),),
        "admin",
        {"json": {"password": PASSWORD, "new_password": NEW_PASSWORD}},
    ),
    Success(
        "POST /tenants",
        (
            staff("tenant.create", "new ten"),
            Fact("tenant.create", "new ten", {}, "new ten", "employee"),
        ),
        "operator",
    ),
    Success("GET /tenants", (staff("tenant.list"),), "operator"),
    Success("GET /tenants/{tenant}", (staff("tenant.read", "tenant"),), "operator"),
    Success(
        "POST /tenants/{tenant}/key-rotation",
        (
            Fact(
                "key.rotate",
                "new int",
                {"key_version": "random", "replaces": "new int"},
                "alpha",
                "employee",
            ),
        ),
        "operator",
    ),
    Success("POST /users", (ok("user.create", "new usr", roles=["reader"]),)),
    Success("GET /users", (ok("user.list"),)),
    Success("GET /users/{user}", (ok("user.read", "user"),)),
    Success("PATCH /users/{user}", (ok("user.change", "user", roles=["member"], disabled=1),)),
    Success("POST /users/{user}/temporary-password", (ok("user.temporary-password", "user"),)),
    Success("GET /policy", (ok("policy.read"),)),
    Success("PUT /policy", (ok("policy.change", **POLICY_FACTS),)),
    Success("POST /documents", (ok("document.create", "new doc", version=1, size=11),)),
    Success("GET /documents", (ok("document.list", documents=2),)),
    Success("GET /documents/{document}", (ok("document.read", "document", version=1, size=SIZE),)),
    Success("GET /documents/{document}/versions", (ok("document.read", "document"),)),
    Success(
        "GET /documents/{document}/content",
        (ok("document.open", "document", version=1, start=0, end=SIZE),),
    ),
    Success(
        "HEAD /documents/{document}/content",
        (ok("document.read", "document", version=1, size=SIZE),),
    ),
    Success(
        "PUT /documents/{document}/content",
        (ok("document.update", "document", version=2, size=11),),
    ),
    Success("PUT /documents/{document}/hold", (ok("document.hold", "document"),)),
    Success("DELETE /documents/{document}/hold", (ok("document.release", "document"),)),
    Success(
        "DELETE /documents/{document}",
        (ok("document.trash", "document", versions=2, erase_at="2026-01-08T00:04:00+00:00"),),
    ),
    Success("POST /documents/{document}/recover", (ok("document.recover", "document"),)),
    Success("GET /grants", (ok("grant.list"),)),
    Success("GET /grants/report", (ok("grant.report"),)),
    Success("GET /grants/{grant}", (ok("grant.read", "grant"),)),
    Success(
        "POST /grants/{grant}/consent",
        (granted("grant.consent", "asked", "user"),),
        grant="asked",
    ),
    Success(
        "POST /grants/{grant}/decline",
        (granted("grant.decline", "other", "user"),),
        grant="other",
    ),
    Success("POST /staff-grants", (granted("grant.request", "new grt"),), "helper"),
    Success("GET /staff-grants", (staff("grant.list"),), "operator"),
    Success(f"GET {STAFF_GRANT}", (staff("grant.read", "grant"),), "operator"),
    Success(
        f"POST {STAFF_GRANT}/approve",
        (granted("grant.approve", "asked"),),
        "operator",
        grant="asked",
    ),
    Success(
        f"POST {STAFF_GRANT}/decline",
        (granted("grant.decline", "third"),),
        "operator",
        grant="third",
    ),
    Success("DELETE /grants/{grant}", (granted("grant.revoke", "asked", "user"),), grant="asked"),
    Success(
        "POST /staff-grants/closed-cases",
        (granted("grant.case-close", "fourth"),),
        "helper",
        {"json": {"system": "tickets", "id": "4712"}},
    ),
    Success(
        f"GET {STAFF_GRANT}/documents",
        (under_grant("document.read", "document", version=2, size=11),),
        "helper",
    ),
    Success(
        f"GET {STAFF_GRANT}/documents/{{document}}",
        (under_grant("document.read", "document", version=2, size=11),),
        "helper",
    ),
    Success(
        f"GET {STAFF_GRANT}/documents/{{document}}/versions",
        (under_grant("document.read", "document"),),
        "helper",
    ),
    Success(
        f"GET {STAFF_GRANT}/documents/{{document}}/content",
        (under_grant("document.open", "document", version=2, start=0, end=11),),
        "helper",
    ),
    Success(
        f"HEAD {STAFF_GRANT}/documents/{{document}}/content",
        (under_grant("document.read", "document", version=2, size=11),),
        "helper",
    ),
    Success(
        f"PUT {STAFF_GRANT}/documents/{{document}}/content",
        (under_grant("document.update", "document", version=3, size=11),),
        "helper",
    ),
    Success(
        f"DELETE {STAFF_GRANT}/documents/{{document}}",
        (
            under_grant(
                "document.trash", "document", versions=3, erase_at="2026-01-08T00:04:00+00:00"
            ),
        ),
        "helper",
    ),
    Success(
        f"PATCH {STAFF_GRANT}",
        (granted("grant.narrow", "grant", operations=ALL, seconds=600),),
        "helper",
    ),
    Success(
        f"DELETE {STAFF_GRANT}",
        (granted("grant.return", "grant", operations=ALL, seconds=600),),
        "helper",
    ),
    Success("GET /reviews", (ok("review.list"),)),
    Success("GET /reviews/{review}", (ok("review.read", "review"),)),
    Success("GET /reviews/{review}/items", (ok("review.read", "review"),)),
    Success("GET /reviews/{review}/report", (ok("review.report", "review", form="json"),)),
    Success("GET /reviews/{review}/report.jws", (ok("review.report", "review", form="jws"),)),
    Success("GET /reviews/{review}/report.pdf", (ok("review.report", "review", form="pdf"),)),
    Success(
        "POST /reviews/{review}/items/{item}",
        (
            staff(
                "review.decide",
                "broken review",
                item="broken",
                user="new usr",
                decision="confirm",
                tenant="tenant",
            ),
            granted("grant.review", "broken", **OF_BROKEN),
        ),
        "officer",
    ),
    Success("POST /reviews", (ok("review.open", "new rev", kind="full"),)),
    Success("POST /uploads", (ok("upload.create", "new upl", size=1),)),
    Success("GET /uploads/{upload}", (ok("upload.read", "upload"),)),
    Success("POST /uploads/{upload}/complete", (ok("upload.complete", "upload"),)),
    Success("DELETE /uploads/{upload}", (ok("upload.cancel", "other upload"),)),
    Success(
        "POST /targets",
        (ok("target.create", "new tgt", kind="s3", quorum=0, holders=0),),
        "admin",
        {"json": TARGET | {"address": TARGET["address"] | {"prefix": "other/"}}},
    ),
    Success("GET /targets", (ok("target.list"),)),
    Success("GET /targets/{target}", (ok("target.read", "target"),)),
    Success("PATCH /targets/{target}", (ok("target.change", "target", changed=["paused"]),)),
    Success("POST /targets/{target}/probe", (ok("target.probe", "target"),)),
    Success("DELETE /targets/{target}", (ok("target.delete", "target"),)),
    Success("GET /backups", (ok("backup.list", sets=1),)),
    Success("GET /backups/report", (ok("backup.report"),)),
    Success(
        "POST /backups/verifications", (ok("backup.verification-create", "new ver", set="set"),)
    ),
    Success(
        "GET /backups/verifications/{verification}",
        (ok("backup.verification-read", "verification"),),
    ),
    Success("GET /backups/{set}", (ok("backup.read", "set"),)),
    Success(
        "POST /restores", (ok("restore.plan", "new rst", set="set", tenant="tenant", versions=0),)
    ),
    Success("GET /restores", (ok("restore.read"),)),
    Success("GET /restores/{restore}", (ok("restore.read", "restore"),)),
    Success("POST /restores/{restore}/start", (ok("restore.start", "restore"),)),
    Success("POST /restores/{restore}/pause", (ok("restore.pause", "restore"),)),
    Success("DELETE /restores/{restore}", (ok("restore.cancel", "restore"),)),
    Success("GET /audit", (ok("audit.read", entries=11),)),
    Success("GET /audit/keys", (ok("audit.read", form="keys"),)),
    Success("GET /audit/log/{tenant}/checkpoint", (ok("audit.read", form="checkpoint"),)),
    Success("GET /audit/log/{tenant}/inclusion", (ok("audit.read", form="inclusion"),)),
    Success("GET /audit/log/{tenant}/consistency", (ok("audit.read", form="consistency"),)),
    Success("GET /audit/log/{tenant}/witnessed", (ok("audit.read", form="witnessed"),)),
    Success("GET /audit/log/{tenant}/timestamp", (ok("audit.read", form="timestamp"),)),
    Success(
        "GET /audit/log/{tenant}/timestamp/checkpoint",
        (ok("audit.read", form="timestamp-checkpoint"),),
    ),
    Success("GET /audit/log/{tenant}/tile/{path}", (ok("audit.read", form="tiles"),)),
    Success("GET /audit/export", (ok("audit.export", format="ndjson", entries=11),)),
    Success("GET /audit/evidence", (ok("audit.export", format="evidence", entries=11),)),
    Success("GET /audit/feed", (ok("audit.read", form="feed"),)),
    Success("POST /webhooks", (ok("webhook.create", "new whk", kinds=["audit", "documents"]),)),
    Success("GET /webhooks", (ok("webhook.list"),)),
    Success("GET /webhooks/{webhook}", (ok("webhook.read", "webhook"),)),
    Success("PATCH /webhooks/{webhook}", (ok("webhook.change", "webhook", changed=["paused"]),)),
    Success("POST /webhooks/{webhook}/secret", (ok("webhook.rotate", "webhook"),)),
    Success("POST /webhooks/{webhook}/probe", (ok("webhook.probe", "webhook", status=204),)),
    Success("POST /webhooks/{webhook}/replay", (ok("webhook.replay", "webhook", position=0),)),
    Success("DELETE /webhooks/{webhook}", (ok("webhook.delete", "webhook"),)),
    Success(
        "GET /dead-letters",
        (staff("events.read", subscription="audit"),),
        "operator",
    ),
    Success(
        "POST /dead-letters/replay",
        (staff("events.replay", subscription="audit", messages=1),),
        "operator",
    ),
]


@pytest.fixture
async def victim(app: App, alpha: str, auth: dict[str, str]) -> Victim:
    return await furnish(app, alpha, auth)


@pytest.fixture
async def recorder(app: App, alpha: str, victim: Victim) -> Recorder:
    return await Recorder.of(app, victim)


def operations(app: App) -> Iterator[str]:
    """Every operation that the OpenAPI document has."""
    for path, methods in app.apps[0].openapi()["paths"].items():
        yield from (f"{method.upper()} {path.removeprefix('/api/v1')}" for method in methods)


async def test_every_operation_has_a_row(app: App) -> None:
    assert sorted(row.route for row in SUCCESSES) == sorted(operations(app))


async def test_what_succeeds_makes_exactly_these_entries(
    app: App, victim: Victim, auth: dict[str, str]
) -> None:
    other = (await app.http.post("uploads", json={"name": "a", "size": 1}, headers=auth)).json()
    begun = (await app.http.get(f"uploads/{victim.upload}", headers=auth)).json()
    assert begun["state"] == "granted"
    granted = await app.services.uploads.store.upload(victim.tenant, victim.upload)

    async def one_byte() -> Any:
        yield b"x"

    await app.services.adapters.staging.put(granted.value.object, one_byte())
    await app.services.backups.verifications.run()  # only one at a time can be asked for
    grants = {"grant": victim.grant}
    for name, case in (("asked", "1"), ("other", "2"), ("third", "3"), ("fourth", "4712")):
        asked = grant_request(victim.tenant, victim.document)
        asked["case"] |= {"id": case}
        headers = await app.auth(OPERATOR, "helper")
        answer = await app.http.post("staff-grants", json=asked, headers=headers)
        grants[name] = answer.json()["id"]
    grants["broken"] = await break_glass(app, victim.tenant)
    headers = await app.auth(OPERATOR, "support")
    await app.http.delete(f"staff-grants/{grants['broken']}", headers=headers)
    await app.services.reviews.timer.run()
    review = f"rev_{grants['broken'].removeprefix('grt_')}"
    grants["broken review"] = review
    recorder = await Recorder.of(app, victim, **{"other upload": other["id"]}, **grants)
    wrong: dict[str, list[Fact]] = {}
    for row in SUCCESSES:
        method, path = row.route.split()
        named = Route(method, f"/api/v1{path}", None)  # type: ignore[arg-type]
        request = dict(victim.request(named) if row.request is None else row.request)
        headers = dict(request.pop("headers", {}))
        if row.who:
            tenant = OPERATOR if row.who in {"operator", "helper", "officer"} else victim.tenant
            headers |= await app.auth(tenant, row.who)
        url = victim.address(named)
        if row.route == "DELETE /uploads/{upload}":
            url = url.replace(victim.upload, other["id"])
        if row.route == "POST /reviews/{review}/items/{item}":
            url = url.replace(victim.review, review).replace(victim.item, grants["broken"])
        url = url.replace(victim.grant, grants[row.grant])
        if row.route == f"PUT {STAFF_GRANT}/documents/{{document}}/content":
            owner = await app.auth(victim.tenant)
            headers["If-Match"] = await app.etag(owner, victim.document)
        recorder.new()
        answer = await app.http.request(method, url, headers=headers, **request)
        assert answer.is_success, (row.route, answer.text)
        found = recorder.new(answer.headers["request-id"])
        if found != in_order(row.facts):
            wrong[row.route] = found
    assert not wrong, "\n".join(f"{route}: {found}" for route, found in wrong.items())


SIGN_IN: dict[str, Any] = {"tenant": "alpha", "username": "admin", "password": PASSWORD}


async def test_a_refused_sign_in_is_one_entry_of_whom_it_names(
    app: App, recorder: Recorder
) -> None:
    def fact(resource: str, reason: str, log: str = "alpha", by: str = "anonymous") -> Fact:
        return Fact("account.sign-in", resource, {}, log, by, "refused", reason)

    for sent, expected in (
        ({"password": "wrong"}, fact("admin", "sign-in-refused")),
        ({"username": "nobody"}, fact("", "sign-in-refused")),
        ({"tenant": "nowhere"}, fact("", "sign-in-refused", "operator")),
        ({"new_password": NEW_PASSWORD}, fact("admin", "invalid-input", by="user")),
    ):
        answer = await app.http.post("auth/sign-in", json=SIGN_IN | sent)
        assert recorder.new(answer.headers["request-id"]) == [expected], sent
    answer = await app.http.post("auth/bootstrap", json={"secret": "no", "username": "first"})
    assert recorder.new(answer.headers["request-id"]) == [
        Fact("user.create", "", {}, "operator", "anonymous", "refused", "sign-in-refused")
    ]
    for invalid in ({}, SIGN_IN | {"password": 1}, SIGN_IN | {"zebra": 1}):
        assert (await app.http.post("auth/sign-in", json=invalid)).status_code == 400
    assert recorder.new() == [], "nobody is known to have tried anything"


async def test_without_a_token_each_request_is_one_entry_of_the_operator(
    app: App, victim: Victim, recorder: Recorder
) -> None:
    for route in guarded(app.apps[0]):
        answer = await send(app, victim, route, {})
        assert recorder.new(answer.headers["request-id"]) == [
            refused(
                str(route),
                "unauthenticated",
                victim.kind(route),
                log="operator",
                by="anonymous",
            )
        ]
        app.clock.advance(2)  # slower than what would be a flood


@pytest.mark.parametrize("role", sorted(Role))
async def test_without_the_permission_each_request_is_one_entry(
    app: App, victim: Victim, recorder: Recorder, role: Role
) -> None:
    log, by = (OPERATOR, "employee") if role in STAFF_ROLES else ("alpha", "user")
    tenant = OPERATOR if role in STAFF_ROLES else victim.tenant
    tried = 0
    for route in guarded(app.apps[0]):
        if route.permission in PERMISSIONS[role]:
            continue
        answer = await send(app, victim, route, await app.auth(tenant, USERNAMES[role]))
        assert answer.status_code == 403
        assert recorder.new(answer.headers["request-id"]) == [
            refused(str(route), "forbidden", victim.kind(route), log=log, by=by)
        ]
        tried += 1
    assert tried > 5


async def test_another_tenants_ids_are_entries_of_who_tried_them(
    app: App, victim: Victim, beta: str, recorder: Recorder
) -> None:
    tried = 0
    for route in guarded(app.apps[0]):
        if not victim.named(route) or route.permission not in PERMISSIONS[Role.ADMINISTRATOR]:
            continue
        answer = await send(app, victim, route, await app.auth(beta))
        assert answer.status_code == 404, str(route)
        assert recorder.new(answer.headers["request-id"]) == [
            refused(str(route), "not-found", victim.kind(route), log="beta")
        ]
        tried += 1
    assert tried > 20


async def test_what_is_asked_of_methods_and_public_pages_is_no_entry(
    app: App, auth: dict[str, str], recorder: Recorder
) -> None:
    for context in iter_route_contexts(app.apps[0].routes):
        answer = await app.http.options(f"http://app.test{context.path}", headers=auth)
        assert answer.status_code == 204
    for path in ("health", "docs", "openapi.json", "docs/swagger-ui.css", "docs/zebra", "zebra"):
        await app.http.get(path, headers=auth)
        await app.http.head(path, headers=auth)
    assert (await app.http.post("health", headers=auth)).status_code == 405
    assert recorder.new() == []


async def test_a_head_makes_the_entries_of_its_get(
    app: App, victim: Victim, recorder: Recorder
) -> None:
    rows = {row.route: row.facts for row in SUCCESSES}
    for path, fact in (
        ("documents", ok("document.list", documents=1)),
        (f"documents/{victim.document}", rows["GET /documents/{document}"][0]),
        ("policy", ok("policy.read")),
        ("users", ok("user.list")),
    ):
        answer = await app.http.head(path, headers=await app.auth(victim.tenant))
        assert recorder.new(answer.headers["request-id"]) == [fact]


async def test_responses_without_content_are_entries_too(
    app: App, victim: Victim, auth: dict[str, str], recorder: Recorder
) -> None:
    path = f"documents/{victim.document}/content"
    read = ok("document.read", "document", version=1, size=SIZE)
    for method in ("GET", "HEAD"):
        route = f"{method} /documents/{{document}}/content"
        for headers, status, fact in (
            ({"If-None-Match": victim.etag}, 304, read),
            ({"If-None-Match": "*"}, 304, read),
            ({"If-Match": '"zebra"'}, 412, refused(route, "precondition-failed", "document")),
        ):
            answer = await app.http.request(method, path, headers=auth | headers)
            assert answer.status_code == status
            assert recorder.new(answer.headers["request-id"]) == [fact]
    answer = await app.http.get(path, headers=auth | {"Range": "bytes=1-2"})
    assert recorder.new(answer.headers["request-id"]) == [
        ok("document.open", "document", version=1, start=1, end=3)
    ]
    answer = await app.http.get(path, headers=auth | {"Range": "bytes=99-"})
    assert recorder.new(answer.headers["request-id"]) == [
        refused("GET /documents/{document}/content", "range-not-satisfiable", "document")
    ]


def test_nothing_in_a_table_is_typed_text() -> None:
    assert "zebra" not in json.dumps([vars(fact) for row in SUCCESSES for fact in row.facts])
