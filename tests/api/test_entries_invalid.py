"""Which audit entries invalid and interrupted requests of a signed-in user make: one each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from functions.api.memory import USER_BYTES, MemoryBudget
from functions.bridge import respond
from shared.access.permissions import PERMISSIONS, STAFF_ROLES, Role
from shared.base.ids import PREFIXES, is_id
from shared.base.partitions import OPERATOR
from tests.support.app import App
from tests.support.entries import Fact, Recorder, break_off, interrupted, refused
from tests.support.routes import USERNAMES, Route, Victim, furnish, guarded
from tests.support.serving import serving
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

NAMED = {"Content-Disposition": 'attachment; filename="a.txt"'}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def victim(app: App, alpha: str, auth: dict[str, str]) -> Victim:
    return await furnish(app, alpha, auth)


@pytest.fixture
async def recorder(app: App, victim: Victim) -> Recorder:
    return await Recorder.of(app, victim)


@dataclass(frozen=True)
class Invalid:
    """A way in which a request can be invalid."""

    what: str
    request: dict[str, Any] = field(default_factory=dict)
    status: int = 400
    reason: str = "invalid-input"


BODIES = [
    Invalid("malformed JSON", {"content": b"{", "headers": JSON}),
    Invalid("not a JSON object", {"json": []}),
    Invalid("an unknown field", {"json": {"zebra-7719": 1}}),
    Invalid("a member twice", {"content": b'{"a": 1, "a": 2}', "headers": JSON}),
    Invalid("not UTF-8", {"content": b'{"name": "\xff"}', "headers": JSON}),
    Invalid("no media type", {"content": b"{}"}),
    Invalid("another media type", {"content": b"a=b", "headers": {"Content-Type": "text/plain"}}),
    Invalid("a part", {"json": {}, "headers": {"Content-Range": "bytes 0-1/2"}}),
    Invalid("compressed", {"json": {}, "headers": {"Content-Encoding": "gzip"}},
            415, "unsupported-media-type"),
    Invalid("another digest", {"json": {}, "headers": {"Repr-Digest": f"sha-256=:{'A' * 43}=:"}},
            422, "digest-mismatch"),
    Invalid("too large", {"content": b" " * 262_145, "headers": JSON}, 413, "too-large"),
]  # fmt: skip


async def callers(app: App, tenant: str, route: Route) -> tuple[dict[str, str], str, str]:
    """The headers of somebody who may send a request, and whose log it is in."""
    if "/staff-grants/{grant}/documents" in route.path:
        return await app.auth(OPERATOR, "helper"), OPERATOR, "employee"
    if route.permission in PERMISSIONS[Role.ADMINISTRATOR]:
        return await app.auth(tenant), "alpha", "user"
    role = next(role for role in sorted(STAFF_ROLES) if route.permission in PERMISSIONS[role])
    return await app.auth(OPERATOR, USERNAMES[role]), OPERATOR, "employee"


def template(route: Route) -> str:
    """The route's path in the OpenAPI document."""
    return route.path.replace(":path}", "}")


def taking(app: App, kind: str) -> list[Route]:
    """The guarded routes that take a body of a media type."""
    paths = app.apps[0].openapi()["paths"]
    return [
        route
        for route in guarded(app.apps[0])
        if kind
        in paths[template(route)][route.method.lower()].get("requestBody", {}).get("content", {})
    ]


@pytest.mark.parametrize("invalid", BODIES, ids=lambda invalid: invalid.what)
async def test_an_invalid_body_of_a_signed_in_user_is_one_entry(
    app: App, victim: Victim, recorder: Recorder, invalid: Invalid
) -> None:
    routes = taking(app, "application/json")
    assert len(routes) > 8
    for route in routes:
        headers, log, by = await callers(app, victim.tenant, route)
        request = invalid.request | {"headers": headers | invalid.request.get("headers", {})}
        answer = await app.http.request(route.method, victim.address(route), **request)
        assert answer.status_code == invalid.status, (str(route), answer.text)
        assert recorder.new(answer.headers["request-id"]) == [
            refused(str(route), invalid.reason, victim.kind(route), log=log, by=by)
        ]


async def test_content_that_is_not_described_as_it_must_be_is_one_entry(
    app: App, victim: Victim, recorder: Recorder
) -> None:
    tries: list[tuple[dict[str, str], str]] = [
        ({"Content-Disposition": "zebra-7719"}, "invalid-input"),
        (NAMED | {"Content-Encoding": "gzip"}, "unsupported-media-type"),
        (NAMED | {"Content-Range": "bytes 0-1/2"}, "invalid-input"),
        (NAMED | {"Strongroom-Metadata": "{"}, "invalid-input"),
        (NAMED | {"Content-Type": "zebra-7719"}, "invalid-input"),
        (NAMED | {"Repr-Digest": "sha-256=zebra-7719"}, "invalid-input"),
        (NAMED | {"Repr-Digest": f"sha-256=:{'A' * 43}=:"}, "digest-mismatch"),
    ]
    routes = taking(app, "application/octet-stream")
    assert len(routes) == 3
    for route in routes:
        auth, log, by = await callers(app, victim.tenant, route)
        for sent, reason in tries:
            headers = auth | {"If-Match": victim.etag} | sent
            answer = await app.http.request(
                route.method, victim.address(route), content=b"x", headers=headers
            )
            assert recorder.new(answer.headers["request-id"]) == [
                refused(str(route), reason, victim.kind(route), log=log, by=by)
            ], (sent, answer.text)


async def test_an_invalid_parameter_of_a_signed_in_user_is_one_entry(
    app: App, victim: Victim, recorder: Recorder
) -> None:
    tried = 0
    for route in guarded(app.apps[0]):
        operation = app.apps[0].openapi()["paths"][template(route)][route.method.lower()]
        for parameter in operation.get("parameters", ()):
            name, where = parameter["name"], parameter["in"]
            url = victim.address(route)
            if where == "path":
                url = url.replace(getattr(victim, name, victim.named(route)), "zebra-7719")
            elif where == "query" and name != "cursor":
                url = f"{url.partition('?')[0]}?{name}={'z' * 65}"
            else:
                continue
            headers, log, by = await callers(app, victim.tenant, route)
            request = victim.request(route)
            request["headers"] = request.get("headers", {}) | headers
            answer = await app.http.request(route.method, url, **request)
            others = [each for each in victim.kinds(route) if each != name or where == "query"]
            others = [each for each in others if is_id(getattr(victim, each, ""), *PREFIXES)]
            resource = others[0] if others and hasattr(victim, name) | (where == "query") else ""
            assert recorder.new(answer.headers["request-id"]) == [
                refused(str(route), "invalid-input", resource, log=log, by=by)
            ], (str(route), name, answer.text)
            tried += 1
    assert tried > 40


@pytest.mark.parametrize("cancelled", [False, True], ids=["uvicorn", "bridge"])
async def test_a_body_that_the_client_breaks_off_is_one_entry(
    app: App, victim: Victim, recorder: Recorder, cancelled: bool
) -> None:
    routes = taking(app, "application/json") + taking(app, "application/octet-stream")
    before = app.stored("primary")
    for route in routes:
        headers, log, by = await callers(app, victim.tenant, route)
        sent = headers | NAMED | {"If-Match": victim.etag, "Transfer-Encoding": "chunked"}
        url = victim.address(route)
        await break_off(app, route.method, url, sent, b"{" * 100, cancelled=cancelled)
        expected = interrupted(str(route), victim.kind(route))
        assert recorder.new() == [Fact(**vars(expected) | {"log": log, "by": by})], str(route)
    assert app.stored("primary") == before


def bridged(app: ASGIApp) -> ASGIApp:
    """The app behind the bridge, as the Functions worker has it."""

    async def worker(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await (await respond(app, request))(scope, receive, send)

    return worker


@pytest.mark.parametrize("behind", [None, bridged], ids=["uvicorn", "bridge"])
@pytest.mark.parametrize("size", [0, 2_000_000])
async def test_a_real_connection_that_is_lost_during_an_upload_is_one_entry(
    app: App,
    auth: dict[str, str],
    recorder: Recorder,
    behind: Callable[[ASGIApp], ASGIApp] | None,
    size: int,
) -> None:
    before = app.stored("primary")
    sent = auth | NAMED | {"Host": "app.test", "Content-Length": "3000000"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    api: ASGIApp = app.apps[0]
    found: list[Fact] = []

    def is_there() -> bool:
        found.extend(recorder.new())
        return bool(found)

    async with serving(api if behind is None else behind(api)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST /api/v1/documents HTTP/1.1\r\n{lines}\r\n".encode() + bytes(size))
        await writer.drain()
        await asyncio.sleep(0.3)
        writer.transport.abort()
        await eventually(is_there)
    assert found == [interrupted("POST /documents")]
    assert app.stored("primary") == before


async def test_a_body_that_is_broken_off_without_a_token_is_no_entry_of_its_own(
    app: App, recorder: Recorder
) -> None:
    sent = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    for cancelled in (False, True):
        await break_off(app, "POST", "/api/v1/auth/sign-in", sent, b"{", cancelled=cancelled)
        assert recorder.new() == []
        await break_off(app, "POST", "/api/v1/documents", sent, b"{", cancelled=False)
        assert recorder.new() == [
            refused("POST /documents", "unauthenticated", log="operator", by="anonymous")
        ]


async def test_content_for_which_there_is_no_memory_is_one_entry(
    app: App, victim: Victim, auth: dict[str, str], recorder: Recorder
) -> None:
    user = (await app.found(victim.tenant, "admin")).value.id
    budget: MemoryBudget = app.apps[0].state.limits.memory
    budget._patience = 0.01
    await budget.hold({user: USER_BYTES}, USER_BYTES)
    answer = await app.upload(auth, b"x")
    assert answer.status_code == 429
    assert recorder.new(answer.headers["request-id"]) == [
        refused("POST /documents", "rate-limited")
    ]


async def test_a_flood_of_invalid_requests_is_as_long_as_the_rate_limit_allows(
    app: App, victim: Victim, auth: dict[str, str], recorder: Recorder
) -> None:
    limit = app.services.settings.requests_per_minute
    headers = auth | {"Content-Type": "application/json"}
    for _ in range(limit + 50):
        await app.http.post("uploads", content=b"{", headers=headers)
    reasons = [fact.reason for fact in recorder.new()]
    assert reasons.count("rate-limited") == 1
    assert reasons.count("invalid-input") == len(reasons) - 1 <= limit
    app.clock.advance(61)
    await app.http.get("health")
    assert [(fact.action, fact.more["refusals"]) for fact in recorder.new()] == [
        ("requests.refused", limit + 50 - len(reasons) + 1)
    ]
