"""Recording: a sealed content gets its record, its audit entry and its event, or is taken back."""

from __future__ import annotations

from collections.abc import Sequence

from shared.base.events import EventType
from shared.documents.models import Version
from shared.journal.entries import Entry
from shared.journal.journal import Journal
from shared.ports.blobs import BlobStore
from shared.ports.records import Change


class Recorder:
    """Commits sealed contents.

    Args:
        journal: Commits changes with their audit entries.
        primary: Takes back what was sealed in vain.
    """

    def __init__(self, journal: Journal, primary: BlobStore) -> None:
        self._journal = journal
        self._primary = primary

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

    async def discard(self, version: Version) -> None:
        """Remove the object of a version that was not recorded and will not be."""
        await self._primary.delete(version.object)
