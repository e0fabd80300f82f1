"""A data folder that release 0.1 made is upgraded at the start, and nothing in it is lost."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tarfile
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from shared.base.errors import Damaged
from shared.base.partitions import OPERATOR
from shared.crypto import merkle
from tests.support.app import PASSWORD, App, open_app
from tests.support.clock import FakeClock
from tests.support.records import find_records

pytestmark = pytest.mark.anyio

FOLDERS = Path(__file__).parents[1] / "support" / "folders"
EXPECTED: dict[str, Any] = json.loads((FOLDERS / "release-0.1.json").read_text())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with tarfile.open(FOLDERS / "release-0.1.tar.gz") as folder:
        folder.extractall(tmp_path, filter="data")
    return tmp_path / "data"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime.fromisoformat(EXPECTED["now"]))


async def signed_in(app: App, slug: str) -> dict[str, str]:
    answer = await app.http.post(
        "auth/sign-in", json={"tenant": slug, "username": "admin", "password": PASSWORD}
    )
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


async def check_documents(app: App) -> None:
    for slug in EXPECTED["tenants"]:
        auth = await signed_in(app, slug)
        listed = (await app.http.get("documents?limit=200", headers=auth)).json()
        expected = {
            document: each
            for document, each in EXPECTED["documents"].items()
            if each["tenant"] == slug
        }
        assert {item["id"]: item["name"] for item in listed["items"]} == {
            document: each["name"] for document, each in expected.items()
        }
        assert listed["cursor"] is None
        for document, each in expected.items():
            for number, sha256 in enumerate(each["versions"], start=1):
                answer = await app.http.get(
                    f"documents/{document}/content?version={number}", headers=auth
                )
                assert hashlib.sha256(answer.content).hexdigest() == sha256, (document, number)


async def test_every_document_opens_and_every_user_signs_in(data: Path, clock: FakeClock) -> None:
    async with open_app(data, clock) as app:
        await check_documents(app)
        acme = await signed_in(app, "acme")
        gone = await app.http.get(f"documents/{EXPECTED['deleted']}", headers=acme)
        assert gone.status_code == 404
        users = (await app.http.get("users", headers=acme)).json()["items"]
        assert {user["username"] for user in users} == {"admin", "ada"}
        assert (data / "primary").exists()
        assert not (data / "vault").exists()
    async with open_app(data, clock) as app:
        await check_documents(app)


async def test_a_document_keeps_its_entity_tag_and_can_be_deleted_recovered_and_erased(
    data: Path, clock: FakeClock
) -> None:
    async with open_app(data, clock) as app:
        auth = await signed_in(app, "acme")
        document, versions = next(
            (name, len(each["versions"]))
            for name, each in EXPECTED["documents"].items()
            if each["tenant"] == "acme" and len(each["versions"]) > 1
        )
        path = f"documents/{document}"
        before = (await app.http.get(path, headers=auth)).json()
        assert before["etag"] == f'"{document}.{versions}"'
        named = auth | {"If-Match": before["etag"]}
        deleted = (await app.http.delete(path, headers=named)).json()
        assert deleted["outcome"] == "trashed"
        assert (await app.http.get(path, headers=auth)).status_code == 404
        recovered = (await app.http.post(f"{path}/recover", headers=auth)).json()
        assert recovered == before
        newer = await app.http.put(
            f"{path}/content",
            content=b"newer",
            headers=named | {"Content-Disposition": 'attachment; filename="newer.txt"'},
        )
        assert newer.json()["etag"].startswith(f'"{document}.{versions + 1}.')
        await app.erase(auth, document)
        assert not [
            record for record in find_records(data, "version") if record.id.startswith(document)
        ]


async def test_what_was_under_way_goes_on(data: Path, clock: FakeClock) -> None:
    async with open_app(data, clock) as app:
        await app.services.start()
        # Two events of their own records, and an entry that waits.
        assert await app.services.outbox.relay(everything=True) == 3
        await app.settle()
        auth = await signed_in(app, "acme")
        waiting = (await app.http.get(f"documents/{EXPECTED['waiting']}", headers=auth)).json()
        assert waiting["replicated"]
        upload = EXPECTED["granted_upload"]
        answer = await app.http.post(f"uploads/{upload}/complete", headers=auth)
        assert answer.status_code == 202, answer.text
        await app.settle()
        document = EXPECTED["granted_document"]
        content = (await app.http.get(f"documents/{document}/content", headers=auth)).content
        assert hashlib.sha256(content).hexdigest() == EXPECTED["granted_sha256"]
        assert (await app.http.get(f"uploads/{EXPECTED['sealed_upload']}", headers=auth)).json()[
            "state"
        ] == "sealed"
        repeated = await app.upload(
            auth,
            bytes.fromhex(EXPECTED["waiting_content"]),
            "waiting.txt",
            **{"Idempotency-Key": "acme-waiting-upload"},
        )
        assert repeated.json()["id"] == EXPECTED["waiting"]


async def test_the_audit_log_keeps_its_root_and_goes_on(data: Path, clock: FakeClock) -> None:
    acme = EXPECTED["tenants"]["acme"]
    async with open_app(data, clock) as app:
        await app.services.start()
        head = await app.services.audit.log.head(acme)
        assert (head.size, head.root) == (EXPECTED["size"], EXPECTED["root"])
        logged = {
            record.id: record.body["position"]
            for record in find_records(data, "audit-logged", tenant=acme)
        }
        assert logged == EXPECTED["logged"]
        await app.services.outbox.relay(everything=True)
        await app.settle()
        bodies = sorted(
            (record.body for record in find_records(data, "audit-logged", tenant=acme)),
            key=lambda body: int(body["position"]),
        )
        assert set(EXPECTED["pending"]) <= {body["entry"]["id"] for body in bodies}
        frontier: tuple[bytes, ...] = ()
        for position, body in enumerate(bodies):
            assert body["position"] == position
            text = json.dumps(
                body["entry"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
            )
            frontier = merkle.append(frontier, position, merkle.leaf_hash(text.encode()))
        head = await app.services.audit.log.head(acme)
        assert (head.size, head.root) == (len(bodies), merkle.root(frontier).hex())
        auth = await signed_in(app, "acme")
        listed = (await app.http.get("audit?limit=200", headers=auth)).json()["items"]
        assert EXPECTED["logged"].keys() <= {item["entry"]["id"] for item in listed}


async def test_every_record_is_in_the_feed_of_changes(data: Path, clock: FakeClock) -> None:
    async with open_app(data, clock) as app:
        await app.services.start()
        store = app.services.adapters.records
        kept = {
            (record.partition, record.kind, record.id)
            for record in find_records(data, "document", "version", "user", "audit-logged")
        }
        assert kept
        fed = set()
        for partition in {partition for partition, _, _ in kept}:
            feed = await store.changes(partition)
            assert not feed.more
            fed |= {(record.partition, record.kind, record.id) for record in feed.records}
        assert kept <= fed


async def test_old_epochs_are_rewrapped_and_still_open(data: Path, clock: FakeClock) -> None:
    async with open_app(data, clock) as app:
        await app.services.start()
        await app.services.key_rotation.run()
        epochs = list(find_records(data, "epoch"))
        assert epochs
        assert all(record.body["intermediate"] for record in epochs)
        await check_documents(app)


async def test_objects_of_the_former_naming_are_swept(data: Path, clock: FakeClock) -> None:
    acme = EXPECTED["tenants"]["acme"]
    day = f"{clock.now():%Y-%m-%d}"
    async with open_app(data, clock) as app:
        await app.services.start()

        async def orphan() -> Any:
            yield b"orphan"

        name = f"{acme}/{day}/doc_{'0' * 26}.1.{'0' * 16}"
        await app.services.adapters.primary.put(name, orphan())
        await app.services.sweep.run()
        assert app.object("primary", name).exists(), "its commit may be under way"
        before = set(app.stored("primary")) - {app.object("primary", name)}
        clock.advance(7 * 3600)
        await app.services.sweep.run()
        assert set(app.stored("primary")) == before
        await check_documents(app)


@pytest.mark.parametrize("half", ["write", "take over"])
async def test_a_killed_upgrade_begins_again(
    data: Path, clock: FakeClock, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    async def kill_later(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if half == "write":
            patch.setattr("shared.wiring.former._Upgrade._flush", kill_later)
        else:
            patch.setattr("shared.wiring.former._take_over", kill)
        with pytest.raises(Killed):
            async with open_app(data, clock) as app:
                await app.services.start()
    async with open_app(data, clock) as app:
        await check_documents(app)
    assert not list(data.glob("*.upgrade.db*"))


async def test_a_log_that_does_not_agree_with_its_head_is_not_upgraded(
    data: Path, clock: FakeClock
) -> None:
    with closing(sqlite3.connect(data / "records.db")) as database:
        [(rowid, body)] = database.execute(
            "SELECT rowid, body FROM records WHERE kind = 'audit' AND tenant != ?"
            " AND json_extract(CAST(body AS TEXT), '$.position') = 0 LIMIT 1",
            (OPERATOR,),
        )
        changed = body.replace(b'"outcome":"allowed"', b'"outcome":"refused"')
        database.execute("UPDATE records SET body = ? WHERE rowid = ?", (changed, rowid))
        database.commit()
    before = (data / "records.db").read_bytes()
    async with open_app(data, clock) as app:
        with pytest.raises(Damaged):
            await app.services.start()
    assert (data / "records.db").read_bytes() == before
    assert (data / "vault").exists()
