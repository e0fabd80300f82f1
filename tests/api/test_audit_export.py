"""The export of the audit log over HTTP: streamed, permitted, audited, of the caller's own tenant."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from fastapi import Request

from functions.api import audit
from functions.api.guard import GuardedRoute
from functions.api.memory import STREAM_BYTES
from shared.base.partitions import OPERATOR
from tests.support.app import App, problem

pytestmark = pytest.mark.anyio


async def publish(app: App, tenant: str) -> None:
    """Let a checkpoint cover what has happened."""
    await app.settle()
    await app.services.audit.checkpoints.publish(tenant)


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_an_administrator_exports_the_log_of_their_tenant(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    answer = await app.http.get("audit/export", headers=auth)
    assert (answer.status_code, problem(answer)) == (404, "not-found")
    document = (await app.upload(auth, b"content")).json()["id"]
    await publish(app, alpha)
    before = len(await app.entries(alpha))
    header, *rows, last = lines(await app.http.get("audit/export", headers=auth))
    assert header["origin"].endswith(f"/log/{alpha}")
    assert {row["entry"]["tenant"] for row in rows} == {alpha}
    assert document in {row["entry"]["resource"] for row in rows}
    assert set(last) == {"proof"}
    created = next(row for row in rows if row["entry"]["action"] == "document.create")
    assert created["opened"]["address"] == "203.0.113.7"
    entries = await app.entries(alpha)
    assert len(entries) == before + 1, "one entry says it"
    [entry] = [each["entry"] for each in entries if each["entry"]["action"] == "audit.export"]
    assert entry["details"] == {"format": "ndjson", "entries": len(rows)}


async def test_a_period_and_a_form(app: App, alpha: str, auth: dict[str, str]) -> None:
    await app.upload(auth, b"content")
    app.clock.advance(3_600)
    since = app.clock.now().isoformat()
    await app.upload(auth, b"content")
    await publish(app, alpha)
    params = {"since": since, "format": "ocsf"}
    header, *events, _ = lines(await app.http.get("audit/export", params=params, headers=auth))
    assert (header["from"], header["to"]) == (since, "")
    assert {event["metadata"]["version"] for event in events} == {"1.3.0"}
    times = {json.loads(event["raw_data"])["time"] for event in events}
    assert min(times) == since.replace("+00:00", "Z")
    for params in ({"format": "csv"}, {"since": "yesterday"}):
        answer = await app.http.get("audit/export", params=params, headers=auth)
        assert (answer.status_code, problem(answer)) == (400, "invalid-input")


async def test_only_who_may_read_the_log_may_export_it(app: App, alpha: str) -> None:
    await publish(app, alpha)
    await publish(app, OPERATOR)
    for tenant, username, status in (
        (alpha, "member", 403),
        (alpha, "reader", 403),
        (OPERATOR, "operator", 403),
        (OPERATOR, "officer", 200),
    ):
        auth = await app.auth(tenant, username)
        answer = await app.http.get("audit/export", headers=auth)
        assert answer.status_code == status, (username, answer.text)
        if status == 200:
            assert f"/log/{tenant}" in lines(answer)[0]["origin"]


async def test_head_responds_without_the_export(app: App, alpha: str, auth: dict[str, str]) -> None:
    await publish(app, alpha)
    answer = await app.http.head("audit/export", headers=auth)
    assert (answer.status_code, answer.content) == (200, b"")


def test_an_export_counts_as_a_stream() -> None:
    [route] = [
        each for each in audit.router.routes if getattr(each, "path", "") == "/api/v1/audit/export"
    ]
    assert isinstance(route, GuardedRoute)
    request = Request({"type": "http", "method": "GET", "headers": []})
    assert route._size_to_hold(request) == STREAM_BYTES
