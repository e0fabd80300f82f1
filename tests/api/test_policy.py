"""The policy over the API: defaults, changes, bounds, and who may read and set it."""

from __future__ import annotations

from typing import Any

import pytest

from shared.base.partitions import OPERATOR
from tests.support.app import POLICY, App, Opened, SeededApp, problem

pytestmark = pytest.mark.anyio

DEFAULTS = {
    "trash_days": 30,
    "retention": {"hourly": 24, "daily": 30, "monthly": 12, "yearly": 7},
    "verification_days": 30,
    "legal_hold": False,
    "staff_access": "approval",
}


async def test_a_policy_is_the_default_until_it_is_set(
    app: App, alpha: str, beta: str, auth: dict[str, str]
) -> None:
    first = await app.http.get("policy", headers=auth)
    assert (first.status_code, first.json()) == (200, DEFAULTS)
    changed = await app.http.put(
        "policy", json=POLICY, headers=auth | {"If-Match": first.headers["etag"]}
    )
    assert (changed.status_code, changed.json()) == (200, POLICY)
    again = await app.http.get("policy", headers=auth)
    assert (again.json(), again.headers["etag"]) == (POLICY, changed.headers["etag"])
    for stale in (first.headers["etag"], '"another"'):
        answer = await app.http.put("policy", json=DEFAULTS, headers=auth | {"If-Match": stale})
        assert (answer.status_code, problem(answer)) == (412, "precondition-failed")
    theirs = await app.http.get("policy", headers=await app.auth(beta))
    assert theirs.json() == DEFAULTS
    await app.settle()
    entries = [body["entry"] for body in await app.entries(alpha)]
    [entry] = [each for each in entries if each["action"] == "policy.change"]
    assert entry["details"] == {
        "trash_days": 7,
        **POLICY["retention"],
        "verification_days": 10,
        "legal_hold": 0,
        "staff_access": "approval",
    }


async def test_the_policy_decides_what_deleting_does(app: App, auth: dict[str, str]) -> None:
    outcomes = []
    for days in (0, 1, 90):
        await app.http.put("policy", json=POLICY | {"trash_days": days}, headers=auth)
        document = (await app.upload(auth, b"x")).json()["id"]
        answer = (await app.http.delete(f"documents/{document}", headers=auth)).json()
        outcomes.append((answer["outcome"], answer["erased_at"]))
    assert outcomes == [
        ("erased", "2026-01-01T00:00:00Z"),
        ("trashed", "2026-01-02T00:00:00Z"),
        ("trashed", "2026-04-01T00:00:00Z"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"trash_days": -1},
        {"trash_days": 91},
        {"trash_days": "soon"},
        {"verification_days": 0},
        {"verification_days": 91},
        {"legal_hold": None},
        {"retention": {"hourly": 24, "daily": 30, "monthly": 12}},
        {"retention": POLICY["retention"] | {"hourly": 23}},
        {"retention": POLICY["retention"] | {"hourly": 8_784}},
        {"retention": POLICY["retention"] | {"yearly": 10**30}},
        {"retention": POLICY["retention"] | {"weekly": 1}},
        {"unknown": 1},
    ],
)
async def test_a_policy_that_is_not_valid_changes_nothing(
    app: App, auth: dict[str, str], change: dict[str, Any]
) -> None:
    answer = await app.http.put("policy", json=POLICY | change, headers=auth)
    assert (answer.status_code, problem(answer)) == (400, "invalid-input")
    assert (await app.http.get("policy", headers=auth)).json() == DEFAULTS


@pytest.mark.parametrize("missing", sorted(POLICY))
async def test_a_policy_is_set_as_a_whole(app: App, auth: dict[str, str], missing: str) -> None:
    part = {name: value for name, value in POLICY.items() if name != missing}
    answer = await app.http.put("policy", json=part, headers=auth)
    assert (answer.status_code, problem(answer)) == (400, "invalid-input")


async def test_the_operators_bounds_are_settings(opened: Opened, seeded: SeededApp) -> None:
    narrow = {"backup_retention_min": "0 0 0 0", "backup_retention_max": "24 10 1 0"}
    async with opened(**narrow) as app:
        auth = await app.auth(seeded.alpha)
        least = dict.fromkeys(POLICY["retention"], 0)
        clamped = {"hourly": 24, "daily": 10, "monthly": 1, "yearly": 0}
        assert (await app.http.get("policy", headers=auth)).json()["retention"] == clamped
        answer = await app.http.put("policy", json=POLICY, headers=auth)
        assert problem(answer) == "invalid-input"
        assert "hourly from 0 to 24, daily from 0 to 10" in answer.json()["detail"]
        answer = await app.http.put("policy", json=POLICY | {"retention": least}, headers=auth)
        assert answer.status_code == 200


async def test_who_may_read_and_set_it(app: App, alpha: str, auth: dict[str, str]) -> None:
    for tenant, username in (
        (alpha, "member"),
        (alpha, "reader"),
        (OPERATOR, "operator"),
        (OPERATOR, "support"),
        (OPERATOR, "officer"),
    ):
        headers = await app.auth(tenant, username)
        for method in ("GET", "PUT"):
            answer = await app.http.request(method, "policy", json=POLICY, headers=headers)
            assert (answer.status_code, problem(answer)) == (403, "forbidden"), username
    for method in ("GET", "PUT"):
        assert (await app.http.request(method, "policy", json=POLICY)).status_code == 401
    assert (await app.http.get("policy", headers=auth)).json() == DEFAULTS
