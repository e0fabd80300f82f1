"""Opening a review: its record first, then one item for each role and grant, each read once.

How far the listing is lies in the review's record, so that the next run of the timer goes on where a
process was killed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.access.principal import Principal
from shared.base.errors import Conflict
from shared.base.ids import earliest_id
from shared.base.partitions import OPERATOR, Partition, month_of
from shared.grants.models import Grant
from shared.grants.store import PREFIX, GrantRecords
from shared.identity.models import User
from shared.journal.agenda import Task
from shared.journal.collections import Stored
from shared.journal.entries import SYSTEM, Action, Actor
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from shared.reviews.assignments import Assignments
from shared.reviews.models import Kind, Phase, Review, ReviewItem, ReviewState
from shared.reviews.rules import grant_item, role_items
from shared.reviews.store import ReviewRecords

PAGE: Final = 200
"""Users of one page."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things take.

    Attributes:
        every: Between the full reviews of a tenant.
        decide: From the opening until undecided items are suspended.
        lapse: From then until they are revoked.
    """

    every: timedelta
    decide: timedelta
    lapse: timedelta


@dataclass(slots=True)
class Opening:
    """Opens reviews and lists their items.

    Attributes:
        store: Where reviews lie.
        journal: Commits their opening with its entry.
        assignments: Knows users.
        grants: Knows grants.
        terms: How long things take.
        runtime: Time.
    """

    store: ReviewRecords
    journal: Journal
    assignments: Assignments
    grants: GrantRecords
    terms: Terms
    runtime: Runtime

    async def full(self, tenant: str, by: Principal | Actor = SYSTEM) -> Review:
        """Open a review of every role, and for the operator of every grant since the last one.

        Raises:
            Conflict: One is under way; the error names it.
        """
        partition = Partition(tenant)
        state = await self.store.state(tenant)
        if state is not None and state.value.current:
            raise Conflict(f"A review is under way: {state.value.current}.")
        now = self.runtime.now()
        since = state.value.since if state is not None else None
        review = self._drafted(tenant, Kind.FULL, now, since or now - self.terms.every)
        review = review.model_copy(
            update={"opened_by": by.user if isinstance(by, Principal) else ""}
        )
        after = ReviewState(
            current=review.id, last=review.id, since=now, next_at=now + self.terms.every
        )
        # Whoever is killed from here on: the timer finds the review and goes on.
        await self.store.agenda.announce(Task.REVIEW, partition)
        await self.store.agenda.add(Task.REVIEW, partition, after.next_at)
        change = self.store.states.put(partition, state, after)
        entry = self.journal.entry(
            Action.REVIEW_OPEN, review.id, by=by, tenant=tenant, details={"kind": review.kind.value}
        )
        await self.journal.commit(entry, [self.store.reviews.create(partition, review), change])
        return review

    async def break_glass(self, grant: Grant) -> None:
        """Open the review of a grant that nobody had approved, unless there is one."""
        partition = Partition(OPERATOR)
        drafted = self._drafted(OPERATOR, Kind.BREAK_GLASS, self.runtime.now(), grant.requested_at)
        review = drafted.model_copy(
            update={
                "id": f"rev_{grant.id.partition('_')[2]}",
                "grant": grant.id,
                "of": grant.tenant,
            }
        )
        if await self.store.reviews.find(partition, review.id) is not None:
            return
        await self.store.agenda.announce(Task.REVIEW, partition)
        entry = self.journal.entry(
            Action.REVIEW_OPEN,
            review.id,
            tenant=OPERATOR,
            grant=grant.id,
            details={"kind": review.kind.value, "tenant": grant.tenant},
        )
        await self.journal.commit(entry, [self.store.reviews.create(partition, review)])

    async def gather(self, stored: Stored[Review]) -> Stored[Review]:
        """List the items of a review that was opened; return it as it takes decisions.

        Raises:
            Conflict: Another process does the same.
        """
        review = stored.value
        if review.kind is Kind.BREAK_GLASS:
            grant = (await self.grants.get(review.grant)).value
            await self.store.add(review, [await self._of_grant(grant, {})])
        else:
            if review.tenant == OPERATOR and review.cursor is None:
                await self._add_grants(review)
            stored = await self._add_roles(stored)
        partition = Partition(review.tenant)
        await self.store.agenda.add(Task.REVIEW, partition, review.decide_by)
        await self.store.agenda.add(Task.REVIEW, partition, review.lapse_at)
        return await self.advance(
            stored, stored.value.model_copy(update={"phase": Phase.OPEN, "cursor": None})
        )

    async def advance(self, stored: Stored[Review], review: Review) -> Stored[Review]:
        """Note how far a review is.

        Raises:
            Conflict: Another process did.
        """
        await self.store.records.commit(
            stored.partition, [self.store.reviews.replace(stored, review)]
        )
        return await self.store.get(review.tenant, review.id)

    async def _add_roles(self, stored: Stored[Review]) -> Stored[Review]:
        users = self.assignments.accounts.users
        while True:
            page = await users.page(
                Partition(stored.value.tenant),
                limit=PAGE,
                cursor=stored.value.cursor,
                tolerant=True,
            )
            now = self.runtime.now()
            found = [item for user in page.items for item in role_items(user.value, now)]
            await self.store.add(stored.value, found)
            if page.cursor is None:
                return stored
            stored = await self.advance(
                stored, stored.value.model_copy(update={"cursor": page.cursor})
            )

    async def _add_grants(self, review: Review) -> None:
        first = earliest_id(PREFIX, review.since)
        known: dict[str, User | None] = {}
        for month in await self.grants.months.of(OPERATOR, order="descending"):
            if month < month_of(first):
                return
            cursor: str | None = None
            while True:
                page = await self.grants.grants.page(
                    Partition(OPERATOR, month),
                    limit=PAGE,
                    cursor=cursor,
                    first=first,
                    tolerant=True,
                )
                found = [await self._of_grant(grant.value, known) for grant in page.items]
                await self.store.add(review, found)
                cursor = page.cursor
                if cursor is None:
                    break

    async def _of_grant(self, grant: Grant, known: dict[str, User | None]) -> ReviewItem:
        if grant.requester not in known:
            stored = await self.assignments.accounts.known(OPERATOR, grant.requester)
            known[grant.requester] = None if stored is None else stored.value
        return grant_item(grant, known[grant.requester], self.runtime.now())

    def _drafted(self, tenant: str, kind: Kind, now: datetime, since: datetime) -> Review:
        decide_by = now + self.terms.decide
        return Review(
            id=self.runtime.new_id("rev", now),
            tenant=tenant,
            kind=kind,
            opened_at=now,
            since=since,
            decide_by=decide_by,
            lapse_at=decide_by + self.terms.lapse,
        )
