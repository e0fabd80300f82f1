"""What people decide about grants: to approve, to consent, to decline, to narrow, to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.access.permissions import Permission, check
from shared.access.principal import Principal
from shared.base.errors import Conflict, Forbidden, InvalidInput
from shared.base.partitions import OPERATOR
from shared.grants.models import LONGEST_OPEN, Decision, Depth, End, Ending, Grant, Operation, State
from shared.grants.rules import check_approver, check_recent_sign_in, check_requester
from shared.grants.service import Described, Grants, facts_of
from shared.grants.store import case_index
from shared.identity.accounts import Accounts
from shared.journal.agenda import Agenda, Task
from shared.journal.collections import Stored
from shared.journal.entries import Action
from shared.policy.models import StaffAccess
from shared.ports.clock import Runtime


@dataclass(frozen=True, slots=True)
class GrantDecisions:
    """Changes grants as people decide, and as time passes.

    Attributes:
        grants: The grants.
        accounts: Knows employees.
        agenda: Says when one is over.
    """

    grants: Grants
    accounts: Accounts
    agenda: Agenda

    @property
    def runtime(self) -> Runtime:
        """Time."""
        return self.grants.runtime

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
        requester = await self.accounts.known(OPERATOR, stored.value.requester)
        asked = check_requester(requester.value if requester else None)
        check_approver(asked, approver.value)
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
        stored = await self.grants.seen(principal, grant)
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
        kept = was.operations if operations is None else operations
        allowed = tuple(sorted({Operation.READ, *kept}))
        lasts = seconds or was.seconds
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
        # What was asked for earlier is over, whether a timer has said so or not.
        since = self.runtime.now() - LONGEST_OPEN
        async for stored in self.grants.store.scan(where, since):
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
        entry = self.grants.journal.entry(
            Action.GRANT_EXPIRE, grant.id, tenant=OPERATOR, grant=grant.id, details=facts_of(grant)
        )
        over = grant.model_copy(update={"over": True})
        await self.grants.journal.commit(entry, [self.grants.store.grants.replace(stored, over)])

    async def close(self, principal: Principal, grant: str) -> None:
        """Close a grant that nobody had approved, after the officer's review; once.

        Raises:
            Conflict: It was concurrently modified.
            NotFound: There is no such grant.
        """
        stored = await self.grants.store.get(grant)
        if not stored.value.break_glass or stored.value.review is not None:
            return
        reviewed = stored.value.model_copy(update={"review": self._decision(principal)})
        await self._change(principal, stored, reviewed, Action.GRANT_REVIEW)

    async def _to_end(self, principal: Principal, grant: str) -> Stored[Grant]:
        stored = await self.grants.seen(principal, grant)
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
        stored = await self.grants.seen(principal, grant)
        self._check_open_request(stored.value)
        check_recent_sign_in(principal, self.runtime.now())
        access = (await self.grants.policies.of(stored.value.tenant)).staff_access
        if access is StaffAccess.FORBIDDEN:
            raise Forbidden("The tenant forbids access by staff.")
        return stored, access

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
        entry = self.grants.journal.entry(
            action,
            changed.id,
            by=principal,
            tenant=OPERATOR,
            grant=changed.id,
            details=facts_of(changed),
        )
        if changed.over_at != stored.value.over_at:
            await self.agenda.add(Task.END_GRANTS, stored.partition, changed.over_at)
        await principal.confirm()
        grants = self.grants.store.grants
        while True:
            try:
                await self.grants.journal.commit(entry, [grants.replace(stored, changed)])
            except Conflict:
                present = await grants.get(stored.partition, changed.id)
                used_at = present.value.last_used_at
                if present.value != stored.value.model_copy(update={"last_used_at": used_at}):
                    raise
                # It was used meanwhile, which must keep nobody from ending it.
                stored, changed = present, changed.model_copy(update={"last_used_at": used_at})
            else:
                return await self.grants.described(changed)
