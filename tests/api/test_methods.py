"""What every client may ask: other methods, other origins, paths that are nearly right, health."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from functions.api.cross_origin import METHODS, REQUEST_HEADERS, RESPONSE_HEADERS
from functions.api.response_headers import _DESCRIPTIONS
from shared.adapters.embedded.folders import LEAST_ROOM
from tests.support.app import App, Opened, SeededApp, problem

pytestmark = pytest.mark.anyio

ORIGIN = "https://app.example.com"
OTHER = "https://other.example.com"


@pytest.fixture(scope="module")
async def app(seeded: SeededApp, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[App]:
    """One for all, without any allowed origin."""
    async with seeded.opened(tmp_path_factory.mktemp("methods") / "data") as app:
        yield app


async def preflight(app: App, path: str, origin: str = ORIGIN, **more: str) -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"} | more
    return await app.http.options(path, headers=headers)


def allowed(answer: httpx.Response) -> set[str]:
    return {name for name in answer.headers if name.startswith("access-control-allow")}


async def test_every_get_has_a_head_without_a_body(app: App, auth: dict[str, str]) -> None:
    document = (await app.upload(auth, b"content")).json()["id"]
    for path in ("health", "documents", f"documents/{document}", "policy", "docs", "openapi.json"):
        found = await app.http.get(path, headers=auth)
        answer = await app.http.head(path, headers=auth)
        assert (answer.status_code, answer.content) == (200, b""), path
        varying = {"traceparent", "request-id"}
        assert {*answer.headers} == {*found.headers}
        for name in {*answer.headers} - varying:
            assert answer.headers[name] == found.headers[name], path
    answer = await app.http.head(f"documents/{document}/content", headers=auth)
    assert (answer.status_code, answer.headers["content-length"]) == (200, "7")


async def test_a_head_asks_for_the_same_permission_as_its_get(app: App) -> None:
    assert (await app.http.head("documents")).status_code == 401
    answer = await app.http.head("auth/sign-in")
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")


async def test_a_path_of_its_own_is_not_taken_for_an_id(app: App, auth: dict[str, str]) -> None:
    answer = await app.http.head("backups/verifications", headers=auth)
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")


async def test_options_tell_what_a_path_takes(app: App) -> None:
    for path, expected in (
        ("documents", "GET, HEAD, OPTIONS, POST"),
        ("documents/doc_x/content", "GET, HEAD, OPTIONS, PUT"),
        ("health", "GET, HEAD, OPTIONS"),
        ("auth/sign-in", "OPTIONS, POST"),
        ("http://app.test/staged/a/b", "OPTIONS, PUT"),
    ):
        answer = await app.http.options(path)
        assert (answer.status_code, answer.headers["allow"], answer.content) == (204, expected, b"")
        trace = await app.http.request("TRACE", path)
        assert (trace.status_code, problem(trace)) == (405, "method-not-allowed")
        assert trace.headers["allow"] == expected
    nowhere = await app.http.options("nowhere")
    assert (nowhere.status_code, problem(nowhere)) == (404, "no-such-route")


async def test_no_origin_is_allowed_unless_the_operator_says_so(
    app: App, auth: dict[str, str]
) -> None:
    assert allowed(await preflight(app, "documents")) == set()
    answer = await app.http.get("documents", headers=auth | {"Origin": ORIGIN})
    assert answer.status_code == 200
    assert allowed(answer) == set()


async def test_an_allowed_origin_can_do_what_the_api_does(opened: Opened, alpha: str) -> None:
    async with opened(cors_origins=f"{ORIGIN} http://localhost:5173") as app:
        auth = await app.auth(alpha)
        for origin in (ORIGIN, "http://localhost:5173"):
            asked = {"Access-Control-Request-Headers": ",".join(REQUEST_HEADERS).lower()}
            answer = await preflight(app, "documents", origin, **asked)
            assert answer.status_code == 200, answer.text
            headers = answer.headers
            assert headers["access-control-allow-origin"] == origin
            assert {*METHODS} <= {*headers["access-control-allow-methods"].split(", ")}
            assert "access-control-allow-credentials" not in headers
            assert "Origin" in headers["vary"]
            assert headers["x-content-type-options"] == "nosniff"
        uploaded = await app.upload(auth, b"content", Origin=ORIGIN)
        assert uploaded.status_code == 201
        exposed = {*uploaded.headers["access-control-expose-headers"].split(", ")}
        assert {"ETag", "Location"} <= exposed == {*RESPONSE_HEADERS}
        refused = await app.http.get("documents", headers={"Origin": ORIGIN})
        assert (refused.status_code, problem(refused)) == (401, "unauthenticated")
        for each in (uploaded, refused):
            assert each.headers["access-control-allow-origin"] == ORIGIN
            assert "Origin" in each.headers["vary"]
        staged = await preflight(app, "http://app.test/staged/a/b")
        assert staged.headers["access-control-allow-origin"] == ORIGIN


async def test_another_origin_is_refused_and_caches_are_told(opened: Opened, alpha: str) -> None:
    async with opened(cors_origins=ORIGIN) as app:
        for origin in (OTHER, "null", ORIGIN + ".evil.example", ORIGIN.upper()):
            answer = await preflight(app, "documents", origin)
            assert (answer.status_code, problem(answer)) == (403, "cross-origin-refused")
            assert "access-control-allow-origin" not in answer.headers
            assert "Origin" in answer.headers["vary"]
            assert origin not in answer.text
            read = await app.http.get(
                "documents", headers=await app.auth(alpha) | {"Origin": origin}
            )
            assert "access-control-allow-origin" not in read.headers
            assert "Origin" in read.headers["vary"]
        assert "Origin" in (await app.http.get("health")).headers["vary"]
        assert (await app.http.options("documents")).headers["allow"]


@pytest.mark.parametrize(
    "origins", ["*", "https://*.example.com", "app.example.com", "https://a.example/", "null"]
)
def test_an_origin_that_is_none_is_refused_at_the_start(origins: str) -> None:
    from shared.wiring.settings import Settings

    with pytest.raises(ValueError, match="cors_origins"):
        Settings(cors_origins=origins)


def test_web_applications_may_send_and_read_every_header_of_the_api(app: App) -> None:
    document = app.apps[0].openapi()
    parameters = {
        parameter["name"].lower()
        for path in document["paths"].values()
        for operation in path.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "header"
    }
    assert parameters | {"authorization", "content-type"} <= {
        name.lower() for name in REQUEST_HEADERS
    }
    assert {*_DESCRIPTIONS} <= {*RESPONSE_HEADERS}
    methods = {
        method
        for route in iter_route_contexts(app.apps[0].routes)
        for method in route.methods or ()
    }
    assert methods <= {*METHODS}


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/api/v1/documents/", "/api/v1/documents"),
        ("/api/v1//documents", "/api/v1/documents"),
        ("/api/v1/Documents", "/api/v1/documents"),
        ("/api/v1/documents/doc_x/", "/api/v1/documents/{document}"),
        ("/api/v1/documents/doc_x/content/", "/api/v1/documents/{document}/content"),
        ("/api/v1/auth/sign-in/", "/api/v1/auth/sign-in"),
        ("/documents", "/api/v1/documents"),
        ("/v1/documents/", "/api/v1/documents"),
        ("/health/", "/api/v1/health"),
        ("/api/v1/documents/secret/secret/secret", None),
        ("/secret", None),
        ("/", None),
    ],
)
async def test_a_path_that_is_nearly_right_is_told_the_right_one(
    app: App, path: str, meant: str | None
) -> None:
    answer = await app.http.get(f"http://app.test{path}")
    assert (answer.status_code, problem(answer)) == (404, "no-such-route")
    detail = answer.json()["detail"]
    assert detail == (f"Did you mean {meant}? " if meant else "") + (
        "See /api/v1/docs for every path."
    )


@pytest.mark.parametrize(
    "change",
    [
        {"f_bavail": LEAST_ROOM // 4_096 - 1},
        {"f_favail": 0},
        {"f_flag": os.ST_RDONLY},
    ],
)
async def test_health_tells_a_disk_that_takes_no_more(
    app: App, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    assert (await app.http.get("health")).status_code == 200
    room = {"f_bavail": LEAST_ROOM // 4_096, "f_frsize": 4_096, "f_flag": 0}
    room |= {"f_files": 1_000, "f_favail": 1}
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**room))
    assert (await app.http.get("health")).status_code == 200
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**room | change))
    answer = await app.http.get("health")
    assert (answer.status_code, problem(answer)) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert str(app.data) not in answer.text
    assert (await app.http.head("health")).status_code == 503
