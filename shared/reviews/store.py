"""Where reviews lie: their records among the tenant's, the items of each in a partition of its own.

So a review of ten thousand items makes no partition large that others use, and its list costs as much as
a page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.base.errors import Conflict, NotFound
from shared.base.ids import is_id
from shared.base.partitions import Partition
from shared.journal.agenda import Agenda, Task
from shared.journal.collections import Collection, Stored, StoredPage
from shared.keys.sealing import ConfigurationSealer, SealedConfiguration
from shared.ports.records import RecordStore
from shared.reviews.models import (
    ITEM_KIND,
    REPORT_KIND,
    REVIEW_KIND,
    STATE_ID,
    STATE_KIND,
    ItemState,
    ReportPart,
    Review,
    ReviewItem,
    ReviewState,
    Verdict,
)

MISSING: Final = "There is no such review."
MISSING_ITEM: Final = "There is no such item in the review."

BATCH: Final = 90
"""Items in one commit."""


@dataclass(slots=True)
class ReviewRecords:
    """Reads reviews and their items, and makes the changes to them.

    Attributes:
        records: Where they are kept.
        agenda: Says when a timer has to look, and which partitions are in the next backup.
    """

    records: RecordStore
    agenda: Agenda
    reviews: Collection[Review] = field(init=False)
    items: Collection[ReviewItem] = field(init=False)
    states: Collection[ReviewState] = field(init=False)
    parts: Collection[ReportPart] = field(init=False)

    def __post_init__(self) -> None:
        self.reviews = Collection(
            self.records,
            Review,
            REVIEW_KIND,
            lambda review: review.id,
            index_of=lambda review: {"open": "yes"} if review.is_open else {},
            missing=MISSING,
        )
        self.items = Collection(
            self.records,
            ReviewItem,
            ITEM_KIND,
            lambda item: item.id,
            index_of=_index,
            missing=MISSING_ITEM,
        )
        self.states = Collection(self.records, ReviewState, STATE_KIND, lambda _: STATE_ID)
        self.parts = Collection(self.records, ReportPart, REPORT_KIND, lambda part: part.id)

    async def get(self, tenant: str, review: str) -> Stored[Review]:
        """A review of a tenant.

        Raises:
            NotFound: There is none with this id.
        """
        return await self.reviews.get(Partition(tenant), review)

    async def item(self, review: Review, item: str) -> Stored[ReviewItem]:
        """An item of a review.

        Raises:
            NotFound: There is none with this id.
        """
        return await self.items.get(items_of(review), item)

    async def state(self, tenant: str) -> Stored[ReviewState] | None:
        """What is known of a tenant's full reviews; None: it had none."""
        return await self.states.find(Partition(tenant), STATE_ID)

    async def open_reviews(self, tenant: str) -> Sequence[Stored[Review]]:
        """The reviews of a tenant about which something is left to do."""
        found = self.reviews.scan(Partition(tenant), where={"open": "yes"})
        return [stored async for stored in found]

    async def page(
        self, review: Review, state: ItemState | None, *, limit: int, cursor: str | None
    ) -> StoredPage[ReviewItem]:
        """A page of the items of a review, in the order of their ids.

        Raises:
            InvalidInput: The cursor does not belong to this list.
        """
        return await self.items.page(
            items_of(review),
            where=None if state is None else {"state": state.value},
            limit=limit,
            cursor=cursor,
            tolerant=True,
        )

    async def pending(self, review: Review) -> AsyncIterator[Stored[ReviewItem]]:
        """The items about which there is something left to do: to decide, or what follows from that."""
        async for stored in self.items.scan(items_of(review), where={"pending": "yes"}):
            yield stored

    async def has_pending(self, review: Review) -> bool:
        """Whether there is any."""
        page = await self.items.page(items_of(review), where={"pending": "yes"}, limit=1)
        return bool(page.items)

    async def add(self, review: Review, items: Sequence[ReviewItem]) -> None:
        """Make items durable; those that an earlier attempt has written are left."""
        partition = items_of(review)
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            await self._announce_backup(partition)
            try:
                await self.records.commit(
                    partition, [self.items.create(partition, item) for item in batch]
                )
            except Conflict:
                missing = [
                    item for item in batch if await self.items.find(partition, item.id) is None
                ]
                if missing:
                    await self.records.commit(
                        partition, [self.items.create(partition, item) for item in missing]
                    )

    async def settle(self, stored: Stored[ReviewItem], item: ReviewItem) -> None:
        """Change an item where the entry about the change lies with what it changed.

        Raises:
            Conflict: The item was concurrently modified.
        """
        await self._announce_backup(stored.partition)
        await self.records.commit(stored.partition, [self.items.replace(stored, item)])

    async def put_part(self, review: Review, part: ReportPart) -> None:
        """Make a part of a report durable, unless an earlier attempt did."""
        partition = items_of(review)
        if await self.parts.find(partition, part.id) is None:
            await self._announce_backup(partition)
            await self.records.commit(partition, [self.parts.create(partition, part)])

    async def _announce_backup(self, partition: Partition) -> None:
        await self.agenda.announce(Task.BACK_UP, partition)


@dataclass(frozen=True, slots=True)
class ReviewTexts:
    """Seals what people wrote in reviews, and the reports, under the keys of whose review it is.

    Attributes:
        sealer: For things of the kind ``review``.
    """

    sealer: ConfigurationSealer

    async def seal(self, review: Review, name: str, text: str) -> SealedConfiguration:
        """Seal a text.

        Args:
            review: Whose it is.
            name: Bound into the encryption: what in the review has the text.
            text: Any.

        Raises:
            Unavailable: The key vault or the record store does not respond.
        """
        return await self.sealer.seal(review.tenant, _bound(review, name), {"text": text})

    async def open(self, review: Review, name: str, sealed: SealedConfiguration) -> str:
        """The reverse of ``seal``.

        Raises:
            Damaged: It is not what was sealed.
            Unavailable: The key vault or the record store does not respond.
        """
        return str((await self.sealer.open(review.tenant, _bound(review, name), sealed))["text"])

    async def reason(self, review: Review, item: ReviewItem) -> str:
        """Why it was decided so; empty where nobody has, or another review says it.

        Raises:
            Damaged: As for ``open``, and so is the other.
            Unavailable: See ``open``.
        """
        verdict: Verdict | None = item.verdict
        if verdict is None or not verdict.epoch:
            return ""
        return await self.open(review, item.id, SealedConfiguration(verdict.epoch, verdict.sealed))


def items_of(review: Review) -> Partition:
    """The partition of a review's items.

    Raises:
        NotFound: The id is not one of a review.
    """
    if not is_id(review.id, "rev"):
        raise NotFound(MISSING)
    return Partition(review.tenant, f"review-{review.id.partition('_')[2]}")


def _bound(review: Review, name: str) -> str:
    return f"{review.id}-{name.replace('.', '-')}"


def _index(item: ReviewItem) -> dict[str, str]:
    fields = {"state": item.state.value}
    if item.is_pending:
        fields["pending"] = "yes"
    return fields
