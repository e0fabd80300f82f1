"""The audit log over HTTP: searched by who, what and when; read as tiles; proved."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from shared.crypto import merkle
from shared.crypto.checkpoints import Checkpoint, parse_checkpoint
from shared.crypto.log_proofs import parse_log_proof
from shared.crypto.notes import VerifierKey, parse_note
from shared.crypto.tiles import WIDTH, decode_bundle
from shared.journal.entries import Action
from tests.support.app import App, problem

pytestmark = pytest.mark.anyio

BROWSER = "Mozilla/5.0 (a browser that nobody else uses)"


@pytest.fixture
async def beta_auth(app: App, beta: str) -> dict[str, str]:
    return await app.auth(beta)


async def publish(app: App) -> None:
    """Append what waits, and let the timer sign it."""
    await app.settle()
    app.clock.advance(121)
    await app.services.audit.checkpoints.run()


async def note(app: App, auth: dict[str, str], tenant: str) -> Checkpoint:
    """The newest checkpoint, whose signatures verify with the keys that the API names."""
    answer = await app.http.get(f"audit/log/{tenant}/checkpoint", headers=auth)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "private, no-cache"
    signed = parse_note(answer.content)
    listed = (await app.http.get("audit/keys", headers=auth)).json()
    keys = [VerifierKey.parse(item["vkey"]) for item in listed["items"]]
    assert len(signed.verified_by(keys)) == 3
    checkpoint = parse_checkpoint(signed.text)
    assert checkpoint.origin == listed["origin"]
    return checkpoint


async def leaves(app: App, auth: dict[str, str], tenant: str, size: int) -> list[bytes]:
    """Every entry of the log, from its bundles."""
    found: list[bytes] = []
    for index in range(-(-size // WIDTH)):
        width = min(WIDTH, size - index * WIDTH)
        path = f"{index:03d}" if width == WIDTH else f"{index:03d}.p/{width}"
        answer = await app.http.get(f"audit/log/{tenant}/tile/entries/{path}", headers=auth)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
        found += decode_bundle(answer.content)
    return found


async def test_the_log_is_read_as_tiles_and_proved(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    for _ in range(300):
        entry = app.services.journal.entry(Action.DOCUMENT_LIST, tenant=alpha)
        await app.services.journal.commit(entry)
    await publish(app)
    checkpoint = await note(app, auth, alpha)
    assert checkpoint.size >= 300
    entries = await leaves(app, auth, alpha, checkpoint.size)
    frontier: tuple[bytes, ...] = ()
    for position, leaf in enumerate(entries):
        frontier = merkle.append(frontier, position, merkle.leaf_hash(leaf))
    assert merkle.root(frontier) == checkpoint.root
    tile = await app.http.get(f"audit/log/{alpha}/tile/0/000", headers=auth)
    assert tile.content == b"".join(map(merkle.leaf_hash, entries[:WIDTH]))

    for position in (0, 255, 256, checkpoint.size - 1):
        answer = await app.http.get(
            f"audit/log/{alpha}/inclusion", params={"position": position}, headers=auth
        )
        proof = parse_log_proof(answer.content)
        assert proof.index == position
        assert proof.verify_inclusion(entries[position]).root == checkpoint.root

    await app.upload(auth, b"content")
    await publish(app)
    grown = await app.http.get(
        f"audit/log/{alpha}/consistency", params={"size": checkpoint.size}, headers=auth
    )
    later = parse_checkpoint(parse_note(grown.json()["checkpoint"].encode()).text)
    assert later.size > checkpoint.size
    hashes = [bytes.fromhex(each) for each in grown.json()["hashes"]]
    merkle.verify_consistency(checkpoint.size, later.size, checkpoint.root, later.root, hashes)


async def test_before_the_first_checkpoint_there_is_none_yet(
    app: App, beta: str, beta_auth: dict[str, str]
) -> None:
    for path in ("checkpoint", "tile/0/000", "inclusion?position=0", "consistency?size=0"):
        answer = await app.http.get(f"audit/log/{beta}/{path}", headers=beta_auth)
        assert problem(answer) == "not-found"
        assert answer.json()["detail"].startswith("The log has no checkpoint yet")


@pytest.mark.parametrize("path", ["tile/0/0", "tile/x/000", "tile/0/000.p/256", "tile/00/000"])
async def test_a_path_that_no_tile_has_is_refused(
    app: App, alpha: str, auth: dict[str, str], path: str
) -> None:
    await publish(app)
    answer = await app.http.get(f"audit/log/{alpha}/{path}", headers=auth)
    assert problem(answer) == "invalid-input"


@pytest.mark.parametrize(
    "path", ["tile/0/001", "tile/1/000", "tile/entries/000.p/255", "inclusion?position=9999"]
)
async def test_what_the_checkpoint_does_not_reach_is_not_there(
    app: App, alpha: str, auth: dict[str, str], path: str
) -> None:
    await app.http.get("documents", headers=auth)
    await publish(app)
    answer = await app.http.get(f"audit/log/{alpha}/{path}", headers=auth)
    assert problem(answer) == "not-found"


async def test_the_log_of_another_tenant_is_not_there(
    app: App, alpha: str, auth: dict[str, str], beta_auth: dict[str, str]
) -> None:
    await app.http.get("documents", headers=auth)
    await publish(app)
    for path in ("checkpoint", "tile/0/000", "inclusion?position=0", "consistency?size=0"):
        answer = await app.http.get(f"audit/log/{alpha}/{path}", headers=beta_auth)
        assert problem(answer) == "not-found"
        assert answer.json()["detail"] == "There is no such log."


async def test_who_follows_the_log_does_not_make_it_grow(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    await app.http.get("documents", headers=auth)
    await publish(app)

    async def readings() -> Counter[str]:
        await app.settle()
        found = [body["entry"] for body in await app.entries(alpha)]
        return Counter(
            each["details"].get("form", "") for each in found if each["action"] == "audit.read"
        )

    for _ in range(20):
        await note(app, auth, alpha)
    assert await readings() == {"checkpoint": 1, "keys": 1}
    app.clock.advance(601)
    await note(app, auth, alpha)
    assert await readings() == {"checkpoint": 2, "keys": 2}


async def test_personal_data_is_sealed_in_the_log_and_opened_for_who_may_read_it(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    await app.http.get("users", headers=auth | {"User-Agent": BROWSER})
    await publish(app)
    checkpoint = await note(app, auth, alpha)
    raw = b"".join(await leaves(app, auth, alpha, checkpoint.size))
    assert BROWSER.encode() not in raw
    assert b'"203.0.113.7"' not in raw
    [item] = [
        item["entry"]
        for item in (await app.http.get("audit?action=user.list", headers=auth)).json()["items"]
    ]
    assert (item["user_agent"], item["address"]) == (BROWSER, "203.0.113.7")
    for path in app.data.rglob("*"):
        if path.is_file() and "records" not in path.name:
            assert BROWSER.encode() not in path.read_bytes(), path


async def test_when_the_keys_are_destroyed_the_log_still_says_who_did_what(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    await app.http.get("users", headers=auth | {"User-Agent": BROWSER})
    await publish(app)
    before = await note(app, auth, alpha)
    entries = await leaves(app, auth, alpha, before.size)
    await app.services.tenants.keys.destroy(alpha)
    app.clock.advance(timedelta(minutes=6).total_seconds())
    await app.http.get("audit?limit=200", headers=auth)
    page = (await app.http.get("audit?action=user.list", headers=auth)).json()["items"]
    assert [(each["entry"]["action"], each["entry"]["address"]) for each in page] == [
        ("user.list", "")
    ]
    assert "user_agent" not in page[0]["entry"]
    await publish(app)
    after = await note(app, auth, alpha)
    assert after.size > before.size, "the log goes on"
    assert (await leaves(app, auth, alpha, after.size))[: before.size] == entries


async def find(app: App, auth: dict[str, str], **query: str) -> list[dict[str, Any]]:
    """The entries that a query finds, by every page of two."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await app.http.get("audit", params={"limit": "2", **query, **cursor}, headers=auth)
        assert answer.status_code == 200, answer.text
        found += [item["entry"] for item in answer.json()["items"]]
        if answer.json()["cursor"] is None:
            return found
        cursor = {"cursor": answer.json()["cursor"]}


async def test_entries_are_found_by_who_what_and_when(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    created = await app.upload(auth, b"content")
    document = created.json()["id"]
    await app.http.get("documents/doc_" + "0" * 26, headers=auth)
    await app.settle()
    app.clock.advance(3600)
    later = app.clock.now()
    await app.http.get(f"documents/{document}", headers=auth)
    await app.settle()
    bodies = [body["entry"] for body in await app.entries(alpha)]
    me = next(each["actor"]["id"] for each in bodies if each["action"] == "document.create")

    def expected(**wanted: str) -> list[str]:
        return [
            each["id"]
            for each in reversed(bodies)
            if all(wanted[name] in {each[name], each["actor"]["id"]} for name in wanted)
        ]

    for query in (
        {"resource": document},
        {"action": "document.read"},
        {"outcome": "refused"},
        {"action": "document.read", "outcome": "allowed"},
        {"action": "document.create", "resource": document},
    ):
        assert [each["id"] for each in await find(app, auth, **query)] == expected(**query), query
    mine = await find(app, auth, actor=me, action="document.create")
    assert [each["resource"] for each in mine] == [document]
    since = await find(app, auth, resource=document, since=later.isoformat())
    assert [each["action"] for each in since] == ["document.read"]
    before = await find(app, auth, resource=document, before=later.isoformat())
    assert "document.create" in {each["action"] for each in before}
    assert "document.read" not in {each["action"] for each in before}
    assert await find(app, auth, grant="grt_" + "0" * 26) == []


@pytest.mark.parametrize(
    "query",
    [
        {"action": "nothing"},
        {"outcome": "maybe"},
        {"since": "yesterday"},
        {"since": "2026-11-01T00:00:00"},
        {"actor": "x" * 65},
    ],
    ids=json.dumps,
)
async def test_a_query_that_says_nothing_is_refused(
    app: App, auth: dict[str, str], query: dict[str, str]
) -> None:
    answer = await app.http.get("audit", params=query, headers=auth)
    assert problem(answer) == "invalid-input"
