"""Acting under a grant: whether it is live is computed anew from the records, at each request and key.

Nothing is remembered: the grant, the tenant's policy and both people are read each time, so what changed a
moment ago counts. A stream that is running is asked again every ``ASKED_EVERY``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from shared.access.principal import Principal
from shared.base.errors import Conflict, Forbidden, NotFound
from shared.base.partitions import OPERATOR
from shared.grants.models import Depth, Grant, Operation, Private
from shared.grants.rules import check_allows, check_live
from shared.grants.store import MISSING, GrantRecords, GrantTexts
from shared.identity.accounts import Accounts
from shared.identity.models import User
from shared.journal.collections import Stored
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.keys.gate import Acting, act_under
from shared.policy.service import Policies
from shared.ports.clock import Runtime

ASKED_EVERY: Final = timedelta(seconds=2)
"""While content is sent under a grant."""

NOTED_EVERY: Final = timedelta(minutes=1)
"""The last use of a grant is kept as exactly as this."""

B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Entered:
    """A grant that an employee is using in this request.

    Attributes:
        principal: The employee in the customer's tenant: no role, and the grant.
        grant: As it was read.
        private: Its texts.
    """

    principal: Principal
    grant: Grant
    private: Private


@dataclass(slots=True)
class GrantAccess:
    """Lets employees in under grants.

    Attributes:
        store: Where grants are.
        texts: What people wrote about them.
        accounts: Knows employees.
        policies: Say what tenants allow at present.
        journal: For the entries of refusals.
        runtime: Time.
    """

    store: GrantRecords
    texts: GrantTexts
    accounts: Accounts
    policies: Policies
    journal: Journal
    runtime: Runtime

    async def enter(
        self, principal: Principal, grant: str, operation: Operation, depth: Depth
    ) -> Entered:
        """Begin to act under a grant of one's own.

        A refusal is in both logs.

        Raises:
            Forbidden: It is not live, or does not allow this.
            NotFound: The employee has no such grant.
        """
        stored = await self.store.get(grant)
        if stored.value.requester != principal.user:
            raise NotFound(MISSING)
        try:
            await self._check(stored.value)
            check_allows(stored.value, operation, depth)
        except Forbidden as error:
            await self.refuse(principal, stored.value, error)
            raise
        await self._note_use(stored)
        act_under(grant)

        async def confirm() -> None:
            await principal.confirm()
            current = (await self.store.get(grant)).value
            await self._check(current)
            check_allows(current, operation, depth)

        inside = replace(
            principal, tenant=stored.value.tenant, roles=(), grant=grant, confirm=confirm
        )
        return Entered(inside, stored.value, await self.texts.open(stored.value))

    async def refuse(self, principal: Principal, grant: Grant, error: Forbidden | NotFound) -> None:
        """Put into both logs that something was tried under a grant and refused."""
        await self.journal.record_failure(
            error,
            Action.GRANT_USE,
            grant.id,
            by=principal,
            tenant=OPERATOR,
            grant=grant.id,
            details={"tenant": grant.tenant},
        )

    async def admits(self, tenant: str, acting: Acting) -> None:
        """Whether an employee may get at a tenant's keys: ``shared.keys.gate.Admits``.

        Raises:
            Forbidden: The grant is another's, for another tenant, or not live.
        """
        try:
            grant = (await self.store.get(acting.grant)).value
        except NotFound:
            raise Forbidden("There is no such grant any more.") from None
        if (grant.tenant, grant.requester) != (tenant, acting.employee):
            raise Forbidden("The grant is not for this.")
        await self._check(grant)

    async def watched(self, stream: AsyncIterator[B], principal: Principal) -> AsyncIterator[B]:
        """A stream that ends with an error soon after the grant has.

        Raises:
            Forbidden: The grant is not live any more.
        """
        asked = self.runtime.now()
        async for piece in stream:
            if self._is_due(asked):
                await principal.confirm()
                asked = self.runtime.now()
            yield piece

    def _is_due(self, asked: datetime) -> bool:
        # Also where the clock was set back.
        return not timedelta(0) <= self.runtime.now() - asked < ASKED_EVERY

    async def _check(self, grant: Grant) -> None:
        policy = await self.policies.of(grant.tenant)
        requester = await self._employee(grant.requester)
        approver = await self._employee(grant.approval.by) if grant.approval else None
        check_live(grant, policy.staff_access, requester, approver, self.runtime.now())

    async def _employee(self, user: str) -> User | None:
        stored = await self.accounts.known(OPERATOR, user)
        return stored.value if stored else None

    async def _note_use(self, stored: Stored[Grant]) -> None:
        now, last = self.runtime.now(), stored.value.last_used_at
        if last is not None and now - last < NOTED_EVERY:
            return
        used = stored.value.model_copy(update={"last_used_at": now})
        with suppress(Conflict):  # it was changed, or used, at the same time
            await self.store.records.commit(
                stored.partition, [self.store.grants.replace(stored, used)]
            )
