"""Grants: two people, an end, exactly their scope, and an entry in both logs for each step and each act."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.errors import Conflict, Forbidden, InvalidInput, NotFound
from shared.base.partitions import OPERATOR
from shared.grants.models import (
    Depth,
    Grant,
    Operation,
    Private,
    ReasonCode,
    Scope,
    ScopeKind,
    State,
)
from shared.grants.service import MOST_OPEN, NewGrant
from shared.grants.store import GrantRecords
from shared.journal.collections import Stored
from shared.journal.entries import Action
from shared.journal.idempotency import IdempotencyKey
from shared.keys.gate import act_as, as_the_service
from shared.keys.names import tenant_key_name
from shared.policy.models import StaffAccess
from tests.support.granted import CONTENT, PRIVATE, WHY, Granted

pytestmark = pytest.mark.anyio


@pytest.fixture
async def data() -> AsyncIterator[Granted]:
    data = Granted()
    yield data
    await data.close()


class Desk:
    """A tenant with a document, an employee who asks, and one who approves."""

    def __init__(self, data: Granted) -> None:
        self.data = data

    async def open(self) -> Desk:
        data = self.data
        self.asks = await data.employee(Role.SUPPORT)
        self.approves = await data.employee(Role.OPERATOR)
        self.customer = await data.tenant()
        self.document = await data.document(self.customer)
        self.tenant = self.customer.tenant
        return self

    async def live(self, **asked: object) -> str:
        """A grant for the document that is live."""
        grant = await self.data.ask(self.asks, self.tenant, self.document, **asked)  # type: ignore[arg-type]
        await self.approve(grant)
        return grant

    async def approve(self, grant: str) -> None:
        await self.data.decisions.approve(self.data.signed_in(self.approves), grant)

    async def read(self, grant: str, document: str | None = None) -> bytes:
        return await self.data.read(self.asks, grant, document or self.document)


@pytest.fixture
async def desk(data: Granted) -> Desk:
    return await Desk(data).open()


async def refused(data: Granted, employee: Principal, grant: str, document: str) -> bool:
    try:
        await data.read(employee, grant, document)
    except (Forbidden, NotFound):
        return True
    return False


async def test_a_grant_lets_read_what_it_covers_for_as_long_as_it_lasts(
    data: Granted, desk: Desk
) -> None:
    other = await data.document(desk.customer)
    grant = await data.ask(desk.asks, desk.tenant, desk.document, hours=8)
    assert await refused(data, desk.asks, grant, desk.document), "nobody has approved it"
    data.clock.advance(3_600)
    await desk.approve(grant)
    assert await desk.read(grant) == CONTENT
    assert await refused(data, desk.asks, grant, other)
    assert await refused(data, desk.approves, grant, desk.document), "it is another's"
    data.clock.advance(8 * 3_600 - 1)
    assert await desk.read(grant) == CONTENT, "the clock started at the approval"
    data.clock.advance(1)
    assert await refused(data, desk.asks, grant, desk.document)
    with pytest.raises(Conflict):
        await data.decisions.end(desk.asks, grant)


async def test_each_step_and_each_act_is_in_both_logs(data: Granted, desk: Desk) -> None:
    await data.allow(desk.customer, StaffAccess.CONSENT)
    grant = await data.ask(desk.asks, desk.tenant, desk.document)
    await desk.approve(grant)
    await data.decisions.consent(data.signed_in(desk.customer), grant)
    await desk.read(grant)
    await refused(data, desk.asks, grant, await data.document(desk.customer))
    await data.decisions.end(desk.asks, grant)
    expected = [
        (Action.GRANT_REQUEST, desk.asks.user),
        (Action.GRANT_APPROVE, desk.approves.user),
        (Action.GRANT_CONSENT, desk.customer.user),
        (Action.DOCUMENT_OPEN, desk.asks.user),
        (Action.GRANT_USE, desk.asks.user),
        (Action.GRANT_RETURN, desk.asks.user),
    ]
    for log in (OPERATOR, desk.tenant):
        entries = [entry for entry in await data.log(log) if entry.grant == grant]
        assert sorted((e.action, e.actor.id) for e in entries) == sorted(expected)
        assert {e.source for e in entries} <= {"", OPERATOR, desk.tenant}
        assert all(entry.tenant == log for entry in entries)
    both = [
        {entry.id for entry in await data.log(log) if entry.grant == grant}
        for log in (OPERATOR, desk.tenant)
    ]
    assert both[0] == both[1], "the same entries"
    written = str([await data.log(log) for log in (OPERATOR, desk.tenant)])
    assert not any(text in written for text in (WHY, PRIVATE.case, PRIVATE.system, "a.txt"))


async def test_no_entry_about_a_grant_leaves_open_whose_log_has_its_copy(
    data: Granted, desk: Desk
) -> None:
    """It would hold up the operator's log for ever."""
    with pytest.raises(ValueError, match="its copy belongs"):
        data.services.journal.entry(Action.GRANT_READ, by=desk.asks, grant="grt_1")


async def test_nobody_approves_their_own_request_under_whichever_account(
    data: Granted, desk: Desk
) -> None:
    both = await data.employee(Role.OPERATOR, Role.SUPPORT)
    own = await data.ask(both, desk.tenant, desk.document)
    with pytest.raises(Forbidden, match="own"):
        await data.decisions.approve(data.signed_in(both), own)
    second = await data.employee(Role.OPERATOR, account_of=both.user)
    with pytest.raises(Forbidden, match="own"):
        await data.decisions.approve(data.signed_in(second), own)
    by_the_second = await data.ask(second, desk.tenant, desk.document)
    with pytest.raises(Forbidden, match="own"):
        await data.decisions.approve(data.signed_in(both), by_the_second)
    third = await data.employee(Role.OPERATOR, account_of=both.user)
    with pytest.raises(Forbidden, match="own"):
        await data.decisions.approve(data.signed_in(third), by_the_second)
    assert await refused(data, both, own, desk.document)


async def test_an_approval_takes_the_right_and_a_recent_sign_in(data: Granted, desk: Desk) -> None:
    grant = await data.ask(desk.asks, desk.tenant, desk.document)
    stale = data.signed_in(desk.approves)
    data.clock.advance(601)
    with pytest.raises(Forbidden, match="sign in again"):
        await data.decisions.approve(stale, grant)
    with pytest.raises(Forbidden, match="sign in again"):
        await data.decisions.approve(replace(stale, signed_in_at=None), grant)
    ahead = replace(stale, signed_in_at=data.clock.now() + timedelta(seconds=60))
    with pytest.raises(Forbidden, match="sign in again"):
        await data.decisions.approve(ahead, grant)
    for role in (Role.SUPPORT, Role.OFFICER):
        with pytest.raises(Forbidden, match=r"grants\.approve"):
            await data.decisions.approve(data.signed_in(await data.employee(role)), grant)


async def test_rights_that_were_lost_meanwhile_count(data: Granted, desk: Desk) -> None:
    grant = await data.ask(desk.asks, desk.tenant, desk.document)
    # Their token still says that they may.
    await data.change(desk.approves, roles=(Role.SUPPORT,))
    with pytest.raises(Forbidden, match=r"grants\.approve"):
        await desk.approve(grant)
    await data.change(desk.approves, roles=(Role.OPERATOR,))
    await desk.approve(grant)
    for lost in ({"roles": (Role.SUPPORT,)}, {"disabled": True}):
        await data.change(desk.approves, **lost)
        assert await refused(data, desk.asks, grant, desk.document), lost
        await data.change(desk.approves, roles=(Role.OPERATOR,), disabled=False)
        assert await desk.read(grant) == CONTENT
    for lost in ({"roles": (Role.OFFICER,)}, {"disabled": True}):
        await data.change(desk.asks, **lost)
        assert await refused(data, desk.asks, grant, desk.document), lost
        await data.change(desk.asks, roles=(Role.SUPPORT,), disabled=False)


async def test_overlapping_grants_do_not_end_each_other(data: Granted, desk: Desk) -> None:
    long, short = await desk.live(hours=2), await desk.live(hours=0.5)
    other = await data.document(desk.customer)
    await data.decisions.end(desk.asks, short)
    assert await desk.read(long) == CONTENT
    second = await desk.live(hours=0.5)
    data.clock.advance(1_800)
    assert await refused(data, desk.asks, second, desk.document)
    assert await desk.read(long) == CONTENT
    assert await refused(data, desk.asks, long, other)


async def test_a_clock_that_was_set_back_gives_no_time(data: Granted, desk: Desk) -> None:
    grant = await desk.live(hours=1)
    assert await desk.read(grant) == CONTENT
    data.clock.advance(1_800)
    assert await desk.read(grant) == CONTENT
    data.clock.advance(-600)
    assert await refused(data, desk.asks, grant, desk.document), "it was used later"
    data.clock.advance(-7_200)
    assert await refused(data, desk.asks, grant, desk.document), "it had not begun"
    data.clock.advance(7_800 + 1_800)
    assert await refused(data, desk.asks, grant, desk.document), "it is over"
    data.clock.advance(-1_200)
    assert not await refused(data, desk.asks, grant, desk.document), "within its hour"


async def test_once_the_logs_say_that_it_is_over_no_clock_brings_it_back(
    data: Granted, desk: Desk
) -> None:
    grant, request = await desk.live(hours=1), await data.ask(desk.asks, desk.tenant, desk.document)
    data.clock.advance(3_601)
    await data.services.grants.timer.run()
    data.clock.advance(-1_800)
    assert await refused(data, desk.asks, grant, desk.document)
    data.clock.advance(25 * 3_600)
    await data.services.grants.timer.run()
    await data.services.grants.timer.run()
    with pytest.raises(Conflict, match="expired"):
        await desk.approve(request)
    for log in (OPERATOR, desk.tenant):
        over = [entry for entry in await data.log(log) if entry.action is Action.GRANT_EXPIRE]
        assert sorted(entry.resource for entry in over) == sorted([grant, request])


async def test_an_approval_after_its_expiry_starts_nothing(data: Granted, desk: Desk) -> None:
    grant = await data.ask(desk.asks, desk.tenant, desk.document)
    data.clock.advance(24 * 3_600)
    with pytest.raises(Conflict, match="expired"):
        await desk.approve(grant)
    assert await refused(data, desk.asks, grant, desk.document)


async def test_revocation_stops_a_download(data: Granted, desk: Desk) -> None:
    grant = await desk.live()
    with as_the_service():
        act_as(desk.asks.user)
        entered, _ = await data.reader.find(desk.asks, grant, desk.document, depth=Depth.CONTENT)

        async def slowly() -> AsyncIterator[bytes]:
            for _ in range(100):
                data.clock.advance(1)
                yield b"a piece"

        stream = data.access.watched(slowly(), entered.principal)
        for _ in range(3):
            await anext(stream)
        await data.decisions.end(desk.customer, grant)
        for _ in range(5):  # one a second
            try:
                await anext(stream)
            except Forbidden:
                return
    pytest.fail("it went on for more than five seconds")


async def test_a_use_at_the_same_time_keeps_nobody_from_ending_a_grant(
    data: Granted, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = await desk.live()
    get = GrantRecords.get
    uses = 0

    async def read_and_used(self: GrantRecords, grant: str) -> Stored[Grant]:
        nonlocal uses
        stored = await get(self, grant)
        if not uses:
            uses += 1
            await desk.read(grant)
        return stored

    monkeypatch.setattr(GrantRecords, "get", read_and_used)
    ended = await data.decisions.end(desk.customer, grant)
    assert (uses, ended.state) == (1, State.ENDED)
    kept = (await data.grants.store.get(grant)).value
    assert kept.last_used_at == data.clock.now()
    assert await refused(data, desk.asks, grant, desk.document)


async def test_of_two_who_decide_at_once_one_is_told(
    data: Granted, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = await desk.live()
    get = GrantRecords.get
    ended = 0

    async def read_and_ended(self: GrantRecords, grant: str) -> Stored[Grant]:
        nonlocal ended
        stored = await get(self, grant)
        if not ended:
            ended += 1
            await data.decisions.end(desk.asks, grant)
        return stored

    monkeypatch.setattr(GrantRecords, "get", read_and_ended)
    with pytest.raises(Conflict):
        await data.decisions.end(desk.customer, grant)
    found = [e.action for e in await data.log(desk.tenant) if e.resource == grant]
    assert found.count(Action.GRANT_RETURN) == 1
    assert Action.GRANT_REVOKE not in found


async def test_a_case_that_is_closed_ends_all_of_its_grants(data: Granted, desk: Desk) -> None:
    mine, also = await desk.live(), await data.ask(desk.asks, desk.tenant, desk.document)
    elsewhere = PRIVATE.model_copy(update={"case": "4712"})
    other = await desk.live(private=elsewhere)
    theirs = await data.ask(desk.approves, desk.tenant, desk.document)
    with pytest.raises(Forbidden):
        await data.decisions.close_case(desk.asks, PRIVATE.system, PRIVATE.case)
    assert await refused(data, desk.asks, mine, desk.document)
    assert await desk.read(other) == CONTENT
    assert await data.decisions.close_case(desk.approves, PRIVATE.system, PRIVATE.case) == 1
    for grant in (mine, also, theirs):
        assert (await data.grants.read(desk.approves, grant)).state is State.ENDED


async def test_the_tenants_policy_counts_at_each_request(data: Granted, desk: Desk) -> None:
    grant = await desk.live()
    assert await desk.read(grant) == CONTENT
    await data.allow(desk.customer, StaffAccess.FORBIDDEN)
    assert await refused(data, desk.asks, grant, desk.document)
    for break_glass in (False, True):
        with pytest.raises(Forbidden, match="forbids"):
            await data.ask(desk.asks, desk.tenant, desk.document, break_glass=break_glass)
    await data.allow(desk.customer, StaffAccess.CONSENT)
    assert await refused(data, desk.asks, grant, desk.document), "it has no consent"
    await data.allow(desk.customer, StaffAccess.APPROVAL)
    assert await desk.read(grant) == CONTENT


@pytest.mark.parametrize("first", ["approval", "consent"])
async def test_with_consent_the_clock_starts_at_the_later_of_the_two(
    data: Granted, desk: Desk, first: str
) -> None:
    await data.allow(desk.customer, StaffAccess.CONSENT)
    grant = await data.ask(desk.asks, desk.tenant, desk.document, hours=1)
    steps = [lambda: desk.approve(grant), lambda: consent(data, desk, grant)]
    for step in steps if first == "approval" else reversed(steps):
        assert await refused(data, desk.asks, grant, desk.document)
        data.clock.advance(3_600)
        await step()
    data.clock.advance(3_599)
    assert await desk.read(grant) == CONTENT


async def consent(data: Granted, desk: Desk, grant: str) -> None:
    await data.decisions.consent(data.signed_in(desk.customer), grant)


async def test_consent_is_the_tenants_own(data: Granted, desk: Desk) -> None:
    await data.allow(desk.customer, StaffAccess.CONSENT)
    grant = await data.ask(desk.asks, desk.tenant, desk.document)
    stranger = await data.tenant()
    for act in (
        data.decisions.consent,
        data.decisions.decline,
        data.decisions.end,
        data.grants.read,
    ):
        with pytest.raises(NotFound):
            await act(data.signed_in(stranger), grant)
    stale = data.signed_in(desk.customer)
    data.clock.advance(601)
    with pytest.raises(Forbidden, match="sign in again"):
        await data.decisions.consent(stale, grant)
    listed = await data.grants.page(stranger, limit=10, cursor=None)
    assert listed.items == []
    assert [
        one.grant.id for one in (await data.grants.page(desk.customer, limit=10, cursor=None)).items
    ] == [grant]


async def test_a_request_that_was_turned_down_stays_so(data: Granted, desk: Desk) -> None:
    by_staff = await data.ask(desk.asks, desk.tenant, desk.document)
    by_tenant = await data.ask(desk.asks, desk.tenant, desk.document)
    await data.decisions.decline(desk.approves, by_staff)
    await data.decisions.decline(desk.customer, by_tenant)
    for grant in (by_staff, by_tenant):
        with pytest.raises(Conflict, match="ended"):
            await desk.approve(grant)
        assert await refused(data, desk.asks, grant, desk.document)


async def test_a_broken_glass_is_live_at_once_for_an_hour_and_told(
    data: Granted, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidInput, match="3,600 seconds"):
        await data.ask(desk.asks, desk.tenant, desk.document, hours=1.1, break_glass=True)
    grant = await data.ask(desk.asks, desk.tenant, desk.document, hours=1, break_glass=True)
    assert await desk.read(grant) == CONTENT
    assert "audit.alert break-glass" in caplog.text
    for log in (OPERATOR, desk.tenant):
        assert Action.GRANT_BREAK_GLASS in {entry.action for entry in await data.log(log)}
    data.clock.advance(3_600)
    assert await refused(data, desk.asks, grant, desk.document)
    found = await data.grants.store.page({"unreviewed": "yes"}, limit=10, cursor=None)
    assert [stored.value.id for stored in found.items] == [grant]


async def test_a_grant_is_narrowed_and_never_widened(data: Granted, desk: Desk) -> None:
    other = await data.document(desk.customer)
    grant = await data.ask(
        desk.asks, desk.tenant, desk.document, other, operations=(Operation.WRITE,), hours=2
    )
    await desk.approve(grant)
    nothing = {"depth": None, "documents": None, "operations": None, "seconds": None}

    async def narrow(by: Principal, **change: object) -> None:
        await data.decisions.narrow(by, grant, **(nothing | change))  # type: ignore[arg-type]

    third = await data.document(desk.customer)
    for wider in (
        {"documents": [desk.document, other, third]},
        {"operations": [Operation.WRITE, Operation.DELETE]},
        {"seconds": 7_201},
        {},
    ):
        with pytest.raises(InvalidInput):
            await narrow(desk.asks, **wider)
    with pytest.raises(Forbidden):
        await narrow(await data.employee(Role.SUPPORT), seconds=600)
    await narrow(desk.asks, documents=[desk.document])
    assert await refused(data, desk.asks, grant, other)
    await narrow(desk.customer, operations=[])
    await narrow(desk.approves, seconds=600)
    assert await desk.read(grant) == CONTENT
    await narrow(desk.asks, depth=Depth.METADATA)
    assert await refused(data, desk.asks, grant, desk.document)
    assert await data.describe(desk.asks, grant, desk.document) == "a.txt"
    data.clock.advance(600)
    with pytest.raises(Forbidden):
        await data.describe(desk.asks, grant, desk.document)


@pytest.mark.parametrize(
    ("kind", "private"),
    [
        (ScopeKind.COLLECTION, {"collection": ("project", "mars")}),
        (ScopeKind.SEARCH, {"search": "MARS"}),
    ],
)
async def test_a_scope_that_is_no_list_of_documents_covers_what_fits(
    data: Granted, desk: Desk, kind: ScopeKind, private: dict[str, object]
) -> None:
    inside = await data.document(desk.customer, "mars plan.txt", project="mars")
    outside = await data.document(desk.customer, "venus plan.txt", project="venus")
    grant = await data.ask(
        desk.asks,
        desk.tenant,
        kind=kind,
        private=Private(case="1", system="desk", text=WHY, **private),
    )
    await desk.approve(grant)
    assert await desk.read(grant, inside) == CONTENT
    for document in (outside, desk.document):
        assert await refused(data, desk.asks, grant, document)
    with as_the_service():
        act_as(desk.asks.user)
        page = await data.reader.page(desk.asks, grant, limit=10, cursor=None)
    assert [found.document.id for found in page.items] == [inside]
    listed = [e for e in await data.log(desk.tenant) if e.action is Action.DOCUMENT_LIST]
    assert [(entry.grant, entry.details) for entry in listed] == [(grant, {"documents": 1})]


@pytest.mark.parametrize(
    ("kind", "documents", "private"),
    [
        (ScopeKind.DOCUMENTS, (), {}),
        (ScopeKind.DOCUMENTS, ("doc",), {"search": "mars"}),
        (ScopeKind.COLLECTION, (), {"search": "mars"}),
        (ScopeKind.SEARCH, (), {}),
        (ScopeKind.SEARCH, ("doc",), {"search": "mars"}),
    ],
)
async def test_a_scope_says_one_thing(
    data: Granted, desk: Desk, kind: ScopeKind, documents: tuple[str, ...], private: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput):
        await data.ask(
            desk.asks,
            desk.tenant,
            *documents,
            kind=kind,
            private=Private(case="1", system="desk", text=WHY, **private),
        )


async def test_durations_have_limits(data: Granted, desk: Desk) -> None:
    for hours in (8.01, 0.08):
        with pytest.raises(InvalidInput, match="seconds"):
            await data.ask(desk.asks, desk.tenant, desk.document, hours=hours)


async def test_a_request_that_is_sent_twice_is_one(data: Granted, desk: Desk) -> None:
    scope = Scope(kind=ScopeKind.DOCUMENTS, depth=Depth.CONTENT, documents=(desk.document,))
    new = NewGrant(desk.tenant, ReasonCode.LEGAL, PRIVATE, scope, (), 3_600)
    key = IdempotencyKey(OPERATOR, f"{desk.asks.user}/staff-grants", "a key for one request")
    made = [(await data.grants.request(desk.asks, new, key)).grant.id for _ in range(2)]
    assert made[0] == made[1]
    assert len((await data.grants.page(desk.asks, limit=10, cursor=None)).items) == 1


async def test_an_employee_has_a_bound(data: Granted, desk: Desk) -> None:
    grants = [await data.ask(desk.asks, desk.tenant, desk.document) for _ in range(MOST_OPEN)]
    with pytest.raises(Conflict, match="give some back"):
        await data.ask(desk.asks, desk.tenant, desk.document)
    await data.decisions.end(desk.asks, grants[0])
    await data.ask(desk.asks, desk.tenant, desk.document)


async def test_a_route_with_a_defect_opens_nothing(data: Granted, desk: Desk) -> None:
    grant = await desk.live()
    inside = replace(desk.asks, tenant=desk.tenant, grant=grant)
    other = await data.tenant()
    theirs = await data.document(other)

    async def open_directly(principal: Principal, document: str) -> None:
        await data.services.reader.find(principal, document)

    with as_the_service():
        act_as(desk.asks.user)
        # The route forgot to ask whether there is a grant, and names one that there is.
        with pytest.raises(Forbidden):
            await open_directly(inside, desk.document)
        await data.reader.find(desk.asks, grant, desk.document)
        await open_directly(inside, desk.document)
        # Under the grant it forgot which tenant it is for.
        with pytest.raises(Forbidden):
            await open_directly(replace(inside, tenant=other.tenant), theirs)
        await data.decisions.end(desk.customer, grant)
        with pytest.raises(Forbidden):
            await open_directly(inside, desk.document)
    await open_directly(other, theirs)


async def test_a_key_in_memory_is_no_way_around_the_gate(data: Granted, desk: Desk) -> None:
    await data.services.reader.find(desk.customer, desk.document)  # its keys are in memory now
    with as_the_service():
        act_as(desk.asks.user)
        with pytest.raises(Forbidden):
            await data.services.reader.find(desk.customer, desk.document)


async def test_the_key_vault_itself_asks_for_the_grant(data: Granted, desk: Desk) -> None:
    vault = data.services.adapters.key_vault
    wrapped = await vault.wrap(tenant_key_name(desk.tenant), b"k" * 32)
    with as_the_service():
        act_as(desk.asks.user)
        with pytest.raises(Forbidden):
            await vault.unwrap(wrapped)
    assert await vault.unwrap(wrapped) == b"k" * 32
