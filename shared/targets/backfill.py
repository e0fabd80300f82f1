"""The documents that were there before a target: let wait for it page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.base.partitions import month_of
from shared.documents.store import DocumentRecords
from shared.targets.models import WaitingCopy
from shared.targets.store import Backlog, TargetKey, TargetRecords

PAGE: Final = 50
"""Documents in one step."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a step did.

    Attributes:
        last: Whether there are no more documents.
        backlogs: Where copies wait now.
    """

    last: bool
    backlogs: Sequence[Backlog]


@dataclass(slots=True)
class Backfill:
    """Walks over a tenant's documents for a new target, those in the trash included.

    Attributes:
        documents: Lists them.
        store: Keeps how far the walk is, and what waits.
    """

    documents: DocumentRecords
    store: TargetRecords

    async def step(self, target: TargetKey) -> Step:
        """Let the versions of the next documents wait.

        It may end anywhere: what is let wait again while it waits is copied once.
        """
        status = await self.store.status(target)
        if status.backfilled:
            return Step(True, ())
        page = await self.documents.all_documents(target.tenant, PAGE, status.backfill)
        found = [(each.value.id, each.value.current) for each in page.items]
        latest = {document: version.number for document, version in found if version is not None}
        for document, number in latest.items():
            await self._put(target, document, number)
        last = page.cursor is None
        walked = {"backfill": page.cursor, "backfilled": last}
        await self.store.update_status(target, lambda status: status.model_copy(update=walked))
        months = dict.fromkeys(month_of(document) for document in latest)
        return Step(last, [Backlog(target, month) for month in months])

    async def _put(self, target: TargetKey, document: str, latest: int) -> None:
        since = self.store.runtime.now()
        copies = [
            WaitingCopy(
                target=target.id, document=document, version=number, what="copy", since=since
            )
            for number in range(1, latest + 1)
        ]
        await self.store.put_waiting(target.tenant, copies)
