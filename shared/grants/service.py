"""Grants: an employee asks, another one approves, the tenant may have to consent; everybody can end one.

Each step is one commit with its audit entry. A grant's entries are in the operator's log and, as copies, in
the tenant's: the audit function sees to that (``shared.audit.copies``).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.access.principal import Principal
from shared.base.errors import Conflict, Forbidden, NotFound
from shared.base.events import AlertData, Event, EventType
from shared.base.listing import Listing
from shared.base.partitions import OPERATOR, partition_of
from shared.grants.models import (
    LONGEST_OPEN,
    Grant,
    Operation,
    Private,
    ReasonCode,
    Scope,
    State,
)
from shared.grants.rules import (
    check_duration,
    check_recent_sign_in,
    check_scope,
)
from shared.grants.store import MISSING, PREFIX, GrantRecords, GrantTexts, case_index
from shared.identity.tenants import Tenants
from shared.journal.agenda import Agenda, Task
from shared.journal.collections import Stored
from shared.journal.entries import Action, Details
from shared.journal.idempotency import Idempotency, IdempotencyKey
from shared.journal.journal import Journal
from shared.policy.models import StaffAccess
from shared.policy.service import Policies
from shared.ports.clock import Runtime

MOST_OPEN: Final = 20
"""Requests and live grants that one employee can have at a time."""

BREAK_GLASS_RULE: Final = "break-glass"

_log = logging.getLogger("strongroom.grants")


@dataclass(frozen=True, slots=True)
class NewGrant:
    """What an employee asks for.

    Attributes:
        tenant: Whose data.
        reason: The code.
        private: The case, and why.
        scope: Which documents.
        operations: What is to be done with them; reading is added.
        seconds: For how long.
        break_glass: At once, and alone.
    """

    tenant: str
    reason: ReasonCode
    private: Private
    scope: Scope
    operations: tuple[Operation, ...]
    seconds: int
    break_glass: bool = False


@dataclass(frozen=True, slots=True)
class Described:
    """A grant and what people wrote about it."""

    grant: Grant
    private: Private
    state: State


@dataclass(slots=True)
class Grants:
    """Takes requests for grants, and shows them.

    Attributes:
        store: Where they are.
        texts: Seals what people write.
        journal: Commits each step with its entry.
        accounts: Knows employees.
        tenants: Knows tenants.
        policies: Say what tenants allow.
        agenda: Says when one is over.
        idempotency: Remembers requests.
        runtime: Time.
    """

    store: GrantRecords
    texts: GrantTexts
    journal: Journal
    tenants: Tenants
    policies: Policies
    agenda: Agenda
    idempotency: Idempotency
    runtime: Runtime

    async def request(
        self, principal: Principal, new: NewGrant, key: IdempotencyKey | None
    ) -> Described:
        """Ask for a grant, or break the glass: then it is live at once, and everybody is told.

        Raises:
            Conflict: The employee has too many that are open.
            Forbidden: The tenant forbids access by staff, or the glass takes a recent sign-in.
            IdempotencyKeyReused: The key belongs to a different request.
            InvalidInput: Scope or duration are not valid.
            NotFound: There is no such tenant.
        """
        check_scope(new.scope, new.private)
        check_duration(new.seconds, break_glass=new.break_glass)
        grant_id = await self.idempotency.reserve(key, self.runtime.new_id(PREFIX))
        partition = partition_of(OPERATOR, grant_id)
        request = _fingerprint(new)
        made = await self.idempotency.replayed(key, request, partition)
        if made is not None:
            return await self.read(principal, made)
        await self.tenants.load(new.tenant)
        access = (await self.policies.of(new.tenant)).staff_access
        if access is StaffAccess.FORBIDDEN:
            raise Forbidden("This tenant forbids access by staff.")
        now = self.runtime.now()
        if new.break_glass:
            check_recent_sign_in(principal, now)
        await self._check_number(principal)
        sealed = await self.texts.seal(grant_id, new.private)
        grant = Grant(
            id=grant_id,
            tenant=new.tenant,
            requester=principal.user,
            case=case_index(new.private.system, new.private.case),
            reason=new.reason,
            scope=new.scope,
            operations=tuple(sorted({Operation.READ, *new.operations})),
            seconds=new.seconds,
            break_glass=new.break_glass,
            requested_at=now,
            consent_required=access is StaffAccess.CONSENT,
            starts_at=now if new.break_glass else None,
            ends_at=now + timedelta(seconds=new.seconds) if new.break_glass else None,
            epoch=sealed.epoch,
            sealed=sealed.sealed,
        )
        action = Action.GRANT_BREAK_GLASS if new.break_glass else Action.GRANT_REQUEST
        entry = self.journal.entry(
            action, grant_id, by=principal, grant=grant_id, details=facts_of(grant)
        )
        await self.store.months.prepare(partition)
        await self.agenda.add(Task.END_GRANTS, partition, grant.over_at)
        if new.break_glass:
            await self.agenda.announce(Task.REVIEW_GRANTS, partition)
        try:
            await self.journal.commit(
                entry,
                [
                    self.store.grants.create(partition, grant),
                    *self.idempotency.remember(key, request, grant_id, partition),
                ],
                [self._alert(principal, grant)] if new.break_glass else [],
            )
        except Conflict:
            made = await self.idempotency.replayed(key, request, partition)
            if made is None:
                raise
            return await self.read(principal, made)
        if new.break_glass:
            # The operators' alert looks for this line. It comes at once, as does the event above: the rule
            # break-glass, which looks a few minutes later, adds what the logs and the tenant are told.
            _log.error("audit.alert %s by %s in %s", BREAK_GLASS_RULE, principal.user, new.tenant)
        return await self.described(grant)

    async def read(self, principal: Principal, grant: str) -> Described:
        """A grant: any for employees, of their own tenant for others.

        Raises:
            NotFound: There is none that the caller may see.
        """
        stored = await self.seen(principal, grant)
        await self.journal.commit(self.journal.entry(Action.GRANT_READ, grant, by=principal))
        return await self.described(stored.value)

    async def page(
        self, principal: Principal, *, limit: int, cursor: str | None, tenant: str = ""
    ) -> Listing[Described]:
        """A page of grants, the newest first: all for employees, those of their tenant for others.

        Args:
            principal: Who asks.
            limit: How many at most.
            cursor: From the page before.
            tenant: For employees: of one tenant alone.

        Raises:
            InvalidInput: The cursor does not belong to this list.
        """
        of = tenant if principal.kind == "employee" else principal.tenant
        page = await self.store.page({"tenant": of} if of else {}, limit=limit, cursor=cursor)
        await self.journal.commit(self.journal.entry(Action.GRANT_LIST, by=principal))
        items = [await self.described(stored.value) for stored in page.items]
        return Listing(items, page.cursor, page.damaged)

    async def seen(self, principal: Principal, grant: str) -> Stored[Grant]:
        """A grant that the caller may see: any for employees, of their own tenant for others.

        Raises:
            NotFound: There is none.
        """
        stored = await self.store.get(grant)
        if principal.kind != "employee" and stored.value.tenant != principal.tenant:
            raise NotFound(MISSING)
        return stored

    async def described(self, grant: Grant) -> Described:
        """A grant with its texts, and what it is at this moment.

        Raises:
            Damaged: The texts are.
            Unavailable: The key vault or the record store does not respond.
        """
        return Described(grant, await self.texts.open(grant), grant.state(self.runtime.now()))

    async def _check_number(self, principal: Principal) -> None:
        where = {"requester": principal.user, "open": "yes"}
        found = self.store.scan(where, self.runtime.now() - LONGEST_OPEN)
        if len([stored async for stored in found]) >= MOST_OPEN:
            raise Conflict(
                f"You have {MOST_OPEN} requests and grants that are open; give some back."
            )

    def _alert(self, principal: Principal, grant: Grant) -> Event:
        data = AlertData(
            rule=BREAK_GLASS_RULE, severity="critical", count=1, seconds=0, user=principal.user
        )
        traceparent = principal.origin.traceparent
        return self.journal.event(EventType.AUDIT_ALERT, OPERATOR, grant.id, data, traceparent)


def facts_of(grant: Grant) -> Details:
    """What the audit entries say of a grant: nothing that anybody wrote."""
    return {
        "tenant": grant.tenant,
        "reason_code": grant.reason.value,
        "scope": grant.scope.kind.value,
        "depth": grant.scope.depth.value,
        "operations": [operation.value for operation in grant.operations],
        "seconds": grant.seconds,
    }


def _fingerprint(new: NewGrant) -> dict[str, object]:
    return {
        "tenant": new.tenant,
        "reason": new.reason,
        "private": new.private.model_dump(mode="json"),
        "scope": new.scope.model_dump(mode="json"),
        "operations": sorted(new.operations),
        "seconds": new.seconds,
        "break_glass": new.break_glass,
    }
