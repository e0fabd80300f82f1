"""Which audit entries a repeated request makes: each response is an entry, also where nothing changes."""

from __future__ import annotations

from typing import Any

import pytest

from shared.base.partitions import OPERATOR
from tests.support.app import TARGET, App, grant_request
from tests.support.entries import Fact, Recorder, ok, refused
from tests.support.routes import CONTENT, Victim, furnish
from tests.support.uploads import begin, put
from tests.support.webhooks import WEBHOOK

pytestmark = pytest.mark.anyio

SIZE = len(CONTENT)


@pytest.fixture
async def victim(app: App, alpha: str, auth: dict[str, str]) -> Victim:
    return await furnish(app, alpha, auth)


async def test_a_request_that_changes_nothing_any_more_is_an_entry(
    app: App, victim: Victim, auth: dict[str, str]
) -> None:
    whole, gone = await begin(app, auth), await begin(app, auth)
    await put(app, whole)
    recorder = await Recorder.of(app, victim, whole=whole["id"], gone=gone["id"])
    complete = f"uploads/{whole['id']}/complete"
    restore = f"restores/{victim.restore}"
    document = f"documents/{victim.document}"
    read, described = ok("upload.read", "whole"), ok("restore.read", "restore")
    requests: list[tuple[str, str, int, Fact]] = [
        ("POST", complete, 202, ok("upload.complete", "whole")),
        ("POST", complete, 202, read),
        (
            "DELETE",
            f"uploads/{whole['id']}",
            409,
            refused("DELETE /uploads/{upload}", "conflict", "whole"),
        ),
        ("DELETE", f"uploads/{gone['id']}", 204, ok("upload.cancel", "gone")),
        ("DELETE", f"uploads/{gone['id']}", 204, ok("upload.read", "gone")),
        (
            "POST",
            f"uploads/{gone['id']}/complete",
            409,
            refused("POST /uploads/{upload}/complete", "conflict", "gone"),
        ),
        ("POST", f"{restore}/start", 200, ok("restore.start", "restore")),
        ("POST", f"{restore}/start", 200, described),
        ("POST", f"{restore}/pause", 200, ok("restore.pause", "restore")),
        ("POST", f"{restore}/pause", 200, described),
        ("DELETE", restore, 204, ok("restore.cancel", "restore")),
        ("DELETE", restore, 204, described),
        (
            "POST",
            f"{restore}/start",
            409,
            refused("POST /restores/{restore}/start", "conflict", "restore"),
        ),
        ("PUT", f"{document}/hold", 204, ok("document.hold", "document")),
        ("PUT", f"{document}/hold", 204, ok("document.hold", "document")),
        ("DELETE", f"{document}/hold", 204, ok("document.release", "document")),
        ("DELETE", f"{document}/hold", 204, ok("document.release", "document")),
        ("POST", f"{document}/recover", 200, ok("document.read", "document")),
    ]
    for method, path, status, fact in requests:
        answer = await app.http.request(method, path, headers=auth)
        assert answer.status_code == status, (method, path, answer.text)
        assert recorder.new(answer.headers["request-id"]) == [fact], (method, path)
    await app.settle()
    recorder.new()
    answer = await app.http.post(complete, headers=auth)
    assert (answer.status_code, answer.json()["state"]) == (202, "sealed")
    assert recorder.new(answer.headers["request-id"]) == [read]


async def test_a_request_under_the_key_of_another_is_an_entry(
    app: App, victim: Victim, auth: dict[str, str]
) -> None:
    await app.services.backups.verifications.run()
    recorder = await Recorder.of(app, victim)
    key = {"Idempotency-Key": "b5c9a1d2-6dbb-4a3c-b0f7-6ff0f0a3c3f1"}
    named = {"Content-Disposition": 'attachment; filename="a"'}
    other = TARGET | {"address": TARGET["address"] | {"prefix": "other/"}}
    requests: list[tuple[str, dict[str, Any], dict[str, str], Fact]] = [
        (
            "documents",
            {"content": CONTENT},
            auth | named,
            ok("document.read", "new doc", version=1, size=SIZE),
        ),
        ("uploads", {"json": {"name": "a", "size": 1}}, auth, ok("upload.read", "new upl")),
        (
            "users",
            {"json": {"username": "anna", "roles": ["reader"]}},
            auth,
            ok("user.read", "new usr"),
        ),
        ("targets", {"json": other}, auth, ok("target.read", "new tgt")),
        ("webhooks", {"json": WEBHOOK}, auth, ok("webhook.read", "new whk")),
        (
            "backups/verifications",
            {"json": {}},
            auth,
            ok("backup.verification-read", "new ver"),
        ),
        (
            "tenants",
            {"json": {"slug": "gamma", "administrator": "admin"}},
            await app.auth(OPERATOR, "operator"),
            Fact("tenant.read", "new ten", {}, "operator", "employee"),
        ),
        (
            "staff-grants",
            {"json": grant_request(victim.tenant, victim.document)},
            await app.auth(OPERATOR, "helper"),
            Fact("grant.read", "new grt", {}, "operator", "employee"),
        ),
    ]
    with_keys = {
        path.removeprefix("/api/v1/")
        for path, methods in app.apps[0].openapi()["paths"].items()
        for parameter in methods.get("post", {}).get("parameters", ())
        if parameter["name"] == "Idempotency-Key"
    }
    assert with_keys == {path for path, *_ in requests}
    for path, request, headers, fact in requests:
        first = await app.http.post(path, headers=headers | key, **request)
        assert first.is_success, (path, first.text)
        recorder.new()
        again = await app.http.post(path, headers=headers | key, **request)
        assert again.status_code == first.status_code
        assert recorder.new(again.headers["request-id"]) == [fact], path
        changed = (
            {"content": b"other"}
            if "content" in request
            else {"json": request["json"] | OTHER[path]}
        )
        answer = await app.http.post(path, headers=headers | key, **changed)
        assert answer.status_code == 422, (path, answer.text)
        operator = path in {"tenants", "staff-grants"}
        assert recorder.new(answer.headers["request-id"]) == [
            refused(
                f"POST /{path}",
                "idempotency-key-reused",
                log="operator" if operator else "alpha",
                by="employee" if operator else "user",
            )
        ]


OTHER: dict[str, dict[str, Any]] = {
    "uploads": {"size": 2},
    "users": {"username": "berta"},
    "targets": {"name": "Another"},
    "webhooks": {"name": "Another"},
    "backups/verifications": {"set": "set_" + "0" * 26},
    "tenants": {"slug": "delta"},
    "staff-grants": {"seconds": 600},
}
