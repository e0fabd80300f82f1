"""Evidence for auditors: what they ask for out of a log, and the proof of each."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shared.base.partitions import OPERATOR
from tests.support.app import POLICY, App
from tests.support.evidence import verified

pytestmark = pytest.mark.anyio


def proved(answer: httpx.Response) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """The counts and the lines of a bundle."""
    assert answer.status_code == 200, answer.text
    *lines, end = verified(answer.text.splitlines())
    assert all("proof" in line for line in lines)
    return end["counts"], lines


async def test_a_bundle_has_what_auditors_ask_for_and_nothing_else(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    document = (await app.upload(auth, b"content")).json()["id"]
    app.clock.advance(60)
    since = app.clock.now()
    await app.http.put("policy", json=POLICY, headers=auth)
    grant = await app.grant(alpha, document)
    support = await app.auth(OPERATOR, "support")
    path = f"staff-grants/{grant}/documents/{document}"
    assert (await app.http.get(path, headers=support)).status_code == 200
    wrong = {"tenant": "alpha", "username": "admin", "password": "a wrong guess"}
    assert (await app.http.post("auth/sign-in", json=wrong)).status_code == 401
    await app.http.get("documents", headers=auth)
    await app.settle()
    for log in (alpha, OPERATOR):
        await app.services.audit.checkpoints.publish(log)

    counts, lines = proved(
        await app.http.get("audit/evidence", params={"since": since.isoformat()}, headers=auth)
    )
    found = sorted((line["subject"], line["entry"]["action"]) for line in lines)
    assert found == [
        ("configuration", "policy.change"),
        ("grants", "document.read"),
        ("grants", "grant.approve"),
        ("grants", "grant.request"),
        ("refused sign-ins", "account.sign-in"),
    ]
    assert counts["grants"] == 3
    assert counts["drills"] == 0
    officer = await app.auth(OPERATOR, "officer")
    _, theirs = proved(await app.http.get("audit/evidence", headers=officer))
    assert {"grants", "configuration", "keys"} <= {line["subject"] for line in theirs}
    assert all(line["entry"]["tenant"] == OPERATOR for line in theirs)


@pytest.mark.parametrize("who", ["operator", "support"])
async def test_employees_who_do_the_work_do_not_get_it(app: App, who: str) -> None:
    answer = await app.http.get("audit/evidence", headers=await app.auth(OPERATOR, who))
    assert answer.status_code == 403
