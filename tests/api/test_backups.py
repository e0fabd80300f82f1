"""Backups over the API: sets, verifications and the report, and who may see which of them."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from shared.access.permissions import STAFF_ROLES, Role
from shared.base.partitions import OPERATOR
from tests.support.app import App, Opened, problem

pytestmark = pytest.mark.anyio


async def back_up(app: App, times: int = 1) -> None:
    """Make sets of what was committed, a few minutes later."""
    for _ in range(times):
        await app.settle()
        app.clock.advance(240)
        await app.services.outbox.relay()
        await app.services.backups.timer.run()


async def get(app: App, path: str, auth: dict[str, str], status: int = 200) -> Any:
    answer = await app.http.get(path, headers=auth)
    assert answer.status_code == status, answer.text
    return answer.json()


async def verify(app: App, auth: dict[str, str], body: Any) -> dict[str, Any]:
    """Have a verification made, and let the timer do it."""
    answer = await app.http.post("backups/verifications", json=body, headers=auth)
    assert answer.status_code == 202, answer.text
    started = answer.json()
    assert (started["state"], started["ended_at"], started["findings"]) == ("running", None, [])
    app.clock.advance(1)
    await app.services.backups.verifications.run()
    done: dict[str, Any] = await get(app, f"backups/verifications/{started['id']}", auth)
    return done


async def test_sets_are_listed_newest_first_page_by_page(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    made = []
    for number in range(5):
        await app.upload(auth, b"%d" % number)
        await back_up(app)
        made.append(await app.services.backups.reader.newest(alpha))
    whole = await get(app, "backups", auth)
    assert whole["cursor"] is None
    assert [each["id"] for each in whole["items"]] == made[::-1]
    newest = whole["items"][0]
    assert newest.keys() == {
        *("id", "tenant", "made_at", "kind", "retain_until", "versions", "content_bytes"),
        *("new_bytes", "sequence", "sha256"),
    }
    assert (newest["tenant"], newest["versions"], newest["sequence"]) == (alpha, 5, 5)
    assert newest["kind"] == "recent"
    assert whole["items"][-1]["kind"] == "yearly"

    listed, path = [], "backups?limit=2"
    for pages in (1, 2, 3):
        page = await get(app, path, auth)
        listed += page["items"]
        path = f"backups?limit=2&cursor={page['cursor']}"
        assert (page["cursor"] is None) == (pages == 3)
    assert listed == whole["items"]
    for cursor in ("x", "set_", made[0] + "0", "ten_" + made[0][4:]):
        answer = await app.http.get("backups", params={"cursor": cursor}, headers=auth)
        assert problem(answer) == "invalid-input"


async def test_a_set_names_the_one_before(app: App, auth: dict[str, str]) -> None:
    for number in range(2):
        await app.upload(auth, b"%d" % number)
        await back_up(app)
    newest, first = (await get(app, "backups", auth))["items"]
    found = await get(app, f"backups/{newest['id']}", auth)
    assert {name: found[name] for name in newest} == newest
    assert found["previous"] == first["sha256"]
    assert found["parts"] == 3  # users and keys, the month, the log
    assert (await get(app, f"backups/{first['id']}", auth))["previous"] is None


async def test_a_manifest_that_cannot_be_read_is_left_out_and_reported(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    for number in range(2):
        await app.upload(auth, b"%d" % number)
        await back_up(app)
    newest, first = (await get(app, "backups", auth))["items"]
    app.object("backup/sets", f"{alpha}/sets/{first['id']}").write_bytes(b"nothing of ours")
    assert [each["id"] for each in (await get(app, "backups", auth))["items"]] == [newest["id"]]
    answer = await app.http.get(f"backups/{first['id']}", headers=auth)
    assert (answer.status_code, problem(answer)) == (500, "damaged")
    done = await verify(app, auth, {})
    assert [(each["kind"], each["object"]) for each in done["findings"]] == [
        ("manifest", f"sets/{first['id']}")
    ]


async def test_a_verification_says_what_it_checked_and_found(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    document = (await app.upload(auth, b"content")).json()["id"]
    await back_up(app)
    made = (await get(app, "backups", auth))["items"][0]["id"]
    done = await verify(app, auth, {"set": made})
    assert done.keys() == {
        *("id", "set", "state", "started_at", "ended_at", "checked_objects", "checked_bytes"),
        *("total_objects", "findings"),
    }
    assert (done["set"], done["state"], done["findings"]) == (made, "done", [])
    assert done["checked_objects"] == done["total_objects"] > 5
    assert done["checked_bytes"] > 1_000

    version = await app.version(alpha, document)
    app.object("primary", version.object).unlink()
    done = await verify(app, auth, {"set": None})
    assert [(each["kind"], each["object"]) for each in done["findings"]] == [
        ("primary", f"{document}.000001")
    ]
    assert done["set"] is None
    await app.settle()
    assert (await app.version(alpha, document)).object != version.object
    assert (await verify(app, auth, {}))["findings"] == []


async def test_the_report_says_how_good_the_backups_are(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    assert await get(app, "backups/report", auth) == {
        "last_set": None,
        "recovery_point_seconds": None,
        "last_verification": None,
        "findings": [],
        "last_drill": None,
        "restored_at": None,
    }
    document = (await app.upload(auth, b"content")).json()["id"]
    await back_up(app, 2)
    report = await get(app, "backups/report", auth)
    newest = (await get(app, "backups", auth))["items"][0]
    assert report["last_set"] == newest
    assert report["recovery_point_seconds"] == 0

    app.clock.advance(100)
    await app.upload(auth, b"more")
    age = app.clock.now() - datetime.fromisoformat(newest["made_at"])
    assert age.total_seconds() > 100
    point = (await get(app, "backups/report", auth))["recovery_point_seconds"]
    assert point == age.total_seconds()
    await back_up(app)
    assert (await get(app, "backups/report", auth))["recovery_point_seconds"] == 0

    app.object("replica", (await app.version(alpha, document)).replica).unlink()
    done = await verify(app, auth, {})
    report = await get(app, "backups/report", auth)
    assert report["last_verification"]["state"] == "done"
    assert report["findings"] == done["findings"] != []


async def test_a_second_verification_waits_for_the_first(app: App, auth: dict[str, str]) -> None:
    answer = await app.http.post("backups/verifications", json={}, headers=auth)
    assert problem(answer) == "not-found", "there is no set yet"
    await app.upload(auth, b"content")
    await back_up(app)
    key = {"Idempotency-Key": "0123456789abcdef"}
    started = await app.http.post("backups/verifications", json={}, headers=auth | key)
    again = await app.http.post("backups/verifications", json={}, headers=auth | key)
    assert (started.status_code, again.status_code) == (202, 202)
    assert started.json() == again.json()
    answer = await app.http.post("backups/verifications", json={}, headers=auth)
    assert (answer.status_code, problem(answer)) == (409, "conflict")
    app.clock.advance(1)
    await app.services.backups.verifications.run()
    path = f"backups/verifications/{started.json()['id']}"
    assert (await get(app, path, auth))["state"] == "done"
    again = await app.http.post("backups/verifications", json={}, headers=auth | key)
    assert (again.status_code, again.json()) == (202, started.json())


async def test_who_may_read_and_verify(app: App, alpha: str, auth: dict[str, str]) -> None:
    await app.upload(auth, b"content")
    await back_up(app)
    made = (await get(app, "backups", auth))["items"][0]["id"]
    verification = (await verify(app, auth, {}))["id"]
    reading = ("backups", "backups/report", f"backups/{made}")
    verifying = (f"backups/verifications/{verification}",)
    for role in (Role.MEMBER, Role.READER):
        theirs = await app.auth(alpha, role.value)
        for path in (*reading, *verifying):
            assert problem(await app.http.get(path, headers=theirs)) == "forbidden"
        answer = await app.http.post("backups/verifications", json={}, headers=theirs)
        assert problem(answer) == "forbidden"
    for path in (*reading, *verifying):
        assert problem(await app.http.get(path)) == "unauthenticated"
    assert problem(await app.http.post("backups/verifications", json={})) == "unauthenticated"

    own = await app.services.backups.reader.newest(OPERATOR)
    for role in STAFF_ROLES:
        theirs = await app.auth(OPERATOR, role.value)
        may = role is not Role.SUPPORT
        for path in ("backups", "backups/report", f"backups/{own}"):
            answer = await app.http.get(path, headers=theirs)
            assert answer.status_code == (200 if may else 403), (role, path)
        answer = await app.http.post("backups/verifications", json={}, headers=theirs)
        assert answer.status_code == (202 if role is Role.OPERATOR else 403)


async def test_another_tenant_sees_nothing(
    app: App, alpha: str, beta: str, auth: dict[str, str]
) -> None:
    await app.upload(auth, b"content")
    await back_up(app)
    made = (await get(app, "backups", auth))["items"][0]["id"]
    verification = (await verify(app, auth, {}))["id"]
    theirs = await app.auth(beta)
    listed = await get(app, "backups", theirs)
    assert {each["tenant"] for each in listed["items"]} <= {beta}
    for path in (f"backups/{made}", f"backups/verifications/{verification}"):
        assert problem(await app.http.get(path, headers=theirs)) == "not-found"
    for path in ("backups", f"backups/{made}"):
        answer = await app.http.get(f"{path}?tenant={alpha}", headers=theirs)
        assert problem(answer) == "forbidden"
    answer = await app.http.post("backups/verifications", json={"set": made}, headers=theirs)
    assert problem(answer) == "not-found"
    assert made not in str(await get(app, "backups/report", theirs))


async def test_a_tenant_sees_which_employee_read_its_sets(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    await app.upload(auth, b"content")
    await back_up(app)
    made = (await get(app, "backups", auth))["items"][0]["id"]
    operator = await app.auth(OPERATOR, "operator")
    listed = await get(app, f"backups?tenant={alpha}", operator)
    assert [each["id"] for each in listed["items"]] == [made]
    await get(app, f"backups/{made}?tenant={alpha}", operator)
    await get(app, f"backups?tenant=ten_{'0' * 26}", operator, 404)
    await get(app, f"backups/set_{'0' * 26}?tenant={alpha}", operator, 404)
    employee = (await app.found(OPERATOR, "operator")).value.id
    read = [
        (each["entry"]["action"], each["entry"]["resource"])
        for each in await app.entries(alpha)
        if each["entry"]["actor"]["id"] == employee and each["entry"]["action"].startswith("backup")
    ]
    assert sorted(read) == [("backup.list", ""), ("backup.read", made)]


async def test_each_request_is_in_the_audit_log(app: App, alpha: str, auth: dict[str, str]) -> None:
    await app.upload(auth, b"content")
    await back_up(app)
    made = (await get(app, "backups", auth))["items"][0]["id"]
    await get(app, f"backups/{made}", auth)
    verification = (await verify(app, auth, {"set": made}))["id"]
    await get(app, "backups/report", auth)
    administrator = (await app.found(alpha, "admin")).value.id
    entries = Counter(
        (each["entry"]["action"], each["entry"]["resource"], each["entry"]["actor"]["id"])
        for each in await app.entries(alpha)
        if each["entry"]["action"].startswith("backup.")
    )
    by_timer = next(key for key in entries if key[0] == "backup.verify" and key[1] != verification)
    assert entries == Counter(
        [
            ("backup.create", made, ""),
            ("backup.list", "", administrator),
            ("backup.read", made, administrator),
            ("backup.verification-create", verification, administrator),
            ("backup.verify", verification, ""),
            by_timer,
            ("backup.verification-read", verification, administrator),
            ("backup.report", "", administrator),
        ]
    )


async def test_reading_backups_makes_no_new_set(app: App, auth: dict[str, str]) -> None:
    await app.upload(auth, b"content")
    await back_up(app, 2)
    before = (await get(app, "backups", auth))["items"]
    await verify(app, auth, {})
    await get(app, "backups/report", auth)
    await back_up(app, 2)
    assert (await get(app, "backups", auth))["items"] == before


async def test_a_verification_goes_on_after_a_restart(opened: Opened) -> None:
    async with opened() as app:
        alpha = next(name for name, slug in app.slugs.items() if slug == "alpha")
        auth = await app.auth(alpha)
        await app.upload(auth, b"content")
        await back_up(app)
        started = await app.http.post("backups/verifications", json={}, headers=auth)
        await app.services.backups.verifications.run(max_bytes=1)
        name, clock = started.json()["id"], app.clock
        assert (await get(app, f"backups/verifications/{name}", auth))["state"] == "running"
    async with opened() as app:
        app.clock.advance((clock.now() - app.clock.now()).total_seconds())
        await app.services.backups.verifications.run()
        auth = await app.auth(alpha)
        assert (await get(app, f"backups/verifications/{name}", auth))["state"] == "done"
