"""Floods of refusals: one entry in the audit log, and their count once they have ended."""

from __future__ import annotations

from collections import Counter

import pytest

from functions.api.floods import LOGGED_PER_MINUTE
from shared.base.errors import Unavailable
from shared.base.partitions import OPERATOR
from tests.support.app import App, Opened, problem

pytestmark = pytest.mark.anyio


async def floods(app: App, tenant: str) -> int:
    """How many floods at a rate limit have begun, says a tenant's log."""
    return sum(
        (body["entry"]["action"], body["entry"]["reason"]) == ("request", "rate-limited")
        for body in await app.entries(tenant)
    )


async def counts(app: App, tenant: str) -> list[tuple[str, int]]:
    """Whom the ended floods in a tenant's log were of, and how many refusals each was."""
    return sorted(
        (entry["actor"]["id"] or entry["address"], entry["details"]["refusals"])
        for entry in (body["entry"] for body in await app.entries(tenant))
        if (entry["action"], entry["reason"]) == ("requests.refused", "rate-limited")
    )


async def test_a_flood_is_one_entry_and_a_count_once_it_has_ended(
    opened: Opened, alpha: str
) -> None:
    async with opened(requests_per_minute=60) as app:
        user = (await app.found(alpha, "admin")).value.id
        auth = await app.auth(alpha)
        before = len(await app.entries(OPERATOR))
        for _ in range(60):
            await app.http.get("documents")
            await app.http.get("auth/account", headers=auth)
        statuses: list[int] = []
        for _ in range(50):  # ten seconds, in which the buckets give ten tokens
            app.clock.advance(0.2)
            statuses.append((await app.http.get("documents")).status_code)
            await app.http.get("auth/account", headers=auth)
        assert Counter(statuses) == {429: 40, 401: 10}
        assert len(await app.entries(OPERATOR)) - before == 61
        assert await floods(app, alpha) == 1
        assert await counts(app, OPERATOR) == await counts(app, alpha) == []
        app.clock.advance(60)
        for _ in range(3):
            assert (await app.http.get("auth/account", headers=auth)).status_code == 200
        assert await counts(app, OPERATOR) == [("203.0.113.7", 50)]
        assert await counts(app, alpha) == [(user, 40)]


async def test_a_flood_below_the_limit_is_one_entry_too(opened: Opened, alpha: str) -> None:
    async with opened() as app:
        member = await app.auth(alpha, "member")
        assert (await app.http.post("auth/sign-out-everywhere", headers=member)).status_code == 204
        for headers in ({}, member):
            for _ in range(LOGGED_PER_MINUTE + 20):
                assert (await app.http.get("documents", headers=headers)).status_code == 401
        user = (await app.found(alpha, "member")).value.id
        for tenant, caller in ((OPERATOR, "203.0.113.7"), (alpha, user)):
            refused = [
                body["entry"]["reason"]
                for body in await app.entries(tenant)
                if body["entry"]["outcome"] == "refused"
            ]
            assert len(refused) == LOGGED_PER_MINUTE + 1
            app.clock.advance(60)
            await app.http.get("health")
            assert await counts(app, tenant) == [(caller, 20)]


async def test_a_flood_without_its_entry_is_not_answered(
    opened: Opened, alpha: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(requests_per_minute=1) as app:
        auth = await app.auth(alpha)
        assert (await app.http.get("auth/account", headers=auth)).status_code == 200
        records = type(app.services.adapters.records)

        async def silent(*_: object) -> None:
            raise Unavailable("The record store does not answer.")

        with monkeypatch.context() as down:
            down.setattr(records, "commit", silent)
            answer = await app.http.get("auth/account", headers=auth)
            assert (answer.status_code, problem(answer)) == (503, "unavailable")
        answer = await app.http.get("auth/account", headers=auth)
        assert (answer.status_code, problem(answer)) == (429, "rate-limited")
        assert await floods(app, alpha) == 1
        app.clock.advance(60)
        with monkeypatch.context() as down:
            down.setattr(records, "commit", silent)
            assert (await app.http.get("health")).status_code == 200
        app.clock.advance(60)
        assert (await app.http.get("health")).status_code == 200
        assert len(await counts(app, alpha)) == 1
