"""The audit log: an entry before every answer, positions without gaps, a root that anybody can check."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from shared.audit.index import log_part
from shared.base.errors import Damaged, Unavailable
from shared.base.partitions import OPERATOR, Partition
from shared.identity.lockout import FREE_ATTEMPTS
from shared.journal.entries import MAX_ENTRY_BYTES, MAX_USER_AGENT
from shared.ports.records import Change, Create, Replace
from tests.support.app import PASSWORD, POLICY, App, problem
from tests.support.records import waiting
from tests.support.uploads import begin, complete, put
from tests.support.webhooks import WEBHOOK, set_up

pytestmark = pytest.mark.anyio

CONTENT = b"content-zebra-7719" * 10


def textbook_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + textbook_root(leaves[:k]) + textbook_root(leaves[k:])).digest()


def canonical(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


async def check(app: App, tenant: str) -> int:
    """Check a tenant's whole log, written down independently; how many entries it has."""
    bodies = await app.entries(tenant)
    positions = {body["position"]: body["entry"] for body in bodies}
    assert sorted(positions) == list(range(len(bodies))), "no gap, no double, none waiting"
    head = await app.services.audit.log.head(tenant)
    leaves = [canonical(positions[position]) for position in range(len(bodies))]
    assert head.size == len(bodies)
    assert head.root == textbook_root(leaves).hex()
    return len(bodies)


async def busy(app: App, tenant: str, auth: dict[str, str]) -> str:
    """A bit of everything; the id of a document that is left."""
    document: str = (await app.upload(auth, CONTENT)).json()["id"]
    gone = (await app.upload(auth, CONTENT)).json()["id"]
    upload = await begin(app, auth)
    await put(app, upload)
    await complete(app, auth, upload)
    await app.settle()
    for path in ("documents", f"documents/{document}", f"documents/{document}/content", "users"):
        assert (await app.http.get(path, headers=auth)).status_code == 200
    await app.http.delete(f"documents/{gone}", headers=auth)
    await app.http.post(f"documents/{gone}/recover", headers=auth)
    await app.erase(auth, gone)
    await app.http.get(f"documents/{gone}", headers=auth)
    await app.http.get("tenants", headers=auth)
    await app.settle()
    return document


async def test_the_root_can_be_recomputed_from_the_entries(
    app: App, alpha: str, beta: str, auth: dict[str, str]
) -> None:
    await busy(app, alpha, auth)
    sizes = [await check(app, alpha), await check(app, OPERATOR), await check(app, beta)]
    assert sizes[0] > 20
    await busy(app, alpha, auth)
    assert await check(app, alpha) > sizes[0]


async def test_appending_again_and_at_once_changes_nothing(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    log = app.services.audit.log
    for number in range(12):
        await asyncio.gather(*(app.http.get("documents", headers=auth) for _ in range(number)))
        await asyncio.gather(*(log.append_pending(Partition(alpha)) for _ in range(3)))
        assert await log.append_pending(Partition(alpha)) == 0
    assert await check(app, alpha) > 60


async def test_more_entries_than_fit_into_one_commit(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    await app.services.audit.log.append_pending(Partition(alpha))
    entry = app.services.journal.entry
    for _ in range(130):
        await app.services.journal.commit(entry("document.list", tenant=alpha))  # type: ignore[arg-type]
    assert await app.services.audit.log.append_pending(Partition(alpha)) == 130
    await check(app, alpha)


async def test_earlier_positions_never_change(app: App, alpha: str, auth: dict[str, str]) -> None:
    await busy(app, alpha, auth)
    before = {body["position"]: body["entry"] for body in await app.entries(alpha)}
    await busy(app, alpha, auth)
    after = {body["position"]: body["entry"] for body in await app.entries(alpha)}
    assert {position: after[position] for position in before} == before


async def test_reading_the_log(app: App, alpha: str, auth: dict[str, str]) -> None:
    document = await busy(app, alpha, auth)
    answer = (await app.http.get("audit?limit=200", headers=auth)).json()
    head = await app.services.audit.log.head(alpha)
    assert answer["head"] == {"size": head.size, "root": head.root}
    times = [item["entry"]["time"] for item in answer["items"]]
    assert times == sorted(times, reverse=True)
    one = (await app.http.get("audit", params={"resource": document}, headers=auth)).json()
    actions = {item["entry"]["action"] for item in one["items"]}
    assert {"document.create", "document.replicate", "document.open"} <= actions
    assert {item["entry"]["resource"] for item in one["items"]} == {document}
    assert "audit.read" in await app.actions(alpha)

    found: list[str] = []
    cursor = None
    while True:
        query = {"limit": "7"} | ({"cursor": cursor} if cursor else {})
        page = (await app.http.get("audit", params=query, headers=auth)).json()
        found += [item["entry"]["id"] for item in page["items"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert len(found) == len(set(found))
    assert {item["entry"]["id"] for item in answer["items"]} <= set(found)


class Deaf:
    """Makes every commit fail that would hold an audit entry of certain actions."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch, *actions: str) -> None:
        store = type(app.services.adapters.records)
        real = store.commit
        self.refused = 0

        async def commit(records: Any, partition: Partition, changes: Sequence[Change]) -> None:
            for change in changes:
                if isinstance(change, Create) and change.record.kind == "audit":
                    action = waiting(change.record.body)["action"]
                    if not actions or action in actions:
                        self.refused += 1
                        raise Unavailable("The record store does not answer.")
            await real(records, partition, changes)

        monkeypatch.setattr(store, "commit", commit)


async def test_without_its_entry_nothing_is_answered(
    app: App, alpha: str, auth: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = await busy(app, alpha, auth)
    etag = await app.etag(auth, document)
    trashed = (await app.upload(auth, CONTENT)).json()["id"]
    await app.http.delete(f"documents/{trashed}", headers=auth)
    user = (await app.found(alpha, "member")).value.id
    upload = await begin(app, auth)
    before = app.stored("primary")
    webhook, _ = await set_up(app, auth)
    await app.settle()
    await app.services.audit.checkpoints.publish(alpha)
    with monkeypatch.context() as patch:
        deaf = Deaf(app, patch)
        named = {"Content-Disposition": 'attachment; filename="a"'}
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", "documents", {}),
            ("POST", "documents", {"content": CONTENT, "headers": named}),
            ("GET", f"documents/{document}", {}),
            ("GET", f"documents/{document}/versions", {}),
            ("GET", f"documents/{document}/content", {}),
            ("HEAD", f"documents/{document}/content", {}),
            (
                "PUT",
                f"documents/{document}/content",
                {"content": b"new", "headers": named | {"If-Match": etag}},
            ),
            ("DELETE", f"documents/{document}", {}),
            ("DELETE", f"documents/{document}?erase=true", {}),
            ("GET", "documents?state=trash", {}),
            ("POST", f"documents/{trashed}/recover", {}),
            ("PUT", f"documents/{document}/hold", {}),
            ("DELETE", f"documents/{document}/hold", {}),
            ("GET", "policy", {}),
            ("PUT", "policy", {"json": POLICY}),
            ("POST", "uploads", {"json": {"name": "a", "size": 1}}),
            ("GET", f"uploads/{upload['id']}", {}),
            ("DELETE", f"uploads/{upload['id']}", {}),
            ("GET", "users", {}),
            ("POST", "users", {"json": {"username": "anna", "roles": ["reader"]}}),
            ("GET", f"users/{user}", {}),
            ("PATCH", f"users/{user}", {"json": {"disabled": True}}),
            ("POST", f"users/{user}/temporary-password", {}),
            ("GET", "audit", {}),
            ("GET", "audit/export", {}),
            ("GET", "audit/evidence", {}),
            ("GET", "audit/feed", {}),
            ("POST", "webhooks", {"json": WEBHOOK}),
            ("GET", "webhooks", {}),
            ("GET", f"webhooks/{webhook}", {}),
            ("PATCH", f"webhooks/{webhook}", {"json": {"paused": True}}),
            ("POST", f"webhooks/{webhook}/secret", {}),
            ("POST", f"webhooks/{webhook}/replay", {"json": {"position": 0}}),
            ("POST", f"webhooks/{webhook}/probe", {}),
            ("DELETE", f"webhooks/{webhook}", {}),
            ("GET", "auth/account", {}),
            ("POST", "auth/sign-out-everywhere", {}),
            ("GET", "tenants", {}),
            ("GET", "documents/doc_" + "0" * 26, {}),
        ]
        for method, path, request in requests:
            headers = auth | request.pop("headers", {})
            answer = await app.http.request(method, path, headers=headers, **request)
            assert answer.status_code == 503, (method, path, answer.text)
            assert CONTENT not in answer.content
            if method != "HEAD":
                assert problem(answer) == "unavailable"
        anonymous = await app.http.get("documents")
        assert anonymous.status_code == 503, "a refusal is logged before it is told, too"
        assert deaf.refused == len(requests) + 1
    recovered = await app.http.get(f"documents/{trashed}", headers=auth)
    assert recovered.status_code == 404, "it is where it was"
    assert (await app.http.get("policy", headers=auth)).json() != POLICY
    assert (await app.http.get(f"documents/{document}", headers=auth)).json()["version"] == 1
    assert (await app.http.get(f"users/{user}", headers=auth)).json()["disabled"] is False
    answer = await app.http.get(f"documents/{document}/content", headers=auth)
    assert answer.content == CONTENT
    assert set(before) <= set(app.stored("primary"))


async def outcomes(app: App, tenant: str) -> Counter[tuple[str, str]]:
    """How often the tenant's log has each action with each reason."""
    return Counter(
        (body["entry"]["action"], body["entry"]["reason"]) for body in await app.entries(tenant)
    )


async def test_each_refusal_is_one_entry(app: App, alpha: str, auth: dict[str, str]) -> None:
    document = (await app.upload(auth, CONTENT)).json()["id"]
    content = f"documents/{document}/content"
    held = (await app.upload(auth, CONTENT)).json()["id"]
    assert (await app.http.put(f"documents/{held}/hold", headers=auth)).status_code == 204
    member = (await app.found(alpha, "member")).value.id
    admin = (await app.found(alpha, "admin")).value.id
    named = {"Content-Disposition": 'attachment; filename="a"'}
    passwords = {"password": PASSWORD, "new_password": "short"}
    digest = {"Repr-Digest": f"sha-256=:{'A' * 43}=:"}
    upload = await begin(app, auth)
    requests: list[tuple[str, str, dict[str, Any], str, str]] = [
        ("GET", content, {"headers": {"Range": "bytes=9999-"}}, "request", "range-not-satisfiable"),
        ("GET", content, {"headers": {"If-Match": '"x"'}}, "request", "precondition-failed"),
        ("DELETE", f"documents/{document}", {"headers": {"If-Match": '"x"'}}, "request",
         "precondition-failed"),
        ("DELETE", f"documents/{held}", {}, "request", "legal-hold"),
        ("DELETE", f"documents/{held}?erase=true", {}, "request", "legal-hold"),
        ("POST", "documents/doc_" + "0" * 26 + "/recover", {}, "request", "not-found"),
        ("PUT", "documents/doc_" + "0" * 26 + "/hold", {}, "request", "not-found"),
        ("PUT", "policy", {"json": POLICY | {"retention": dict.fromkeys(POLICY["retention"], 0)}},
         "request", "invalid-input"),
        ("POST", "documents", {"content": b"x", "headers": named | digest}, "request",
         "digest-mismatch"),
        ("POST", "users", {"json": {"username": "member", "roles": ["reader"]}}, "request",
         "conflict"),
        ("POST", "users", {"json": {"username": "mallory", "roles": ["operator"]}}, "request",
         "invalid-input"),
        ("PATCH", f"users/{admin}", {"json": {"disabled": True}}, "request", "conflict"),
        ("PATCH", f"users/{member}", {"json": {"roles": ["officer"]}}, "request", "invalid-input"),
        ("POST", f"users/{admin}/temporary-password", {}, "request", "conflict"),
        ("POST", f"uploads/{upload['id']}/complete", {}, "request", "conflict"),
        ("POST", "uploads", {"json": {"name": "a", "size": 10**12}}, "request", "too-large"),
        ("GET", "tenants", {}, "request", "forbidden"),
        ("GET", "documents/doc_" + "0" * 26, {}, "request", "not-found"),
        ("PUT", "auth/password", {"json": passwords}, "account.password-change", "invalid-input"),
        *[("PUT", "auth/password", {"json": passwords | {"password": "wrong"}},
           "account.password-change", "sign-in-refused")] * FREE_ATTEMPTS,
        ("PUT", "auth/password", {"json": passwords}, "account.password-change", "rate-limited"),
    ]  # fmt: skip
    for method, path, request, action, slug in requests:
        before = await outcomes(app, alpha)
        headers = auth | request.get("headers", {})
        answer = await app.http.request(method, path, **request | {"headers": headers})
        assert problem(answer) == slug, (method, path)
        assert await outcomes(app, alpha) - before == {(action, slug): 1}, (method, path)
    assert (await app.http.get(content, headers=auth)).content == CONTENT


async def test_an_answer_to_a_repeated_request_is_an_entry(
    app: App, alpha: str, auth: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = await app.auth(OPERATOR, "operator")
    named = {"Content-Disposition": 'attachment; filename="a"'}
    requests: list[tuple[str, str, dict[str, Any], dict[str, str]]] = [
        (alpha, "documents", {"content": CONTENT}, auth | named),
        (alpha, "uploads", {"json": {"name": "a", "size": 1}}, auth),
        (alpha, "users", {"json": {"username": "anna", "roles": ["reader"]}}, auth),
        (OPERATOR, "tenants", {"json": {"slug": "gamma", "administrator": "admin"}}, operator),
    ]
    for tenant, path, request, headers in requests:
        headers = headers | {"Idempotency-Key": "b5c9a1d2-6dbb-4a3c-b0f7-6ff0f0a3c3f1"}
        assert (await app.http.post(path, headers=headers, **request)).status_code == 201
        before = await outcomes(app, tenant)
        assert (await app.http.post(path, headers=headers, **request)).status_code == 201
        read = path.removesuffix("s") + ".read"
        assert await outcomes(app, tenant) - before == {(read, ""): 1}, path
        with monkeypatch.context() as patch:
            Deaf(app, patch, read)
            answer = await app.http.post(path, headers=headers, **request)
            assert (answer.status_code, problem(answer)) == (503, "unavailable")


async def test_no_byte_leaves_when_opening_cannot_be_logged(
    app: App, alpha: str, auth: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = (await app.upload(auth, CONTENT)).json()["id"]
    Deaf(app, monkeypatch, "document.open")
    read = 0
    primary = type(app.services.adapters.primary)
    real = primary.get

    def get(*args: Any, **kwargs: Any) -> Any:
        nonlocal read
        read += 1
        return real(*args, **kwargs)

    monkeypatch.setattr(primary, "get", get)
    answer = await app.http.get(f"documents/{document}/content", headers=auth)
    assert (answer.status_code, problem(answer)) == (503, "unavailable")
    assert CONTENT not in answer.content
    assert read == 0


async def test_entries_hold_no_names_and_no_secrets(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    await app.upload(auth, CONTENT, "zebra-name.txt", **{"Strongroom-Metadata": '{"k": "zebra-v"}'})
    await app.http.post("users", json={"username": "zebra-user", "roles": ["reader"]}, headers=auth)
    await app.http.post(
        "auth/sign-in", json={"tenant": "alpha", "username": "zebra-user", "password": "zebra-pw"}
    )
    await app.http.get("users", headers=auth)
    text = json.dumps([*await app.entries(alpha), *await app.entries(OPERATOR)])
    assert "zebra" not in text
    assert auth["Authorization"].split()[1] not in text
    assert hashlib.sha256(CONTENT).hexdigest() not in text


TYPED = "zebra-7719 free text"


def typed(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A request for each parameter and each field of a body, with free text in it alone."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parameters = operation.get("parameters", ())
            names = [each["name"] for each in parameters if each["in"] == "path"]
            url = path
            for name in names:
                url = url.replace(f"{{{name}}}", f"{name[:3]}_" + "0" * 26)
                yield method, path.replace(f"{{{name}}}", TYPED), {}
            for each in parameters:
                where = {"query": "params", "header": "headers"}.get(each["in"])
                if where:
                    yield method, url, {where: {each["name"]: TYPED}}
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                schema = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
                for name in document["components"]["schemas"][schema]["properties"]:
                    yield method, url, {"json": {name: TYPED}}


async def test_what_a_client_types_reaches_no_log(
    app: App, alpha: str, auth: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    callers = [auth, await app.auth(OPERATOR, "operator")]
    before = await app.entries(alpha)
    for method, path, request in typed(app.apps[0].openapi()):
        for caller in callers:
            headers = caller | request.get("headers", {})
            url = f"http://app.test{path}"
            answer = await app.http.request(method, url, **request | {"headers": headers})
            assert answer.status_code < 500, (method, path)
            if answer.status_code == 401:  # signing out everywhere ends the token
                callers = [await app.auth(alpha), await app.auth(OPERATOR, "operator")]
    entries = [*await app.entries(alpha), *await app.entries(OPERATOR)]
    assert len(entries) > len(before) + 50
    assert "zebra-7719" not in json.dumps(entries)
    assert "zebra-7719" not in caplog.text


async def test_who_where_and_when(app: App, alpha: str) -> None:
    auth = await app.auth(alpha, "member")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    document = (await app.upload(auth, b"x", traceparent=f"00-{trace}-00f067aa0ba902b7-01")).json()[
        "id"
    ]
    member = (await app.found(alpha, "member")).value.id
    created = (await app.entries(alpha, document))[0]["entry"]
    assert created["actor"] == {"kind": "user", "id": member}
    assert (created["address"], created["trace"]) == ("203.0.113.7", trace)
    assert created["time"] == "2026-01-01T00:00:00Z"
    assert (created["outcome"], created["details"]) == ("allowed", {"version": 1, "size": 1})


async def test_an_entry_says_which_request_of_which_client_it_was(
    app: App, alpha: str, auth: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    typed = "zebra-agent/7719 " + "x" * 5_000
    agent = auth | {"User-Agent": typed, "Request-Id": "zebra-request"}
    created = await app.upload(agent, CONTENT)
    missing = await app.http.get("documents/doc_" + "0" * 26, headers=agent)
    sent = {"tenant": "alpha", "username": "member", "password": "wrong"}
    refused = await app.http.post("auth/sign-in", json=sent, headers={"User-Agent": typed})
    assert (created.status_code, missing.status_code, refused.status_code) == (201, 404, 401)
    by_request = {
        body["entry"]["request"]: body["entry"]
        for body in await app.entries(alpha)
        if "request" in body["entry"]
    }
    for answer, action in (
        (created, "document.create"),
        (missing, "request"),
        (refused, "account.sign-in"),
    ):
        assert re.fullmatch(r"req_[0-7][0-9a-hjkmnp-tv-z]{25}", answer.headers["request-id"])
        entry = by_request[answer.headers["request-id"]]
        assert (entry["action"], entry["user_agent"]) == (action, typed[:MAX_USER_AGENT])
        without = entry | {"user_agent": ""}
        assert "zebra" not in json.dumps(without)
        assert "grant" not in entry
        assert len(canonical(entry)) < MAX_ENTRY_BYTES / 2
    assert "zebra" not in caplog.text


async def test_a_head_that_was_changed_is_noticed_and_not_built_upon(
    app: App, alpha: str, caplog: pytest.LogCaptureFixture
) -> None:
    await app.settle()
    records = app.services.adapters.records
    head = await records.get(log_part(alpha, 0), "audit-head", "head")
    tree = head.body["tree"] | {"root": "00" * 32}
    await records.commit(head.partition, [Replace(replace(head, body=head.body | {"tree": tree}))])
    await app.http.get("documents", headers=await app.auth(alpha))
    with pytest.raises(Damaged):
        await app.services.audit.log.append_pending(Partition(alpha))
    assert "audit.difference" in caplog.text
