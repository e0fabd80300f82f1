"""One damaged record: lists show what can be read, and name what cannot."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from typing import Any

import httpx
import pytest

from shared.base.errors import Damaged
from shared.base.partitions import OPERATOR
from shared.restore.jobs import RESTORE_KIND
from tests.support.app import TARGET, App, problem
from tests.support.uploads import begin, complete, put

pytestmark = pytest.mark.anyio

GARBAGE = [b"{", b"[]", b'{"another": "record"}', b"\xff\xfe", b""]


def damage(app: App, kind: str, name: str, body: bytes) -> None:
    """Write something else over a record, in whatever partition it lies."""
    with closing(sqlite3.connect(app.data / "records.db", timeout=10)) as file:
        changed = file.execute(
            "UPDATE records SET body = ? WHERE kind = ? AND id = ?", (body, kind, name)
        )
        assert changed.rowcount == 1
        file.commit()


async def listed(app: App, path: str, auth: dict[str, str]) -> dict[str, Any]:
    answer = await app.http.get(path, headers=auth)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


@pytest.mark.parametrize("body", GARBAGE)
async def test_documents(
    app: App, alpha: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    auth = await app.auth(alpha)
    first, second, third = sorted(
        [(await app.upload(auth, b"content")).json()["id"] for _ in range(3)]
    )
    damage(app, "document", second, body)
    with caplog.at_level(logging.ERROR):
        page = await listed(app, "documents", auth)
    assert [item["id"] for item in page["items"]] == [third, first]
    assert page["damaged"] == [second]
    assert f"record.damaged kind=document id={second}" in caplog.text

    # A page holds as many as were asked for, the damaged one among them.
    page = await listed(app, "documents?limit=2", auth)
    assert ([item["id"] for item in page["items"]], page["damaged"]) == ([third], [second])
    rest = await listed(app, f"documents?limit=2&cursor={page['cursor']}", auth)
    assert ([item["id"] for item in rest["items"]], rest["damaged"]) == ([first], [])
    assert problem(await app.http.get(f"documents/{second}", headers=auth)) == "damaged"


@pytest.mark.parametrize("harmed", ["names", "epoch"])
async def test_names_that_cannot_be_opened(app: App, alpha: str, harmed: str) -> None:
    auth = await app.auth(alpha)
    first, second = [(await app.upload(auth, b"content")).json()["id"] for _ in range(2)]
    store = app.services.documents.store
    stored = await store.document(alpha, second)
    field = {"names": bytes(len(stored.current.names))} if harmed == "names" else {"epoch": "epo_x"}
    changed = stored.document.model_copy(
        update={"current": stored.current.model_copy(update=field)}
    )
    partition = stored.stored.partition
    await app.services.adapters.records.commit(partition, [store.replace_document(stored, changed)])
    page = await listed(app, "documents", auth)
    assert ([item["id"] for item in page["items"]], page["damaged"]) == ([first], [second])
    versions = await listed(app, f"documents/{second}/versions", auth)
    assert (versions["items"], versions["damaged"]) == ([], ["1"])


async def test_users_and_tenants(app: App, alpha: str) -> None:
    auth, operator = await app.auth(alpha), await app.auth(OPERATOR, "operator")
    users = [item["id"] for item in (await listed(app, "users", auth))["items"]]
    tenants = [item["id"] for item in (await listed(app, "tenants", operator))["items"]]
    reader = (await app.found(alpha, "reader")).value.id
    damage(app, "user", reader, b"{")
    damage(app, "tenant", tenants[1], b"{")
    page = await listed(app, "users", auth)
    assert [item["id"] for item in page["items"]] == [each for each in users if each != reader]
    assert page["damaged"] == [reader]
    page = await listed(app, "tenants", operator)
    assert ([item["id"] for item in page["items"]], page["damaged"]) == (tenants[:1], tenants[1:2])


async def test_restores(app: App, alpha: str) -> None:
    auth = await app.auth(alpha)
    await app.upload(auth, b"content")
    await app.settle()
    app.clock.advance(240)
    await app.services.outbox.relay()
    await app.services.backups.timer.run()
    planned: list[httpx.Response] = [
        await app.http.post("restores", json={}, headers=auth) for _ in range(2)
    ]
    first, second = [answer.json()["id"] for answer in planned]
    damage(app, RESTORE_KIND, first, b"{")
    page = await listed(app, "restores", auth)
    assert ([item["id"] for item in page["items"]], page["damaged"]) == ([second], [first])


async def test_the_audit_log(app: App, alpha: str) -> None:
    auth = await app.auth(alpha)
    await app.upload(auth, b"content")
    await app.settle()
    entries = (await listed(app, "audit", auth))["items"]
    harmed = entries[1]["entry"]["id"]
    damage(app, "audit-logged", harmed, b"{")
    page = await listed(app, "audit", auth)
    assert harmed not in [item["entry"]["id"] for item in page["items"]]
    assert page["damaged"] == [harmed]


async def test_targets(app: App, alpha: str) -> None:
    auth = await app.auth(alpha)
    made = await app.http.post("targets", json=TARGET, headers=auth)
    assert made.status_code == 201, made.text
    target = made.json()["target"]["id"]
    damage(app, "target", target, b"{")
    page = await listed(app, "targets", auth)
    assert (page["items"], page["damaged"]) == ([], [target])


@pytest.mark.parametrize("body", GARBAGE)
async def test_a_set_is_made_of_what_can_be_read_and_restored(
    app: App, alpha: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    auth = await app.auth(alpha)
    first, second = [(await app.upload(auth, b"content")).json()["id"] for _ in range(2)]
    await app.settle()
    damage(app, "document", first, body)
    app.clock.advance(240)
    await app.services.outbox.relay()
    await app.services.backups.timer.run()
    assert "backup.failed" not in caplog.text
    assert len((await listed(app, "backups", auth))["items"]) == 1

    assert (await app.http.delete(f"documents/{second}", headers=auth)).is_success
    planned = await app.http.post("restores", json={"document": second}, headers=auth)
    started = await app.http.post(f"restores/{planned.json()['id']}/start", headers=auth)
    assert started.is_success, started.text
    await app.services.backups.restore_timer.run()
    content = await app.http.get(f"documents/{second}/content", headers=auth)
    assert content.content == b"content"


@pytest.mark.parametrize("name", ["../../root.key", "/etc/passwd", ".incoming/x", "a//b", ""])
@pytest.mark.parametrize("field", ["object", "replica"])
async def test_a_record_that_points_elsewhere_is_damaged(
    app: App, alpha: str, name: str, field: str
) -> None:
    auth = await app.auth(alpha)
    document = (await app.upload(auth, b"content")).json()["id"]
    await app.services.outbox.close()
    found = await app.services.documents.store.document(alpha, document)
    body = dict(found.stored.record.body)
    body["current"] = {**body["current"], field: name}
    damage(app, "document", document, json.dumps(body).encode())
    answer = await app.http.get(f"documents/{document}/content", headers=auth)
    assert (answer.status_code, problem(answer)) == (500, "damaged")
    # Its messages are tried again, as the record may be repaired, and not taken for invalid ones.
    [delivery] = await app.services.adapters.source.receive("replication", limit=50)
    with pytest.raises(Damaged):
        await app.services.handlers.handle("replication", delivery.body)


async def test_an_upload_that_points_elsewhere_is_damaged(app: App, alpha: str) -> None:
    auth = await app.auth(alpha)
    upload = await begin(app, auth)
    await put(app, upload)
    found = await app.services.documents.store.upload(alpha, upload["id"])
    body = {**found.record.body, "object": "../../root.key"}
    damage(app, "upload", upload["id"], json.dumps(body).encode())
    answer = await complete(app, auth, upload)
    assert (answer.status_code, problem(answer)) == (500, "damaged")
