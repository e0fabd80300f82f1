"""What happens to documents, noted for each target of the tenant; the timer does the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from shared.base.concurrency import SharedReading
from shared.base.events import Event, VersionData
from shared.base.recent_ids import RecentIds
from shared.journal.collections import StoredPage
from shared.targets.models import Target, WaitingCopy
from shared.targets.store import TargetKey, TargetRecords

QUEUED_KNOWN: Final = 20_000
"""Events that a process remembers."""


@dataclass(slots=True)
class TargetQueue:
    """Lets copies and erasures wait. A tenant without targets costs one read, or a part of one.

    An event that comes to a process again, as the second region was down, is not copied again.

    Attributes:
        store: Finds the targets, and keeps what waits.
    """

    store: TargetRecords
    _targets: SharedReading[str, StoredPage[Target]] = field(init=False)
    _queued: RecentIds = field(init=False)

    def __post_init__(self) -> None:
        self._targets = SharedReading(self.store.of_tenant)
        self._queued = RecentIds(QUEUED_KNOWN)

    async def copy(self, event: Event) -> None:
        """Let a version wait for each target; the effect of ``document.sealed``.

        Raises:
            Unavailable: The record store does not respond; try again.
        """
        await self._put(event, "copy", event.data_as(VersionData).version)

    async def erase(self, event: Event) -> None:
        """Let a document wait to be erased at each target; the effect of ``document.deleted``.

        Raises:
            Unavailable: The record store does not respond; try again.
        """
        await self._put(event, "erase", 0)

    async def look_again(self, tenant: str) -> None:
        """Put whatever may wait for a tenant's targets on the agenda: after its records were restored.

        Raises:
            Unavailable: The record store does not respond; try again.
        """
        for target in (await self.store.of_tenant(tenant)).items:
            await self.store.prepare(TargetKey(tenant, target.value.id))

    async def _put(self, event: Event, what: Literal["copy", "erase"], version: int) -> None:
        if event.id in self._queued:
            return
        # One reading for the events of a tenant that wait for it: each begins after they came.
        targets = (await self._targets.get(event.tenant)).items
        copies = [
            WaitingCopy(
                target=target.value.id,
                document=event.subject,
                version=version,
                what=what,
                since=event.time,
            )
            for target in targets
        ]
        await self.store.put_waiting(event.tenant, copies)
        self._queued.add(event.id)
