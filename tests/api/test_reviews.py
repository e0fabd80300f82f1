"""Access reviews, from their opening to the signed report."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import zlib

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from shared.access.permissions import Role
from shared.base.partitions import OPERATOR
from shared.crypto.canonical import canonical_json
from shared.reviews.rules import role_items
from tests.support.app import PASSWORD, App, problem
from tests.support.records import find_records
from tests.support.reviews import DAY, WHY, Reviewing, break_glass

pytestmark = pytest.mark.anyio


@pytest.fixture
def tenant(app: App, alpha: str) -> Reviewing:
    return Reviewing(app, alpha)


@pytest.fixture
def staff(app: App) -> Reviewing:
    return Reviewing(app, OPERATOR, "officer")


async def sign_in(reviewing: Reviewing, username: str) -> int:
    slug = reviewing.app.slugs.get(reviewing.tenant, reviewing.tenant)
    body = {"tenant": slug, "username": username, "password": PASSWORD}
    return (await reviewing.app.http.post("auth/sign-in", json=body)).status_code


async def account(reviewing: Reviewing, headers: dict[str, str]) -> int:
    return (await reviewing.app.http.get("auth/account", headers=headers)).status_code


async def test_a_review_opens_every_quarter_and_has_every_role_once(
    app: App, tenant: Reviewing, staff: Reviewing
) -> None:
    await tenant.run()
    assert await tenant.reviews() == []
    await tenant.run(days=90)
    assert await tenant.reviews() == []
    await tenant.run(days=1)
    [review] = await tenant.reviews()
    assert (review["kind"], review["phase"], review["opened_by"]) == ("full", "open", None)
    items = await tenant.items(review["id"])
    assert items.keys() == {"admin.administrator", "member.member", "reader.reader"}
    assert {item["proposal"] for item in items.values()} == {"remove"}
    [of_staff] = await staff.reviews()
    assert {*await staff.items(of_staff["id"])} == {
        *("officer.officer", "operator.operator", "support.support")
    }
    for days in (14, 14, 62):
        await tenant.run(days=days)
        assert len(await tenant.reviews()) == 1
    await tenant.run(days=1)
    assert [each["phase"] for each in await tenant.reviews()] == ["open", "finished"]


async def test_the_last_use_is_the_last_sign_in_and_decides_the_proposal(
    app: App, alpha: str, tenant: Reviewing
) -> None:
    await app.user(alpha, "busy", Role.MEMBER)
    app.clock.advance(89 * DAY)
    assert await sign_in(tenant, "busy") == 200
    app.clock.advance(2 * DAY)
    items = await tenant.items(await tenant.open())
    assert items["busy.member"]["proposal"] == "keep"
    assert items["busy.member"]["last_used_at"] == "2026-03-31T00:00:00Z"
    assert items["member.member"]["proposal"] == "remove"
    assert items["member.member"]["last_used_at"] is None


async def test_a_role_is_confirmed_or_revoked_with_a_reason(app: App, tenant: Reviewing) -> None:
    reader = await app.auth(tenant.tenant, "reader")
    review = await tenant.open()
    items = await tenant.items(review)
    confirmed = await tenant.decide(review, items["member.member"])
    assert confirmed.status_code == 200, confirmed.text
    assert confirmed.json()["decision"]["reason"] == WHY
    assert confirmed.headers["etag"] == confirmed.json()["etag"]
    revoked = await tenant.decide(review, items["reader.reader"], "revoke", "They have left us.")
    assert revoked.json()["state"] == "decided"
    assert await account(tenant, reader) == 401
    user = await tenant.user("reader")
    assert (user.roles, user.disabled) == ((), True)
    assert (await tenant.user("member")).roles == (Role.MEMBER,)
    # Again: nothing more happens; otherwise: it is decided.
    again = await tenant.decide(review, items["reader.reader"], "revoke", "They have left us.")
    assert again.json() == revoked.json()
    other = await tenant.decide(review, items["reader.reader"], "confirm")
    assert (other.status_code, problem(other)) == (409, "conflict")
    await app.settle()
    decisions = [
        (entry["details"]["role"], entry["details"]["decision"])
        for body in await app.entries(tenant.tenant, review)
        if (entry := body["entry"])["action"] == "review.decide"
    ]
    assert sorted(decisions) == [("member", "confirm"), ("reader", "revoke")]


async def test_an_item_is_decided_under_its_etag(tenant: Reviewing) -> None:
    review = await tenant.open()
    item = (await tenant.items(review))["member.member"]
    stale = await tenant.decide(review, item, **{"If-Match": '"0"'})
    assert stale.status_code == 412
    fresh = await tenant.decide(review, item, **{"If-Match": item["etag"]})
    assert fresh.status_code == 200


async def test_nobody_reviews_themselves_under_whichever_account(
    app: App, alpha: str, tenant: Reviewing
) -> None:
    await app.user(alpha, "admin-second", Role.MEMBER)
    await tenant.same_person("admin-second", "admin")
    review = await tenant.open()
    items = await tenant.items(review)
    for name in ("admin.administrator", "admin-second.member"):
        for decision in ("confirm", "revoke"):
            answer = await tenant.decide(review, items[name], decision)
            assert (answer.status_code, problem(answer)) == (403, "forbidden"), name
    await app.user(alpha, "colleague", Role.ADMINISTRATOR)
    answer = await tenant.decide(review, items["admin.administrator"], username="colleague")
    assert answer.status_code == 200


async def test_what_nobody_decides_about_is_suspended_and_then_revoked(
    app: App, alpha: str, tenant: Reviewing, caplog: pytest.LogCaptureFixture
) -> None:
    await app.user(alpha, "idle", Role.MEMBER)
    await app.user(alpha, "both", Role.MEMBER, Role.READER)
    review = await tenant.open()
    items = await tenant.items(review)
    await tenant.decide(review, items["both.reader"])
    await tenant.decide(review, items["member.member"])
    await tenant.run(days=13)
    assert await sign_in(tenant, "idle") == 200
    app.clock.advance(DAY - 60)
    idle = await app.auth(alpha, "idle")
    both = await app.auth(alpha, "both")
    with caplog.at_level(logging.ERROR, "strongroom.reviews"):
        await tenant.run(days=60 / DAY)
    assert f"reviews.overdue {review} of {alpha}: 1 items" in caplog.text

    # At once, and for as long as it lasts.
    assert await account(tenant, idle) == 401
    assert await account(tenant, both) == 401
    assert await sign_in(tenant, "idle") == 401
    assert (await tenant.states(review)) == {
        "admin.administrator": "open",
        "member.member": "decided",
        "reader.reader": "suspended",
        "idle.member": "suspended",
        "both.member": "suspended",
        "both.reader": "decided",
    }
    user = await tenant.user("both")
    assert (user.roles, user.effective_roles) == ((Role.MEMBER, Role.READER), (Role.READER,))
    answer = await app.http.get("auth/account", headers=await app.auth(alpha, "both"))
    assert answer.json()["roles"] == ["reader"]
    # An administrator does not bring it back by setting the same roles again.
    answer = await app.http.patch(
        f"users/{user.id}", json={"roles": ["member", "reader"]}, headers=await app.auth(alpha)
    )
    assert answer.json()["suspended_roles"] == ["member"]

    # A late confirmation lifts it.
    late = await tenant.decide(review, items["both.member"])
    assert (late.status_code, late.json()["state"]) == (200, "decided")
    assert (await tenant.user("both")).effective_roles == (Role.MEMBER, Role.READER)

    await tenant.run(days=14)
    assert (await tenant.states(review))["idle.member"] == "lapsed"
    user = await tenant.user("idle")
    assert (user.roles, user.disabled) == ((), True)
    assert await sign_in(tenant, "idle") == 401
    # The last administrator stays, and the report says so.
    assert (await tenant.user("admin")).effective_roles == (Role.ADMINISTRATOR,)
    report = (await tenant.get(f"/{review}/report")).json()
    assert report["counts"] == {
        "items": 6,
        "confirmed": 3,
        "revoked": 0,
        "lapsed": 2,
        "obsolete": 0,
        "overdue": 1,
    }
    [overdue] = [item for item in report["items"] if item["state"] == "overdue"]
    assert overdue["username"] == "admin"
    await app.settle()
    actions = await app.actions(alpha, review)
    assert actions.count("review.suspend") == 3
    assert actions.count("review.lapse") == 2


async def test_of_two_administrators_the_newer_one_is_kept(
    app: App, alpha: str, tenant: Reviewing
) -> None:
    app.clock.advance(1)
    await app.user(alpha, "newer", Role.ADMINISTRATOR)
    await tenant.open()
    await tenant.run(days=14)
    assert (await tenant.user("admin")).effective_roles == ()
    assert (await tenant.user("newer")).effective_roles == (Role.ADMINISTRATOR,)


async def test_the_last_operator_and_the_only_officer_stay(app: App, staff: Reviewing) -> None:
    review = await staff.open()
    items = await staff.items(review)
    own = await staff.decide(review, items["officer.officer"])
    assert own.status_code == 403
    last = await staff.decide(review, items["operator.operator"], "revoke")
    assert (last.status_code, problem(last)) == (409, "conflict")
    await staff.run(days=14)
    await staff.run(days=14)
    assert await staff.states(review) == {
        "officer.officer": "overdue",
        "operator.operator": "overdue",
        "support.support": "lapsed",
    }
    assert (await staff.user("officer")).effective_roles == (Role.OFFICER,)
    assert (await staff.user("operator")).effective_roles == (Role.OPERATOR,)


async def test_a_role_that_went_by_itself_is_obsolete(
    app: App, alpha: str, tenant: Reviewing
) -> None:
    review = await tenant.open()
    reader = await tenant.user("reader")
    await app.http.patch(
        f"users/{reader.id}", json={"roles": ["member"]}, headers=await app.auth(alpha)
    )
    await tenant.run(days=14)
    assert (await tenant.states(review))["reader.reader"] == "obsolete"
    assert (await tenant.user("reader")).effective_roles == (Role.MEMBER,)


async def test_a_late_timer_gives_no_less_time(tenant: Reviewing) -> None:
    review = await tenant.open()
    await tenant.run(days=40)
    assert (await tenant.states(review))["member.member"] == "suspended"
    await tenant.run(days=13)
    assert (await tenant.states(review))["member.member"] == "suspended"
    await tenant.run(days=1)
    assert (await tenant.states(review))["member.member"] == "lapsed"


async def test_a_broken_glass_is_reviewed_at_once_and_closed_by_the_decision(
    app: App, alpha: str, staff: Reviewing, caplog: pytest.LogCaptureFixture
) -> None:
    grant = await break_glass(app, alpha)
    await staff.run()
    [review] = await staff.reviews()
    assert (review["kind"], review["grant"]) == ("break-glass", grant)
    [(name, item)] = (await staff.items(review["id"])).items()
    assert (name, item["username"], item["break_glass"]) == (grant, "support", True)
    early = await staff.decide(review["id"], item, "confirm", "It will have been an outage.")
    assert (early.status_code, problem(early)) == (409, "conflict")
    used = app.clock.now()
    # What is not there is asked for: that is a use as well.
    document = f"staff-grants/{grant}/documents/doc_{'0' * 26}"
    support = await app.auth(OPERATOR, "support")
    assert (await app.http.get(document, headers=support)).status_code == 404
    # It does not end by itself.
    with caplog.at_level(logging.ERROR, "strongroom.reviews"):
        await staff.run(days=60)
    assert f"reviews.overdue {review['id']}" in caplog.text
    assert (await staff.states(review["id"])) == {grant: "open"}
    decided = await staff.decide(
        review["id"], item, "confirm", "It was an outage, and they said so."
    )
    assert decided.status_code == 200, decided.text
    closed = await app.services.grants.grants.store.get(grant)
    assert closed.value.review is not None
    assert closed.value.review.by == (await staff.user("officer")).id
    assert closed.value.last_used_at == used
    shown = (await staff.items(review["id"]))[grant]
    assert shown["last_used_at"] == decided.json()["last_used_at"] != item["last_used_at"]
    await staff.run()
    finished = (await staff.get(f"/{review['id']}")).json()
    assert (finished["phase"], finished["counts"]["confirmed"]) == ("finished", 1)
    await app.settle()
    assert "grant.review" in await app.actions(OPERATOR, grant)
    # The tenant sees it as well.
    told = {"review.open", "review.decide", "review.finish"}
    assert set(await app.actions(alpha, review["id"])) == told


async def test_the_officer_ends_a_broken_glass_in_its_review(
    app: App, alpha: str, staff: Reviewing
) -> None:
    grant = await break_glass(app, alpha)
    await staff.run()
    [review] = await staff.reviews()
    item = (await staff.items(review["id"]))[grant]
    revoked = await staff.decide(review["id"], item, "revoke", "There is no emergency.")
    assert revoked.status_code == 200, revoked.text
    kept = (await app.services.grants.grants.store.get(grant)).value
    assert kept.end is not None
    assert (kept.end.how, kept.review is not None) == ("revoked", True)


async def test_a_full_review_of_employees_has_the_grants_of_its_period(
    app: App, alpha: str, staff: Reviewing
) -> None:
    grant = await break_glass(app, alpha)
    app.clock.advance(2 * 3_600)
    full = await staff.open()
    item = (await staff.items(full))[grant]
    assert item["state"] == "open"
    # A decision in it closes the grant as well, and the grant's own review.
    await staff.decide(full, item, "revoke", "There was no emergency.")
    app.clock.advance(60)
    await staff.run()
    own = next(review for review in await staff.reviews() if review["kind"] == "break-glass")
    assert own["phase"] == "finished"
    assert await staff.states(own["id"]) == {grant: "obsolete"}


async def test_the_report_is_signed_and_in_the_audit_log(app: App, tenant: Reviewing) -> None:
    await app.user(tenant.tenant, "colleague", Role.ADMINISTRATOR)
    review = await tenant.open()
    early = await tenant.get(f"/{review}/report")
    assert (early.status_code, problem(early)) == (409, "conflict")
    reason = "Zażółć (gęślą) jaźń \\ \n" + "long " * 100
    for name, item in (await tenant.items(review)).items():
        username = "colleague" if name.startswith("admin.") else "admin"
        answer = await tenant.decide(review, item, reason=reason, username=username)
        assert answer.status_code == 200, answer.text
    await tenant.run()
    finished = (await tenant.get(f"/{review}")).json()
    assert (finished["phase"], finished["counts"]["confirmed"]) == ("finished", 4)

    found = await tenant.get(f"/{review}/report")
    assert found.headers["content-type"] == "application/json"
    report = json.loads(found.content)
    assert canonical_json(report) == found.content
    assert report["format"] == "strongroom-access-review/1"
    assert {item["decision"]["reason"] for item in report["items"]} == {reason}
    digest = hashlib.sha256(found.content).hexdigest()
    assert finished["report"]["sha256"] == digest
    await app.settle()
    [entry] = [
        body["entry"]
        for body in await app.entries(tenant.tenant, review)
        if body["entry"]["action"] == "review.finish"
    ]
    assert entry["details"]["sha256"] == digest

    signed = (await tenant.get(f"/{review}/report.jws")).content
    key = ECKey.import_key(finished["report"]["public_key"])
    assert jws.deserialize_compact(signed, key, algorithms=["ES256"]).payload == found.content

    pdf = await tenant.get(f"/{review}/report.pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-")
    streams = re.findall(rb"stream\n(.*?)\nendstream", pdf.content, re.DOTALL)
    text = b"".join(zlib.decompress(stream) for stream in streams)
    for expected in (review, digest, *(item["user"] for item in report["items"])):
        assert expected.encode() in text
    assert rb"g\\u0119\\u015bl\\u0105" in text


async def test_reasons_are_sealed(app: App, tenant: Reviewing) -> None:
    review = await tenant.open()
    item = (await tenant.items(review))["member.member"]
    await tenant.decide(review, item, reason="zebra-7719")
    await tenant.run(days=14)
    await tenant.run(days=14)
    await app.settle()
    assert (await tenant.get(f"/{review}")).json()["phase"] == "finished"
    for path in app.data.rglob("*"):
        if path.is_file():
            assert b"zebra-7719" not in path.read_bytes(), path


async def test_a_tenant_sees_its_own_reviews_alone(
    app: App, beta: str, tenant: Reviewing, staff: Reviewing
) -> None:
    of_alpha, of_staff = await tenant.open(), await staff.open()
    other = Reviewing(app, beta)
    assert await other.reviews() == []
    item = (await tenant.items(of_alpha))["member.member"]
    for path in ("", "/items", "/report", "/report.jws", "/report.pdf"):
        for reviewing, review in ((other, of_alpha), (tenant, of_staff), (staff, of_alpha)):
            assert (await reviewing.get(f"/{review}{path}")).status_code == 404, path
    assert (await other.decide(of_alpha, item)).status_code == 404
    assert (await tenant.get(f"/{of_alpha}", "member")).status_code == 403
    assert (await staff.get(f"/{of_staff}", "support")).status_code == 403
    assert (await staff.get(f"/{of_staff}", "operator")).status_code == 403
    denied = await tenant.decide(of_alpha, item, username="member")
    assert denied.status_code == 403


async def test_one_full_review_is_open_at_a_time(app: App, tenant: Reviewing) -> None:
    headers = await app.auth(tenant.tenant)
    first = (await app.http.post("reviews", headers=headers)).json()
    second = await app.http.post("reviews", headers=headers)
    assert (second.status_code, problem(second)) == (409, "conflict")
    assert first["id"] in second.json()["detail"]
    item = {"id": "usr_" + "0" * 26 + ".member"}
    assert (await tenant.decide(first["id"], item)).status_code == 404


async def test_items_that_are_not_all_there_take_no_decisions(tenant: Reviewing) -> None:
    headers = await tenant.app.auth(tenant.tenant)
    review = (await tenant.app.http.post("reviews", headers=headers)).json()["id"]
    store = tenant.app.services.reviews.reviews.store
    found = await store.get(tenant.tenant, review)
    user = await tenant.user("member")
    await store.add(found.value, list(role_items(user, tenant.app.clock.now())))
    answer = await tenant.decide(review, {"id": f"{user.id}.member"})
    assert (answer.status_code, problem(answer)) == (409, "conflict")


async def test_items_are_listed_by_state_and_in_pages(tenant: Reviewing) -> None:
    review = await tenant.open()
    await tenant.decide(review, (await tenant.items(review))["member.member"])
    assert {*await tenant.items(review, "&state=decided")} == {"member.member"}
    page = (await tenant.get(f"/{review}/items?limit=1")).json()
    assert len(page["items"]) == 1
    rest = (await tenant.get(f"/{review}/items?cursor={page['cursor']}")).json()
    assert len(rest["items"]) == 2
    assert rest["cursor"] is None


async def test_a_tenant_from_before_the_reviews_has_its_first_within_the_period(
    app: App, alpha: str, tenant: Reviewing
) -> None:
    app.clock.advance(200 * DAY)  # no timer ran for so long
    await tenant.run()
    assert await tenant.reviews() == []
    await tenant.run(days=91)
    assert len(await tenant.reviews()) == 1


async def test_items_lie_in_a_partition_of_their_own(app: App, tenant: Reviewing) -> None:
    review = await tenant.open()
    parts = {record.partition.part for record in find_records(app.data, "review-item")}
    assert parts == {f"review-{review.removeprefix('rev_')}"}


async def test_items_are_in_the_next_backup(app: App, tenant: Reviewing) -> None:
    review = await tenant.open()
    app.clock.advance(240)
    await app.services.outbox.relay()
    await app.services.backups.timer.run()
    reader = app.services.backups.reader
    made = await reader.newest(tenant.tenant)
    manifest = await reader.manifests.read(tenant.tenant, made)
    assert f"review-{review.removeprefix('rev_')}" in {part.part for part in manifest.parts}


async def test_a_new_tenant_is_on_the_agenda_from_its_creation_on(app: App) -> None:
    await app.services.reviews.timer.run()
    app.clock.advance(50 * DAY)
    gamma = Reviewing(app, await app.tenant("gamma"))
    await gamma.run(days=90)
    assert await gamma.reviews() == []
    await gamma.run(days=1)
    assert len(await gamma.reviews()) == 1
