"""The documents that were there before a target: let wait for it page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.documents.models import Document
from shared.documents.store import DocumentRecords
from shared.targets.models import WaitingCopy
from shared.targets.store import TargetKey, TargetRecords

PAGE: Final = 50
"""Documents in one step."""


@dataclass(slots=True)
class Backfill:
    """Walks over a tenant's documents for a new target, those in the trash included.

    Attributes:
        documents: Lists them.
        store: Keeps how far the walk is, and what waits.
    """

    documents: DocumentRecords
    store: TargetRecords

    async def step(self, target: TargetKey) -> bool:
        """Let the versions of the next documents wait; return whether these were the last.

        It may end anywhere: what it let wait twice is copied once, or the second time for nothing.
        """
        status = await self.store.status(target)
        if status.backfilled:
            return True
        page = await self.documents.all_documents(target.tenant, PAGE, status.backfill)
        for stored in page.items:
            await self._put(target, stored.value)
        walked = {"backfill": page.cursor, "backfilled": page.cursor is None}
        await self.store.update_status(target, lambda status: status.model_copy(update=walked))
        return page.cursor is None

    async def _put(self, target: TargetKey, document: Document) -> None:
        if document.current is None:
            return
        now = self.store.runtime.now()
        copies = [
            WaitingCopy(
                target=target.id, document=document.id, version=number, what="copy", since=now
            )
            for number in range(1, document.current.number + 1)
        ]
        await self.store.put_waiting(target.tenant, copies, at=now)
