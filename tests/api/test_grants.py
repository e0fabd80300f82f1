"""Staff grants over HTTP: the whole story, and everybody who tries to get past it."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

from shared.base.partitions import OPERATOR
from tests.support.app import POLICY, App, grant_request

pytestmark = pytest.mark.anyio

CONTENT = b"what the customer wrote, in confidence"


async def uploaded(app: App, auth: dict[str, str], name: str = "paper.txt") -> str:
    answer = await app.upload(auth, CONTENT, name)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def slug_of(answer: Any) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


async def test_a_case_from_the_request_to_the_tenants_report(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    document = await uploaded(app, auth)
    policy = await app.http.put("policy", json=POLICY | {"staff_access": "consent"}, headers=auth)
    assert policy.status_code == 200, policy.text
    asks, approves = await app.auth(OPERATOR, "support"), await app.auth(OPERATOR, "operator")
    asked = await app.http.post("staff-grants", json=grant_request(alpha, document), headers=asks)
    assert (asked.status_code, asked.json()["state"]) == (201, "requested")
    grant = asked.json()["id"]
    content = f"staff-grants/{grant}/documents/{document}/content"
    assert (await app.http.get(content, headers=asks)).status_code == 403

    [seen] = (await app.http.get("grants", headers=auth)).json()["items"]
    assert (seen["id"], seen["text"]) == (grant, grant_request(alpha, document)["text"])
    approved = await app.http.post(f"staff-grants/{grant}/approve", headers=approves)
    assert (approved.status_code, approved.json()["state"]) == (200, "requested")
    assert (await app.http.get(content, headers=asks)).status_code == 403
    consented = await app.http.post(f"grants/{grant}/consent", headers=auth)
    assert (consented.status_code, consented.json()["state"]) == (200, "live")

    whole = await app.http.get(content, headers=asks)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    part = await app.http.get(content, headers=asks | {"Range": "bytes=5-7"})
    assert (part.status_code, part.content) == (206, CONTENT[5:8])
    listed = (await app.http.get(f"staff-grants/{grant}/documents", headers=asks)).json()
    assert [item["name"] for item in listed["items"]] == ["paper.txt"]
    etag = listed["items"][0]["etag"]
    named = asks | {"If-Match": etag, "Content-Disposition": 'attachment; filename="a.txt"'}
    written = await app.http.put(content, content=b"x", headers=named)
    assert (written.status_code, slug_of(written)) == (403, "forbidden")
    assert (
        await app.http.delete(f"staff-grants/{grant}/documents/{document}", headers=asks)
    ).status_code == 403

    revoked = await app.http.delete(f"grants/{grant}", headers=auth)
    assert (revoked.json()["state"], revoked.json()["end"]["by_tenant"]) == ("ended", True)
    refused = await app.http.get(content, headers=asks)
    assert (refused.status_code, slug_of(refused)) == (403, "forbidden")

    await app.settle()
    found = (await app.http.get(f"audit?grant={grant}", headers=auth)).json()["items"]
    actions = [item["entry"]["action"] for item in found]
    for action in ("grant.request", "grant.approve", "grant.consent", "grant.revoke"):
        assert actions.count(action) == 1
    assert actions.count("document.open") == 2
    officer = await app.auth(OPERATOR, "officer")
    theirs = (await app.http.get(f"audit?grant={grant}", headers=officer)).json()["items"]
    assert {item["entry"]["id"] for item in theirs} == {item["entry"]["id"] for item in found}

    await app.services.audit.checkpoints.publish(alpha)
    report = await app.http.get("grants/report", headers=auth)
    lines = [json.loads(line) for line in report.text.splitlines()]
    assert [line["grant"]["id"] for line in lines if "grant" in line] == [grant]
    assert sum("position" in line for line in lines) == len(found)


async def test_what_a_grant_lets_write_and_delete(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    document = await uploaded(app, auth)
    grant = await app.grant(alpha, document, operations=["write", "delete"])
    asks = await app.auth(OPERATOR, "support")
    path = f"staff-grants/{grant}/documents/{document}"
    etag = (await app.http.get(path, headers=asks)).json()["etag"]
    headers = asks | {
        "If-Match": etag,
        "Content-Disposition": 'attachment; filename="corrected.txt"',
    }
    changed = await app.http.put(f"{path}/content", content=b"corrected", headers=headers)
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    versions = (await app.http.get(f"{path}/versions", headers=asks)).json()["items"]
    assert [version["version"] for version in versions] == [2, 1]
    deleted = await app.http.delete(path, headers=asks)
    assert (deleted.status_code, deleted.json()["outcome"]) == (200, "trashed")
    assert (await app.http.get(path, headers=asks)).status_code == 404


async def test_the_documents_of_a_grant_are_listed_in_pages_and_damage_hides_nothing_else(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    documents = [await uploaded(app, auth, f"{number}.txt") for number in range(3)]
    gone = "doc_" + "0" * 26
    grant = await app.grant(alpha, *documents, gone)
    asks = await app.auth(OPERATOR, "support")
    with sqlite3.connect(app.data / "records.db") as records:
        damage = 'replace(body, \'"names":"\', \'"names":"AAAA\')'
        records.execute(f"UPDATE records SET body = {damage} WHERE id = ?", (documents[1],))
    seen: list[str] = []
    damaged: list[str] = []
    cursor: str | None = None
    pages = 0
    while cursor is not None or not pages:
        query = {"limit": "1"} | ({"cursor": cursor} if cursor else {})
        page = await app.http.get(f"staff-grants/{grant}/documents", headers=asks, params=query)
        assert page.status_code == 200, page.text
        seen += [item["id"] for item in page.json()["items"]]
        damaged += page.json()["damaged"]
        cursor, pages = page.json()["cursor"], pages + 1
    assert (seen, damaged, pages) == ([documents[0], documents[2]], [documents[1]], 4)
    other = await app.http.get(
        f"staff-grants/{grant}/documents", headers=asks, params={"cursor": "doc_x"}
    )
    assert (other.status_code, slug_of(other)) == (400, "invalid-input")


@pytest.mark.parametrize("path", ["", "/content", "/versions"])
async def test_a_grant_covers_its_documents_alone(
    app: App, alpha: str, beta: str, auth: dict[str, str], path: str
) -> None:
    inside, outside = await uploaded(app, auth), await uploaded(app, auth)
    elsewhere = await uploaded(app, await app.auth(beta))
    grant = await app.grant(alpha, inside)
    asks = await app.auth(OPERATOR, "support")
    statuses = [
        (
            await app.http.get(f"staff-grants/{grant}/documents/{one}{path}", headers=asks)
        ).status_code
        for one in (inside, outside, elsewhere)
    ]
    assert statuses == [200, 404, 404]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"seconds": 8 * 3_600 + 1}, 400),
        ({"seconds": True}, 400),
        ({"reason": "curiosity"}, 400),
        ({"text": "short"}, 400),
        ({"case": {"system": "tickets"}}, 400),
        ({"scope": {"depth": "content"}}, 400),
        ({"scope": {"depth": "content", "documents": ["doc_1"]}}, 400),
        (
            {
                "scope": {
                    "depth": "content",
                    "search": "a",
                    "collection": {"name": "a", "value": "b"},
                }
            },
            400,
        ),
        ({"tenant": "operator"}, 400),
        ({"tenant": "ten_" + "0" * 26}, 404),
        ({"break_glass": True, "seconds": 3_601}, 400),
        ({"approved": True}, 400),
    ],
)
async def test_a_request_that_is_not_valid_is_refused(
    app: App, alpha: str, auth: dict[str, str], change: dict[str, Any], status: int
) -> None:
    document = await uploaded(app, auth)
    answer = await app.http.post(
        "staff-grants",
        json=grant_request(alpha, document) | change,
        headers=await app.auth(OPERATOR, "support"),
    )
    assert answer.status_code == status, answer.text
    assert (await app.http.get("grants", headers=auth)).json()["items"] == []
