"""Recording: a sealed content gets its record, its audit entry and its event, or is taken back."""

from __future__ import annotations

from collections.abc import Sequence

from shared.audit.models import Entry
from shared.documents.models import Version
from shared.events import EventType
from shared.journal import Journal
from shared.ports.blobs import BlobStore
from shared.ports.records import Change


class Recorder:
    """Commits sealed contents.

    Args:
        journal: Commits changes with their audit entries.
        vault: Takes back what was sealed in vain.
    """

    def __init__(self, journal: Journal, vault: BlobStore) -> None:
        self._journal = journal
        self._vault = vault

    async def record(
        self,
        entry: Entry,
        version: Version,
        changes: Sequence[Change],
        traceparent: str | None,
    ) -> None:
        """Commit a sealed version and announce it.

        Args:
            entry: About the document that the version belongs to.
            version: What was sealed.
            changes: That make it the document's.
            traceparent: Of the request that brought it.

        Raises:
            Conflict: The state has moved on and nothing was recorded; try otherwise or take it back.
        """
        event = self._journal.event(
            EventType.DOCUMENT_SEALED,
            entry.tenant,
            entry.resource,
            {"version": version.number},
            traceparent,
        )
        await self._journal.commit(entry, changes, [event])

    async def take_back(self, version: Version) -> None:
        """Remove the object of a version that was not recorded and will not be."""
        await self._vault.delete(version.object)
