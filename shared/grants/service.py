"""Grants: an employee asks, another one approves, the tenant may have to consent; everybody can end one.

Each step is one commit with its audit entry. A grant's entries are in the operator's log and, as copies, in
the tenant's: the audit function sees to that (``shared.audit.copies``).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.access.permissions import Permission, check
from shared.access.principal import Principal
from shared.base.errors import Conflict, Forbidden, InvalidInput, NotFound
from shared.base.events import AlertData, Event, EventType
from shared.base.listing import Listing
from shared.base.partitions import OPERATOR, partition_of
from shared.grants.models import (
    Decision,
    Depth,
    End,
    Ending,
    Grant,
    Operation,
    Private,
    ReasonCode,
    Scope,
    State,
)
from shared.grants.rules import (
    check_approver,
    check_duration,
    check_recent_sign_in,
    check_scope,
)
from shared.grants.store import MISSING, GrantRecords, GrantTexts, case_index
from shared.identity.accounts import Accounts
from shared.identity.models import User
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
    """Takes requests for grants, and what people decide about them.

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
    accounts: Accounts
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
        grant_id = await self.idempotency.reserve(key, self.runtime.new_id("grt"))
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
            action, grant_id, by=principal, grant=grant_id, details=_facts(grant)
        )
        await self.store.months.prepare(partition)
        await self.agenda.add(Task.END_GRANTS, partition, grant.over_at)
        if new.break_glass:
            await self.agenda.add(Task.REVIEW_GRANTS, partition, grant.over_at)
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
        stored = await self._seen(principal, grant)
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

    async def approve(self, principal: Principal, grant: str) -> Described:
        """Approve a request, as its second person. The clock starts when nothing else is missing.

        Raises:
            Conflict: It is no open request, or somebody was faster.
            Forbidden: The caller is its requester, under whichever account, may not approve, or has not
                signed in a moment ago; or the tenant forbids access.
            NotFound: There is no such grant.
        """
        stored, access = await self._request_to_decide(principal, grant)
        if stored.value.approval is not None:
            raise Conflict("It is approved already.")
        approver = await self.accounts.load(OPERATOR, principal.user)
        requester = await self._employee(stored.value.requester)
        check_approver(stored.value, requester, approver.value)
        approved = self._decided(stored.value, access, approval=self._decision(principal))
        return await self._change(principal, stored, approved, Action.GRANT_APPROVE)

    async def consent(self, principal: Principal, grant: str) -> Described:
        """Consent to a request, for the tenant.

        Raises:
            Conflict: It is no open request, or somebody was faster.
            Forbidden: The caller has not signed in a moment ago, or the tenant's policy forbids access.
            NotFound: There is no such grant for the caller's tenant.
        """
        stored, access = await self._request_to_decide(principal, grant)
        if stored.value.consent is not None:
            raise Conflict("Your tenant has consented already.")
        consented = self._decided(stored.value, access, consent=self._decision(principal))
        return await self._change(principal, stored, consented, Action.GRANT_CONSENT)

    async def decline(self, principal: Principal, grant: str) -> Described:
        """Turn a request down: an employee who may approve, or the tenant.

        Raises:
            Conflict: It is no open request.
            NotFound: There is no such grant that the caller may see.
        """
        stored = await self._seen(principal, grant)
        self._check_open_request(stored.value)
        how = Ending.DECLINED if principal.kind == "employee" else Ending.REFUSED
        return await self._end(principal, stored, how, Action.GRANT_DECLINE)

    async def narrow(
        self,
        principal: Principal,
        grant: str,
        *,
        depth: Depth | None,
        documents: Sequence[str] | None,
        operations: Sequence[Operation] | None,
        seconds: int | None,
    ) -> Described:
        """Let a grant or request allow less. What is None stays.

        Args:
            principal: Its requester, an employee who may approve or revoke, or the tenant.
            grant: The grant.
            depth: ``METADATA``, where it was ``CONTENT``.
            documents: Some of its documents.
            operations: Some of its operations.
            seconds: A shorter duration, from its start.

        Raises:
            Conflict: It is over, or was changed at the same time.
            Forbidden: It is another employee's, and the caller may not decide about it.
            InvalidInput: It would allow more, or nothing, or changes nothing.
            NotFound: There is no such grant that the caller may see.
        """
        stored = await self._to_end(principal, grant)
        was = stored.value
        scope = was.scope.model_copy(
            update={
                "depth": depth or was.scope.depth,
                "documents": tuple(dict.fromkeys(documents)) if documents else was.scope.documents,
            }
        )
        allowed = tuple(sorted({Operation.READ, *(operations or was.operations)}))
        lasts = seconds or was.seconds
        if operations is not None and not operations:
            allowed = (Operation.READ,)
        narrower = (
            (scope.depth is was.scope.depth or scope.depth is Depth.METADATA)
            and set(scope.documents) <= set(was.scope.documents)
            and set(allowed) <= set(was.operations)
            and 0 < lasts <= was.seconds
        )
        if not narrower:
            raise InvalidInput("A grant can be narrowed, not widened: ask for another one.")
        update: dict[str, object] = {"scope": scope, "operations": allowed, "seconds": lasts}
        if was.starts_at is not None:
            update["ends_at"] = was.starts_at + timedelta(seconds=lasts)
        changed = was.model_copy(update=update)
        if changed == was:
            raise InvalidInput("This changes nothing about the grant.")
        await self.agenda.add(Task.END_GRANTS, stored.partition, changed.over_at)
        return await self._change(principal, stored, changed, Action.GRANT_NARROW)

    async def end(self, principal: Principal, grant: str) -> Described:
        """End a grant or request at once: its requester gives it back, others revoke it.

        Raises:
            Conflict: It is over already.
            Forbidden: It is another employee's, and the caller may not revoke.
            NotFound: There is no such grant that the caller may see.
        """
        stored = await self._to_end(principal, grant)
        own = principal.kind == "employee" and stored.value.requester == principal.user
        how, action = (
            (Ending.RETURNED, Action.GRANT_RETURN) if own else (Ending.REVOKED, Action.GRANT_REVOKE)
        )
        return await self._end(principal, stored, how, action)

    async def close_case(self, principal: Principal, system: str, case: str) -> int:
        """End every grant and request of a support case that was closed; how many there were.

        Raises:
            Forbidden: One is another employee's, and the caller may not revoke; the others are ended.
        """
        ended = 0
        forbidden: Forbidden | None = None
        where = {"case": case_index(system, case), "open": "yes"}
        async for stored in self.store.scan(where):
            try:
                self._check_may_end(principal, stored.value)
                await self._end(principal, stored, Ending.CASE_CLOSED, Action.GRANT_CASE_CLOSE)
            except Forbidden as error:
                forbidden = error
            except Conflict:
                continue  # it has just ended otherwise
            else:
                ended += 1
        if forbidden is not None:
            raise forbidden
        return ended

    async def expire(self, stored: Stored[Grant]) -> None:
        """Say in the audit logs that a grant or request is over.

        Raises:
            Conflict: It was changed at the same time.
        """
        grant = stored.value
        entry = self.journal.entry(
            Action.GRANT_EXPIRE, grant.id, tenant=OPERATOR, grant=grant.id, details=_facts(grant)
        )
        over = grant.model_copy(update={"over": True})
        await self.journal.commit(entry, [self.store.grants.replace(stored, over)])

    async def close(self, principal: Principal, grant: str) -> None:
        """Close a grant that nobody had approved, after the officer's review; once.

        Raises:
            Conflict: It was concurrently modified.
            NotFound: There is no such grant.
        """
        stored = await self.store.get(grant)
        if not stored.value.break_glass or stored.value.review is not None:
            return
        reviewed = stored.value.model_copy(update={"review": self._decision(principal)})
        await self._change(principal, stored, reviewed, Action.GRANT_REVIEW)

    async def _check_number(self, principal: Principal) -> None:
        found = await self.store.page(
            {"requester": principal.user, "open": "yes"}, limit=MOST_OPEN, cursor=None
        )
        if len(found.items) >= MOST_OPEN:
            raise Conflict(
                f"You have {MOST_OPEN} requests and grants that are open; give some back."
            )

    async def _seen(self, principal: Principal, grant: str) -> Stored[Grant]:
        stored = await self.store.get(grant)
        if principal.kind != "employee" and stored.value.tenant != principal.tenant:
            raise NotFound(MISSING)
        return stored

    async def _to_end(self, principal: Principal, grant: str) -> Stored[Grant]:
        stored = await self._seen(principal, grant)
        self._check_may_end(principal, stored.value)
        if stored.value.state(self.runtime.now()) not in {State.REQUESTED, State.LIVE}:
            raise Conflict("The grant is over already.")
        return stored

    def _check_may_end(self, principal: Principal, grant: Grant) -> None:
        if principal.kind == "employee" and grant.requester != principal.user:
            check(principal.roles, Permission.GRANTS_REVOKE)

    def _check_open_request(self, grant: Grant) -> None:
        state = grant.state(self.runtime.now())
        if state is not State.REQUESTED:
            raise Conflict(f"There is nothing to decide: the grant is {state.value}.")

    async def _request_to_decide(
        self, principal: Principal, grant: str
    ) -> tuple[Stored[Grant], StaffAccess]:
        stored = await self._seen(principal, grant)
        self._check_open_request(stored.value)
        check_recent_sign_in(principal, self.runtime.now())
        access = (await self.policies.of(stored.value.tenant)).staff_access
        if access is StaffAccess.FORBIDDEN:
            raise Forbidden("The tenant forbids access by staff.")
        return stored, access

    async def _employee(self, user: str) -> User | None:
        try:
            return (await self.accounts.load(OPERATOR, user)).value
        except NotFound:
            return None

    def _decision(self, principal: Principal) -> Decision:
        return Decision(by=principal.user, at=self.runtime.now())

    def _decided(
        self,
        grant: Grant,
        access: StaffAccess,
        *,
        approval: Decision | None = None,
        consent: Decision | None = None,
    ) -> Grant:
        decided = grant.model_copy(
            update={"approval": approval or grant.approval, "consent": consent or grant.consent}
        )
        complete = decided.approval is not None and (
            decided.consent is not None
            or not (decided.consent_required or access is StaffAccess.CONSENT)
        )
        if not complete:
            return decided
        now = self.runtime.now()
        ends = now + timedelta(seconds=grant.seconds)
        return decided.model_copy(update={"starts_at": now, "ends_at": ends})

    async def _end(
        self, principal: Principal, stored: Stored[Grant], how: Ending, action: Action
    ) -> Described:
        if stored.value.break_glass:
            await self.agenda.announce(Task.REVIEW_GRANTS, stored.partition)
        end = End(
            by=principal.user,
            at=self.runtime.now(),
            how=how,
            tenant=principal.kind != "employee",
        )
        return await self._change(
            principal, stored, stored.value.model_copy(update={"end": end}), action
        )

    async def _change(
        self, principal: Principal, stored: Stored[Grant], changed: Grant, action: Action
    ) -> Described:
        entry = self.journal.entry(
            action,
            changed.id,
            by=principal,
            tenant=OPERATOR,
            grant=changed.id,
            details=_facts(changed),
        )
        if changed.over_at != stored.value.over_at:
            await self.agenda.add(Task.END_GRANTS, stored.partition, changed.over_at)
        await principal.confirm()
        await self.journal.commit(entry, [self.store.grants.replace(stored, changed)])
        return await self.described(changed)

    async def described(self, grant: Grant) -> Described:
        """A grant with its texts, and what it is at this moment.

        Raises:
            Damaged: The texts are.
            Unavailable: The key vault or the record store does not respond.
        """
        return Described(grant, await self.texts.open(grant), grant.state(self.runtime.now()))

    def _alert(self, principal: Principal, grant: Grant) -> Event:
        data = AlertData(
            rule=BREAK_GLASS_RULE, severity="critical", count=1, seconds=0, user=principal.user
        )
        traceparent = principal.origin.traceparent
        return self.journal.event(EventType.AUDIT_ALERT, OPERATOR, grant.id, data, traceparent)


def _facts(grant: Grant) -> Details:
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
