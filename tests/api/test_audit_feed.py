"""The feed: every entry once and in order, however the log grows between pages."""

from __future__ import annotations

import random
from typing import Any

import pytest

from shared.base.partitions import OPERATOR
from tests.support.app import App, problem

pytestmark = pytest.mark.anyio


async def publish(app: App, tenant: str) -> None:
    """Let a checkpoint cover what has happened."""
    await app.settle()
    await app.services.audit.checkpoints.publish(tenant)


async def page(
    app: App, auth: dict[str, str], cursor: str | None = None, limit: int = 200
) -> tuple[list[dict[str, Any]], str]:
    params = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
    answer = await app.http.get("audit/feed", params=params, headers=auth)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"], answer.json()["cursor"]


async def test_a_feed_has_every_entry_once_in_order(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    items, cursor = await page(app, auth)
    assert items == [], "no checkpoint yet"
    chance = random.Random(3)
    followed: list[dict[str, Any]] = []
    for _ in range(25):
        for _ in range(chance.randrange(30)):
            await app.services.journal.commit(
                app.services.journal.entry("document.list", tenant=alpha)  # type: ignore[arg-type]
            )
        if chance.random() < 0.5:
            await publish(app, alpha)
        for _ in range(chance.randrange(4)):
            items, cursor = await page(app, auth, cursor, chance.randrange(1, 60))
            followed += items
    await publish(app, alpha)
    while True:
        items, cursor = await page(app, auth, cursor)
        if not items:
            break
        followed += items
    assert [item["position"] for item in followed] == list(range(len(followed)))
    assert [item["entry"]["id"] for item in followed] == [
        body["entry"]["id"] for body in sorted(await app.entries(alpha), key=_position)
    ]


def _position(body: dict[str, Any]) -> int:
    return int(body["position"])


async def test_following_a_feed_hardly_makes_the_log_grow(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    cursor = None
    for _ in range(30):
        await publish(app, alpha)
        _, cursor = await page(app, auth, cursor)
        app.clock.advance(30)
    reads = [entry for entry in await app.actions(alpha) if entry == "audit.read"]
    assert len(reads) == 2, "one in ten minutes"


async def test_entries_are_opened(app: App, alpha: str, auth: dict[str, str]) -> None:
    await app.upload(auth | {"User-Agent": "zebra/1"}, b"content")
    await publish(app, alpha)
    items, _ = await page(app, auth)
    [created] = [each["entry"] for each in items if each["entry"]["action"] == "document.create"]
    assert (created["address"], created["user_agent"]) == ("203.0.113.7", "zebra/1")


async def test_a_cursor_is_of_one_log(
    app: App, alpha: str, beta: str, auth: dict[str, str]
) -> None:
    await publish(app, alpha)
    await publish(app, beta)
    _, cursor = await page(app, auth)
    theirs = await app.auth(beta)
    position = cursor.partition(".")[0]
    for invalid in (
        *(cursor, "", "5", f"-1.{beta}", f"٣.{beta}", f"1e3.{beta}", f"{'9' * 17}.{beta}"),
        *(f"{position}.{beta} ", f"{position}.{OPERATOR}", "x" * 2_000),
    ):
        answer = await app.http.get("audit/feed", params={"cursor": invalid}, headers=theirs)
        assert (answer.status_code, problem(answer)) == (400, "invalid-input"), invalid
    ahead = f"{int(position) + 1_000}.{alpha}"
    assert await page(app, auth, ahead) == ([], ahead), "it waits, and goes back to nothing"


async def test_only_who_may_read_the_log_may_follow_it(app: App, alpha: str) -> None:
    for tenant, username, status in (
        (alpha, "member", 403),
        (OPERATOR, "operator", 403),
        (OPERATOR, "officer", 200),
    ):
        auth = await app.auth(tenant, username)
        answer = await app.http.get("audit/feed", headers=auth)
        assert answer.status_code == status, username
    assert (await app.http.get("audit/feed")).status_code == 401
