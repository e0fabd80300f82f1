"""Moments that no identifier says: before 1970, and those that are past the year 9999 in UTC."""

from __future__ import annotations

import json

import pytest

from tests.support.app import App
from tests.support.webhooks import publish, set_up

pytestmark = pytest.mark.anyio

EARLY = ("0001-01-01T00:00:00+23:59", "1900-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z")
LATE = ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999-12:00")
LISTS = ("audit", "audit/export", "audit/evidence", "grants/report")


async def count(app: App, auth: dict[str, str], path: str, period: dict[str, str]) -> int:
    """How many entries or grants an answer holds."""
    answer = await app.http.get(path, params=period, headers=auth)
    assert answer.status_code == 200, (path, period, answer.text)
    if path == "audit":
        return len(answer.json()["items"])
    lines = [json.loads(line) for line in answer.text.splitlines()]
    return sum("entry" in line or "grant" in line for line in lines)


@pytest.fixture
async def reader(app: App, alpha: str, auth: dict[str, str]) -> dict[str, str]:
    document = (await app.upload(auth, b"content")).json()["id"]
    await app.grant(alpha, document)
    await app.settle()
    await app.services.audit.checkpoints.publish(alpha)
    app.clock.advance(60)
    return auth


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_since_long_ago_is_whole_and_one_since_the_end_of_time_is_empty(
    app: App, reader: dict[str, str], path: str
) -> None:
    now = app.clock.now().isoformat()
    whole = await count(app, reader, path, {"before": now})
    assert whole
    for early in EARLY:
        assert await count(app, reader, path, {"since": early, "before": now}) == whole, early
        assert await count(app, reader, path, {"before": early}) == 0, early
    for late in LATE:
        assert await count(app, reader, path, {"since": late}) == 0, late
        found = await count(app, reader, path, {"since": EARLY[0], "before": late})
        assert found >= whole, late


async def test_a_replay_and_a_restore_take_them_too(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    await publish(app, alpha)
    webhook, _ = await set_up(app, auth)
    replay = f"webhooks/{webhook}/replay"
    for moment in EARLY + LATE:
        answer = await app.http.post(replay, json={"since": moment}, headers=auth)
        assert answer.status_code == 200, (moment, answer.text)
        answer = await app.http.post("restores", json={"at": moment}, headers=auth)
        assert answer.status_code == 404, (moment, answer.text)
