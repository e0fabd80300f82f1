"""The timer of reviews: opens them, suspends and revokes what nobody decided about, and finishes them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.base.errors import StrongroomError
from shared.base.partitions import OPERATOR, Partition
from shared.journal.agenda import AgendaItem, Task
from shared.journal.collections import Stored
from shared.ports.clock import Runtime
from shared.reviews.finishing import Reports
from shared.reviews.models import ItemState, Kind, Phase, Review, ReviewItem
from shared.reviews.opening import Opening
from shared.reviews.schedule import ReviewSchedule
from shared.reviews.settling import Settling

WARN_EVERY: Final = timedelta(days=1)
"""While a grant that nobody had approved waits for its review."""

_log = logging.getLogger("strongroom.reviews")


@dataclass(slots=True)
class ReviewTimer:
    """Works on what the agenda says. It can end at any moment; the next run goes on.

    Attributes:
        opening: Opens reviews.
        settling: Lets items take effect.
        reports: Finish reviews.
        schedule: Knows when the first review of a tenant is due.
        runtime: Time.
    """

    opening: Opening
    settling: Settling
    reports: Reports
    schedule: ReviewSchedule
    runtime: Runtime

    async def run(self) -> None:
        """Look at the tenants that are due. One for which something fails stays on the agenda."""
        await self.schedule.begin()
        await self._each(Task.REVIEW_GRANTS, self._open_for_grants)
        await self._each(Task.REVIEW, self._look_at)

    async def _each(self, task: Task, work: Callable[[Partition], Awaitable[None]]) -> None:
        items: dict[str, list[Stored[AgendaItem]]] = {}
        async for item in self.schedule.agenda.due(task):
            items.setdefault(item.value.partition, []).append(item)
        for partition, due in items.items():
            try:
                await work(Partition.parse(partition))
            except StrongroomError as error:
                _log.error("reviews.failed %s: %s", partition, error.slug)
            else:
                await self.schedule.agenda.remove(task, due)

    async def _open_for_grants(self, month: Partition) -> None:
        grants = self.opening.grants.grants
        found = [stored async for stored in grants.scan(month, where={"unreviewed": "yes"})]
        for stored in found:
            await self.opening.break_glass(stored.value)

    async def _look_at(self, partition: Partition) -> None:
        tenant = partition.tenant
        for stored in await self.opening.store.open_reviews(tenant):
            await self._work_on(stored)
        state = await self.opening.store.state(tenant)
        due = state.value.next_at if state is not None else await self.schedule.first(tenant)
        if due is None or (state is not None and state.value.current):
            return  # no such tenant was made; or the end of this review puts the next one on the agenda
        if self.runtime.now() < due:
            await self.schedule.agenda.add(Task.REVIEW, partition, due)
            return
        review = await self.opening.full(tenant)
        await self._work_on(await self.opening.store.get(tenant, review.id))

    async def _work_on(self, stored: Stored[Review]) -> None:
        store, now = self.opening.store, self.runtime.now()
        if stored.value.phase is Phase.GATHERING:
            stored = await self.opening.gather(stored)
        if stored.value.phase is Phase.OPEN:
            await self._apply_what_is_left(stored.value)
            if stored.value.kind is Kind.BREAK_GLASS:
                stored = await self._look_at_grant(stored)
            else:
                if now >= stored.value.decide_by and not stored.value.suspended:
                    stored = await self._suspend(stored)
                if now >= stored.value.lapse_at:
                    await self._lapse(stored.value)
            if await store.has_pending(stored.value):
                return
        await self.reports.finish(stored)

    async def _suspend(self, stored: Stored[Review]) -> Stored[Review]:
        review, overdue = stored.value, 0
        for item in await self._undecided(review):
            overdue += not await self.settling.suspend(review, item)
        self._warn(review, overdue)
        # Who is late with this gives no less time for it.
        lapse_at = max(review.lapse_at, self.runtime.now() + self.opening.terms.lapse)
        await self.schedule.agenda.add(Task.REVIEW, stored.partition, lapse_at)
        return await self.opening.advance(
            stored, review.model_copy(update={"suspended": True, "lapse_at": lapse_at})
        )

    async def _lapse(self, review: Review) -> None:
        overdue = 0
        for item in await self._undecided(review):
            overdue += not await self.settling.lapse(review, item)
        self._warn(review, overdue)
        await self._apply_what_is_left(review)

    async def _look_at_grant(self, stored: Stored[Review]) -> Stored[Review]:
        """A review of one grant ends with a decision alone, in it or in a full one."""
        review, now = stored.value, self.runtime.now()
        grant = (await self.opening.grants.get(review.grant)).value
        pending = [item async for item in self.opening.store.pending(review)]
        if grant.review is not None:
            for item in pending:
                # It was decided about in a full review, whose report says how and why.
                decided = {"state": ItemState.OBSOLETE, "settled_at": grant.review.at}
                await self.opening.store.settle(item, item.value.model_copy(update=decided))
            return stored
        warned = review.warned_at or review.decide_by - WARN_EVERY
        if not pending or now < warned + WARN_EVERY:
            return stored
        self._warn(review, len(pending))
        partition = Partition(OPERATOR)
        await self.schedule.agenda.add(Task.REVIEW, partition, now + WARN_EVERY)
        return await self.opening.advance(stored, review.model_copy(update={"warned_at": now}))

    async def _apply_what_is_left(self, review: Review) -> None:
        async for item in self.opening.store.pending(review):
            if not item.value.applied:
                await self.settling.apply(review, item.value.id)

    async def _undecided(self, review: Review) -> list[str]:
        found: list[ReviewItem] = [item.value async for item in self.opening.store.pending(review)]
        return [item.id for item in found if item.is_undecided]

    def _warn(self, review: Review, overdue: int) -> None:
        if overdue:
            # The operators' alert looks for this line.
            _log.error("reviews.overdue %s of %s: %d items", review.id, review.tenant, overdue)
