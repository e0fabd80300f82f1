"""What follows from an item: its role is suspended, given back or removed; its grant is ended or closed.

Item and user lie in two partitions. The item is changed first: from then on nobody decides otherwise, and
it is ``pending`` until what follows is done, so that the timer does what a killed process left. A user is
read before the item is, and changed under their etag: so a confirmation, which writes the item and then the
user, and a suspension at the same time cannot both take effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.errors import Conflict
from shared.base.partitions import OPERATOR
from shared.grants.deciding import GrantDecisions
from shared.grants.models import State
from shared.identity.models import User
from shared.journal.collections import Stored
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Action, Entry
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from shared.reviews.assignments import Assignments, LastManager, removed, restored, suspended
from shared.reviews.models import Choice, ItemState, Review, ReviewItem
from shared.reviews.store import ReviewRecords


@dataclass(slots=True)
class Settling:
    """Lets items take effect.

    Attributes:
        store: Where they lie.
        journal: Commits what follows with its entries.
        assignments: Changes users.
        decisions: End and close grants.
        runtime: Time.
    """

    store: ReviewRecords
    journal: Journal
    assignments: Assignments
    decisions: GrantDecisions
    runtime: Runtime

    async def suspend(self, review: Review, item: str) -> bool:
        """Suspend the role of an item that nobody decided about; return whether it need not wait longer.

        The last user who manages users, or reviews, keeps the role, and the item stays open. A grant is
        over by then, and there is nothing to suspend.
        """
        return await retry_conflicts(lambda: self._suspend(review, item), self.runtime)

    async def lapse(self, review: Review, item: str) -> bool:
        """End an item that nobody decided about; return whether it is not overdue."""
        return await retry_conflicts(lambda: self._lapse(review, item), self.runtime)

    async def apply(self, review: Review, item: str, by: Principal | None = None) -> None:
        """Do what follows from an item that was decided about or has lapsed, unless it is done.

        Args:
            review: Whose it is.
            item: Its id.
            by: Who decided, where they are still there; None: the timer does what they left.

        Raises:
            LastManager: The role cannot be revoked any more; the item is open again.
        """
        await retry_conflicts(lambda: self._apply(review, item, by), self.runtime)

    async def check_revocable(self, review: Review, item: ReviewItem) -> None:
        """Before a role is revoked: somebody must be left who manages.

        Raises:
            LastManager: Nobody would be.
        """
        user = await self.assignments.accounts.known(review.tenant, item.user)
        if user is not None and item.role is not None and item.role in user.value.roles:
            await self.assignments.change(user, removed(user.value, item.role))

    async def check_over(self, item: ReviewItem) -> None:
        """Before a grant is confirmed that nobody had approved: all that was done under it must be known.

        Raises:
            Conflict: It is live.
        """
        grant = (await self.decisions.grants.store.get(item.id)).value
        if grant.state(self.runtime.now()) is State.LIVE:
            raise Conflict("The grant is live: revoke it now, or confirm it once it is over.")

    async def _suspend(self, review: Review, name: str) -> bool:
        user, stored = await self._read(review, name)
        item = stored.value
        if not item.is_undecided or item.role is None:
            return not item.break_glass
        if user is None or item.role not in user.value.roles:
            await self._settle(stored, ItemState.OBSOLETE)
            return True
        if item.role in user.value.suspended_roles:
            if item.state is ItemState.OPEN:
                await self._settle(stored, ItemState.SUSPENDED)
            return True
        try:
            changes = await self.assignments.change(user, suspended(user.value, item.role))
        except LastManager:
            if item.state is ItemState.SUSPENDED:
                await self.store.settle(
                    stored, item.model_copy(update={"state": ItemState.OPEN, "settled_at": None})
                )
            return False
        if item.state is ItemState.OPEN:
            await self._settle(stored, ItemState.SUSPENDED)
        entry = self.journal.entry(
            Action.REVIEW_SUSPEND,
            review.id,
            tenant=review.tenant,
            details={"user": item.user, "role": item.role.value},
        )
        await self.journal.commit(entry, changes)
        return True

    async def _lapse(self, review: Review, name: str) -> bool:
        user, stored = await self._read(review, name)
        item = stored.value
        if not item.is_undecided:
            return True
        if item.role is None:
            if not item.break_glass:
                await self._settle(stored, ItemState.LAPSED)
                return True
            if not review.grant:
                await self._settle(stored, ItemState.OVERDUE)  # it has a review of its own as well
            return False
        if user is None or item.role not in user.value.roles:
            await self._settle(stored, ItemState.OBSOLETE)
            return True
        if item.state is ItemState.OPEN:
            await self._settle(stored, ItemState.OVERDUE)
            return False
        await self.store.settle(
            stored,
            item.model_copy(
                update={
                    "state": ItemState.LAPSED,
                    "settled_at": self.runtime.now(),
                    "applied": False,
                }
            ),
        )
        return True

    async def _apply(self, review: Review, name: str, by: Principal | None) -> None:
        user, stored = await self._read(review, name)
        item = stored.value
        if item.applied:
            return
        if by is None and item.verdict is not None:
            roles = (Role.OFFICER,) if review.tenant == OPERATOR else (Role.ADMINISTRATOR,)
            by = Principal(review.tenant, item.verdict.by, roles)
        used_at = item.last_used_at
        try:
            if item.role is None:
                used_at = await self._apply_to_grant(item, by)
            elif user is not None and item.role in user.value.roles:
                await self._apply_to_user(review, item, item.role, user, by)
        except LastManager:
            # They became the last one since. A decision is asked for again; what lapsed stays.
            back = (
                {"state": ItemState.OVERDUE}
                if item.verdict is None
                else {"state": ItemState.OPEN, "verdict": None}
            )
            await self.store.settle(stored, item.model_copy(update=back | {"applied": True}))
            if item.verdict is None:
                return
            raise
        done = {"applied": True, "last_used_at": used_at}
        await self.store.settle(stored, item.model_copy(update=done))

    async def _apply_to_user(
        self,
        review: Review,
        item: ReviewItem,
        role: Role,
        user: Stored[User],
        by: Principal | None,
    ) -> None:
        if item.verdict is not None and item.verdict.choice is Choice.CONFIRM:
            if role not in user.value.suspended_roles:
                # Nothing changes but the etag: a suspension that is under way must not take effect.
                users = self.assignments.accounts.users
                await self.store.records.commit(user.partition, [users.touch(user)])
                return
            changed = restored(user.value, role)
        else:
            changed = removed(user.value, role)
        changes = await self.assignments.change(user, changed)
        await self.journal.commit(self._entry(review, item, role, changed, by), changes)

    def _entry(
        self, review: Review, item: ReviewItem, role: Role, changed: User, by: Principal | None
    ) -> Entry:
        if by is None:
            return self.journal.entry(
                Action.REVIEW_LAPSE,
                review.id,
                tenant=review.tenant,
                details={
                    "user": item.user,
                    "role": role.value,
                    "disabled": int(changed.disabled),
                },
            )
        return self.journal.entry(
            Action.USER_CHANGE,
            item.user,
            by=by,
            details={"roles": sorted(changed.roles), "disabled": int(changed.disabled)},
        )

    async def _apply_to_grant(self, item: ReviewItem, by: Principal | None) -> datetime | None:
        """End or close the grant; return when it was last used, which may be after the item was listed."""
        grant = (await self.decisions.grants.store.get(item.id)).value
        if item.verdict is None or by is None:
            return grant.last_used_at
        live = grant.state(self.runtime.now()) in {State.REQUESTED, State.LIVE}
        if item.verdict.choice is Choice.REVOKE and live:
            await self.decisions.end(by, item.id)
        await self.decisions.close(by, item.id)
        return grant.last_used_at

    async def _settle(self, stored: Stored[ReviewItem], state: ItemState) -> None:
        """Change the state of an item where nothing is left to follow from that."""
        changed = {"state": state, "settled_at": self.runtime.now()}
        await self.store.settle(stored, stored.value.model_copy(update=changed))

    async def _read(
        self, review: Review, name: str
    ) -> tuple[Stored[User] | None, Stored[ReviewItem]]:
        """The user first: see the module."""
        user = None
        if "." in name:  # not about a grant
            user = await self.assignments.accounts.known(review.tenant, name.partition(".")[0])
        return user, await self.store.item(review, name)
