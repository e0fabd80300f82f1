"""Reviews, for who decides: the officer about employees and grants, administrators about their users."""

from __future__ import annotations

from dataclasses import dataclass

from shared.access.principal import Principal
from shared.base.errors import Conflict, PreconditionFailed
from shared.base.listing import Listing
from shared.base.partitions import Partition
from shared.identity.models import User
from shared.journal.agenda import Task
from shared.journal.collections import Stored
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from shared.reviews.finishing import Reports
from shared.reviews.models import Choice, ItemState, Review, ReviewItem, Verdict
from shared.reviews.opening import Opening
from shared.reviews.rules import check_open, check_reviewer
from shared.reviews.settling import Settling
from shared.reviews.store import ReviewRecords, ReviewTexts, items_of


@dataclass(frozen=True, slots=True)
class DescribedItem:
    """An item, its entity tag, and why it was decided so."""

    item: ReviewItem
    etag: str
    reason: str


@dataclass(frozen=True, slots=True)
class DescribedReview:
    """A review, and the public key that checks its report; empty before there is one."""

    review: Review
    public_key: str


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A report as it is downloaded, and the review that it is of."""

    content: bytes
    review: Review


@dataclass(slots=True)
class Reviews:
    """Lists reviews and takes decisions; all of the caller's own tenant.

    Attributes:
        store: Where they lie.
        texts: Seals reasons.
        opening: Opens them.
        settling: Lets decisions take effect.
        reports: Have what came of them.
        journal: Commits decisions with their entries.
        runtime: Time.
    """

    store: ReviewRecords
    texts: ReviewTexts
    opening: Opening
    settling: Settling
    reports: Reports
    journal: Journal
    runtime: Runtime

    async def open(self, principal: Principal) -> DescribedReview:
        """Open a review now; the timer lists its items within minutes.

        Raises:
            Conflict: One is under way; the error names it.
        """
        return DescribedReview(await self.opening.full(principal.tenant, principal), "")

    async def page(
        self, principal: Principal, *, limit: int, cursor: str | None
    ) -> Listing[DescribedReview]:
        """A page of reviews, the newest first.

        Raises:
            InvalidInput: The cursor does not belong to this list.
        """
        page = await self.store.reviews.page(
            Partition(principal.tenant),
            order="descending",
            limit=limit,
            cursor=cursor,
            tolerant=True,
        )
        await self.journal.commit(self.journal.entry(Action.REVIEW_LIST, by=principal))
        found = [await self._described(stored.value) for stored in page.items]
        return Listing(found, page.cursor, page.damaged)

    async def read(self, principal: Principal, review: str) -> DescribedReview:
        """A review.

        Raises:
            NotFound: There is no such review of the caller's tenant.
        """
        found = (await self.store.get(principal.tenant, review)).value
        await self.journal.commit(self.journal.entry(Action.REVIEW_READ, review, by=principal))
        return await self._described(found)

    async def items(
        self,
        principal: Principal,
        review: str,
        state: ItemState | None,
        *,
        limit: int,
        cursor: str | None,
    ) -> Listing[DescribedItem]:
        """A page of the items of a review; what it costs does not depend on how many there are.

        Args:
            principal: Who asks.
            review: The id.
            state: Those in this state alone; None: all.
            limit: How many at most.
            cursor: From the page before.

        Raises:
            InvalidInput: The cursor does not belong to this list.
            NotFound: There is no such review of the caller's tenant.
        """
        found = (await self.store.get(principal.tenant, review)).value
        page = await self.store.page(found, state, limit=limit, cursor=cursor)
        await self.journal.commit(self.journal.entry(Action.REVIEW_READ, review, by=principal))
        items = [await self._explained(found, stored) for stored in page.items]
        return Listing(items, page.cursor, page.damaged)

    async def decide(
        self,
        principal: Principal,
        review: str,
        item: str,
        choice: Choice,
        reason: str,
        if_match: str | None,
    ) -> DescribedItem:
        """Confirm or revoke what an item is about; a revoked role ends the user's tokens at once.

        Repeating a decision of one's own does what a request that was interrupted left.

        Raises:
            Conflict: It was decided already, the review takes no decisions, nobody else could do what the
                user would lose, or what is to be confirmed is still going on.
            Forbidden: It is about the caller, under whichever account.
            NotFound: There is no such review of the caller's tenant, or no such item.
            PreconditionFailed: The item's etag is not ``if_match``.
        """
        found = (await self.store.get(principal.tenant, review)).value
        stored = await self.store.item(found, item)
        if not self._is_repeated(stored.value, principal, choice):
            check_open(found)
            if if_match is not None and if_match != stored.etag:
                raise PreconditionFailed("The item was changed since you read it; read it again.")
            if not stored.value.is_undecided:
                raise Conflict(f"There is nothing to decide: the item is {stored.value.state}.")
            await self._check_reviewer(principal, stored.value)
            if choice is Choice.REVOKE:
                await self.settling.check_revocable(found, stored.value)
            elif stored.value.break_glass:
                await self.settling.check_over(stored.value)
            await self._commit(principal, found, stored, choice, reason)
        await self.settling.apply(found, item, principal)
        if not await self.store.has_pending(found):
            # The timer finishes the review soon.
            await self.store.agenda.add(Task.REVIEW, Partition(found.tenant), self.runtime.now())
        return await self._explained(found, await self.store.item(found, item))

    async def report(self, principal: Principal, review: str, form: str) -> Downloaded:
        """The report of a finished review.

        Args:
            principal: Who asks.
            review: The id.
            form: ``json``: as it was signed; ``jws``: with the signature; ``pdf``: for people.

        Raises:
            Conflict: The review is not finished.
            Damaged: The report is not what was signed.
            NotFound: There is no such review of the caller's tenant.
        """
        found = (await self.store.get(principal.tenant, review)).value
        read = self.reports.jws if form == "jws" else self.reports.read
        content = await read(found)
        entry = self.journal.entry(
            Action.REVIEW_REPORT, review, by=principal, details={"form": form}
        )
        await self.journal.commit(entry)
        return Downloaded(content, found)

    async def _commit(
        self,
        principal: Principal,
        review: Review,
        stored: Stored[ReviewItem],
        choice: Choice,
        reason: str,
    ) -> None:
        item = stored.value
        sealed = await self.texts.seal(review, item.id, reason)
        verdict = Verdict(
            choice=choice,
            by=principal.user,
            at=self.runtime.now(),
            epoch=sealed.epoch,
            sealed=sealed.sealed,
        )
        # An open role that is confirmed stays as it is; all else has to be done.
        applied = (
            item.role is not None and choice is Choice.CONFIRM and item.state is ItemState.OPEN
        )
        decided = item.model_copy(
            update={"state": ItemState.DECIDED, "verdict": verdict, "applied": applied}
        )
        entry = self.journal.entry(
            Action.REVIEW_DECIDE,
            review.id,
            by=principal,
            grant="" if item.role else item.id,
            details={
                "item": item.id,
                "user": item.user,
                "decision": choice.value,
                **({"role": item.role.value} if item.role else {"tenant": item.of}),
            },
        )
        if not applied:
            # Whoever is killed after the commit: the timer does what is left.
            await self.store.agenda.announce(Task.REVIEW, Partition(review.tenant))
        await principal.confirm()
        await self.journal.commit(
            entry, [self.store.items.replace(stored, decided)], partition=items_of(review)
        )

    async def _check_reviewer(self, principal: Principal, item: ReviewItem) -> None:
        accounts = self.opening.assignments.accounts
        reviewer = (await accounts.load(principal.tenant, principal.user)).value
        subject: User | None = None
        stored = await self.opening.assignments.accounts.known(principal.tenant, item.user)
        if stored is not None:
            subject = stored.value
        check_reviewer(item, reviewer, subject)

    def _is_repeated(self, item: ReviewItem, principal: Principal, choice: Choice) -> bool:
        verdict = item.verdict
        return verdict is not None and (verdict.by, verdict.choice) == (principal.user, choice)

    async def _described(self, review: Review) -> DescribedReview:
        return DescribedReview(review, await self.reports.public_key(review))

    async def _explained(self, review: Review, stored: Stored[ReviewItem]) -> DescribedItem:
        reason = await self.texts.reason(review, stored.value)
        return DescribedItem(stored.value, stored.etag, reason)
