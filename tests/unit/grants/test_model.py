"""Random histories against a model of the rules: no read without a live, approved, matching grant.

The model knows what happened, and decides in a few lines what the service decides from its records.
``STRONGROOM_GRANT_HISTORIES`` says how many histories; by default it is short.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.errors import Conflict, Forbidden, NotFound
from shared.base.partitions import OPERATOR
from shared.grants.models import Depth
from shared.journal.entries import Action
from shared.policy.models import StaffAccess
from tests.support.granted import CONTENT, PRIVATE, Granted

T = TypeVar("T")

HISTORIES = int(os.environ.get("STRONGROOM_GRANT_HISTORIES", "25"))
STEPS = 40

MAY_ASK = frozenset({Role.SUPPORT, Role.OPERATOR})
MAY_APPROVE = frozenset({Role.OPERATOR})
ROLES = st.sampled_from(
    [(Role.SUPPORT,), (Role.OPERATOR,), (Role.OPERATOR, Role.SUPPORT), (Role.OFFICER,)]
)
WHO = st.integers(0, 4)
"""Employees 0 and 4 are two accounts of one person."""
TENANT = st.integers(0, 1)
NEWEST = st.sampled_from([-1, -1, -1, -2, -3])
"""Which grant, from the last one on: what is new is what most can happen to."""

RIGHT = st.sampled_from([True, True, True, False])
"""Whether to try what is likely to be allowed."""


@dataclass
class Person:
    principal: Principal
    human: int
    roles: tuple[Role, ...]
    disabled: bool = False

    def may(self, roles: frozenset[Role]) -> bool:
        return not self.disabled and not roles.isdisjoint(self.roles)


@dataclass
class Granting:
    """What the model knows of a grant."""

    id: str
    asks: int
    tenant: int
    document: int
    depth: Depth
    lasts: timedelta
    asked_at: datetime
    alone: bool
    needs_consent: bool
    approved_by: int | None = None
    consented: bool = False
    starts: datetime | None = None
    used: datetime | None = None
    ended: bool = False


@dataclass
class Customer:
    administrator: Principal
    documents: list[str]
    access: StaffAccess = StaffAccess.APPROVAL


@dataclass
class Read:
    grant: str
    employee: str
    tenant: str
    document: str


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.people: list[Person] = []
        self.customers: list[Customer] = []
        self.grants: list[Granting] = []
        self.reads: list[Read] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        if self.people:
            self.check_logs()
            self.run(self.data.close())
        self.runner.close()

    @property
    def now(self) -> datetime:
        return self.data.clock.now()

    @initialize()
    def deploy(self) -> None:
        async def make() -> None:
            self.data = Granted()
            roles = [Role.SUPPORT, Role.OPERATOR, Role.OPERATOR, Role.OFFICER]
            for human, role in enumerate(roles):
                employee = await self.data.employee(role)
                self.people.append(Person(employee, human, (role,)))
            second = await self.data.employee(
                Role.OPERATOR, account_of=self.people[0].principal.user
            )
            self.people.append(Person(second, 0, (Role.OPERATOR,)))
            for _ in range(2):
                administrator = await self.data.tenant()
                documents = [await self.data.document(administrator) for _ in range(2)]
                self.customers.append(Customer(administrator, documents))

        self.run(make())

    @rule(
        who=WHO,
        tenant=TENANT,
        document=TENANT,
        depth=st.sampled_from([Depth.CONTENT, Depth.CONTENT, Depth.METADATA]),
        minutes=st.sampled_from([5, 60, 480]),
        alone=st.sampled_from([False, False, False, True]),
        approver=st.sampled_from([None, *range(5)]),
        consent=RIGHT,
        right=RIGHT,
    )
    def ask(
        self,
        who: int,
        tenant: int,
        document: int,
        depth: Depth,
        minutes: int,
        alone: bool,
        approver: int | None,
        consent: bool,
        right: bool,
    ) -> None:
        person, customer = self.people[who], self.customers[tenant]
        if not person.may(MAY_ASK):
            return  # the guard lets nobody else in
        minutes = min(minutes, 60) if alone else minutes
        allowed = customer.access is not StaffAccess.FORBIDDEN
        open_ones = [one for one in self.grants if one.asks == who and self.is_open(one)]
        found = self.attempt(
            lambda: self.data.ask(
                person.principal,
                customer.administrator.tenant,
                customer.documents[document],
                depth=depth,
                hours=minutes / 60,
                break_glass=alone,
            ),
            allowed if len(open_ones) < 15 else None,
        )
        if found is not None:
            self.grants.append(
                Granting(
                    found,
                    who,
                    tenant,
                    document,
                    depth,
                    timedelta(minutes=minutes),
                    self.now,
                    alone,
                    customer.access is StaffAccess.CONSENT,
                    starts=self.now if alone else None,
                )
            )
            if approver is not None:
                self.approve(approver, -1, right=right, recent=True)
            if consent:
                self.consent(tenant, -1, right=True)

    @rule(who=WHO, which=NEWEST, right=RIGHT, recent=RIGHT)
    def approve(self, who: int, which: int, right: bool, recent: bool) -> None:
        if not self.grants:
            return
        grant = self.grants[max(which, -len(self.grants))]
        if right:
            human = self.people[grant.asks].human
            fit = [
                number
                for number, one in enumerate(self.people)
                if one.may(MAY_APPROVE) and one.human != human
            ]
            who = fit[who % len(fit)] if fit else who
        person = self.people[who]
        signed_in = self.data.signed_in(person.principal)
        if not recent:
            self.data.clock.advance(601)
        asks = self.people[grant.asks]
        allowed = (
            recent
            and self.is_request(grant)
            and grant.approved_by is None
            and person.may(MAY_APPROVE)
            and asks.may(MAY_ASK)
            and person.human != asks.human
            and self.customers[grant.tenant].access is not StaffAccess.FORBIDDEN
        )
        done = self.attempt(lambda: self.data.decisions.approve(signed_in, grant.id), allowed)
        if done is not None:
            grant.approved_by = who
            self.start(grant)

    @rule(tenant=TENANT, which=NEWEST, right=RIGHT)
    def consent(self, tenant: int, which: int, right: bool) -> None:
        if not self.grants:
            return
        grant = self.grants[max(which, -len(self.grants))]
        tenant = grant.tenant if right else tenant
        customer = self.customers[tenant]
        allowed = (
            grant.tenant == tenant
            and self.is_request(grant)
            and not grant.consented
            and customer.access is not StaffAccess.FORBIDDEN
        )
        administrator = self.data.signed_in(customer.administrator)
        done = self.attempt(lambda: self.data.decisions.consent(administrator, grant.id), allowed)
        if done is not None:
            grant.consented = True
            self.start(grant)

    @rule(who=st.integers(0, 6), which=NEWEST)
    def end(self, who: int, which: int) -> None:
        if not self.grants:
            return
        grant = self.grants[max(which, -len(self.grants))]
        if who < 5:
            person = self.people[who]
            principal = Principal(OPERATOR, person.principal.user, person.roles)
            may = grant.asks == who or not {Role.OPERATOR, Role.OFFICER}.isdisjoint(person.roles)
        else:
            principal = self.customers[who - 5].administrator
            may = grant.tenant == who - 5
        allowed = may and (self.is_request(grant) or self.is_running(grant))
        done = self.attempt(lambda: self.data.decisions.end(principal, grant.id), allowed)
        if done is not None:
            grant.ended = True

    @rule(who=WHO, right=RIGHT)
    def close_the_case(self, who: int, right: bool) -> None:
        person = self.people[who]
        if right or Role.OPERATOR not in person.roles:
            return
        principal = Principal(OPERATOR, person.principal.user, person.roles)
        self.run(self.data.decisions.close_case(principal, PRIVATE.system, PRIVATE.case))
        for grant in self.grants:
            grant.ended = True

    @rule(seconds=st.sampled_from([1, 60, 299, 301, 1_800, 3_600, 90_000, -60, -4_000]))
    def pass_time(self, seconds: int) -> None:
        self.data.clock.advance(seconds)

    @rule(who=WHO, roles=ROLES, disabled=st.sampled_from([False, False, True]))
    def change_the_employee(self, who: int, roles: tuple[Role, ...], disabled: bool) -> None:
        person = self.people[who]
        person.roles, person.disabled = roles, disabled
        self.run(self.data.change(person.principal, roles=roles, disabled=disabled))

    @rule(tenant=TENANT, access=st.sampled_from([StaffAccess.APPROVAL, *StaffAccess]))
    def change_the_policy(self, tenant: int, access: StaffAccess) -> None:
        self.customers[tenant].access = access
        self.run(self.data.allow(self.customers[tenant].administrator, access))

    @rule()
    def run_the_timer(self) -> None:
        self.run(self.data.services.grants.timer.run())
        for grant in self.grants:
            over = (grant.starts or grant.asked_at) + (
                grant.lasts if grant.starts else timedelta(hours=24)
            )
            # Those that the agenda did not have due yet are over by the clock as well.
            if self.now >= over:
                grant.ended = True

    @invariant()
    def the_newest_let_see_what_they_should(self) -> None:
        for grant in self.grants[-2:]:
            self.look(grant.asks, grant, grant.tenant, grant.document, content=False)

    @rule(who=WHO, which=NEWEST, tenant=TENANT, document=TENANT, content=st.booleans(), right=RIGHT)
    def read(
        self, who: int, which: int, tenant: int, document: int, content: bool, right: bool
    ) -> None:
        if not self.grants:
            return
        grant = self.grants[max(which, -len(self.grants))]
        if right:
            who, tenant, document = grant.asks, grant.tenant, grant.document
        self.look(who, grant, tenant, document, content=content)

    def look(self, who: int, grant: Granting, tenant: int, document: int, *, content: bool) -> None:
        """Read a document under a grant."""
        person = self.people[who]
        name = self.customers[tenant].documents[document]
        allowed = (
            grant.asks == who
            and self.is_live(grant)
            and (grant.tenant, grant.document) == (tenant, document)
            and (not content or grant.depth is Depth.CONTENT)
        )
        look = self.data.read if content else self.data.describe
        done = self.attempt(lambda: look(person.principal, grant.id, name), allowed)
        # A refusal of the document comes after the grant was used.
        entered = grant.asks == who and self.is_live(grant)
        entered = entered and (not content or grant.depth is Depth.CONTENT)
        if entered and (grant.used is None or self.now - grant.used >= timedelta(minutes=1)):
            grant.used = self.now
        if done is not None:
            assert done in {CONTENT, "a.txt"}
            customer = self.customers[tenant].administrator.tenant
            self.reads.append(Read(grant.id, person.principal.user, customer, name))

    @invariant()
    def the_newest_have_two_people(self) -> None:
        """As the service keeps them, whatever the model thinks."""
        humans = {person.principal.user: person.human for person in self.people}
        for known in self.grants[-2:]:
            grant = self.run(self.data.grants.store.get(known.id)).value
            if grant.starts_at is not None and not grant.break_glass:
                assert grant.approval is not None
                assert humans[grant.approval.by] != humans[grant.requester]

    def check_logs(self) -> None:
        """Every read is in both logs, and no other read under a grant is."""
        wanted = sorted((one.grant, one.employee, one.document) for one in self.reads)
        shows = {Action.DOCUMENT_OPEN, Action.DOCUMENT_READ}
        operator = [e for e in self.run(self.data.log(OPERATOR)) if e.action in shows]
        assert sorted((e.grant, e.actor.id, e.resource) for e in operator) == wanted
        for customer in self.customers:
            tenant = customer.administrator.tenant
            found = [e for e in self.run(self.data.log(tenant)) if e.action in shows]
            ours = sorted(
                (one.grant, one.employee, one.document)
                for one in self.reads
                if one.tenant == tenant
            )
            assert sorted((e.grant, e.actor.id, e.resource) for e in found) == ours

    def attempt(self, work: Callable[[], Awaitable[T]], allowed: bool | None) -> T | None:
        """What the service did; it must be what the model says. None: either will do."""

        async def tried() -> T | None:
            try:
                return await work()
            except (Forbidden, NotFound, Conflict):
                return None

        done = self.run(tried())
        assert allowed is None or (done is not None) == allowed
        return done

    def start(self, grant: Granting) -> None:
        consent = self.customers[grant.tenant].access is StaffAccess.CONSENT
        if grant.approved_by is not None and (
            grant.consented or not (grant.needs_consent or consent)
        ):
            grant.starts = self.now

    def is_request(self, grant: Granting) -> bool:
        over = self.now >= grant.asked_at + timedelta(hours=24)
        return grant.starts is None and not grant.ended and not over

    def is_running(self, grant: Granting) -> bool:
        return (
            grant.starts is not None
            and not grant.ended
            and grant.starts <= self.now < grant.starts + grant.lasts
            and (grant.used is None or grant.used <= self.now)
        )

    def is_open(self, grant: Granting) -> bool:
        return not grant.ended

    def is_live(self, grant: Granting) -> bool:
        access = self.customers[grant.tenant].access
        if not self.is_running(grant) or access is StaffAccess.FORBIDDEN:
            return False
        if not self.people[grant.asks].may(MAY_ASK):
            return False
        if grant.alone:
            return True
        if access is StaffAccess.CONSENT and not grant.consented:
            return False
        assert grant.approved_by is not None
        return self.people[grant.approved_by].may(MAY_APPROVE)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=HISTORIES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
