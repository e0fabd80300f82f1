"""What restoring a document would do: compared with what there is, before anything is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from shared.access.principal import Principal
from shared.backup.snapshot import BackedUpDocument, BackedUpVersion, PartState, Snapshot
from shared.base.errors import NotFound
from shared.base.partitions import partition_of
from shared.documents.models import Document, Version
from shared.documents.store import DOCUMENT_KIND, DocumentRecords
from shared.journal.collections import Collection, Stored
from shared.journal.entries import Actor
from shared.ports.blobs import BlobStore
from shared.restore.outcomes import Outcome


@dataclass(slots=True)
class Run:
    """One restore from one set.

    Attributes:
        snapshot: The set.
        by: Who asked for it.
        overwrite: Whether a document that was changed since gets the set's content as a new version.
        whole: Whether all of the service is restored, the targets of tenants included.
        into: The id of another tenant that gets everything, sealed anew; empty: the set's own.
        outcome: What was done so far.
    """

    snapshot: Snapshot
    by: Principal | Actor
    overwrite: bool = False
    whole: bool = False
    into: str = ""
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def tenant(self) -> str:
        """Whose set it is."""
        return self.snapshot.manifest.tenant

    @property
    def target(self) -> str:
        """The tenant into which it goes."""
        return self.into or self.tenant


Step = Literal["create", "follow", "overwrite", "repair", "newer", "erased", "unchanged"]
"""What restoring a document does: makes it again, adds versions that it lacks, adds the set's content as a
new version, puts missing content back or takes it out of the trash; or leaves it, and why."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What restoring a document would do.

    Attributes:
        step: What.
        found: The document in the set.
        live: The document as it is; None: there is none.
        versions: Whose content would be put back.
    """

    step: Step
    found: BackedUpDocument
    live: Stored[Document] | None
    versions: Sequence[BackedUpVersion]


@dataclass(slots=True)
class Assessor:
    """Compares documents of a set with those of the service.

    Attributes:
        store: Finds documents.
        primary: Sealed objects.
    """

    store: DocumentRecords
    primary: BlobStore
    _documents: Collection[Document] = field(init=False)

    def __post_init__(self) -> None:
        self._documents = Collection(self.store.records, Document, DOCUMENT_KIND)

    async def assess(self, run: Run, state: PartState, document: str) -> Assessment:
        """What restoring one document would do; nothing is changed.

        Raises:
            Damaged: The set's records of it are not what was written.
            NotFound: The set has no such document.
            Unavailable: A store does not respond.
        """
        found = await run.snapshot.document(state, document)
        live = await self._documents.find(partition_of(run.tenant, document), document)
        if live is None:
            return Assessment("create", found, live, found.versions)
        current = live.value.current
        if current is None:
            return Assessment("erased" if found.versions else "unchanged", found, live, ())
        if not found.versions:
            return Assessment("unchanged", found, live, ())
        newest = found.versions[-1]
        if (current.number, current.tag) != (newest.version.number, newest.version.tag):
            if _continues(found, current):
                lacking = [one for one in found.versions if one.version.number > current.number]
                return Assessment("follow", found, live, lacking)
            if run.overwrite:
                return Assessment("overwrite", found, live, [newest])
            return Assessment("newer", found, live, ())
        missing = [one for one in found.versions if await self._lacks(run, document, one)]
        trashed = live.value.trashed_at is not None and found.document.trashed_at is None
        if missing or trashed:
            return Assessment("repair", found, live, missing)
        return Assessment("unchanged", found, live, ())

    async def _lacks(self, run: Run, document: str, backed_up: BackedUpVersion) -> bool:
        """Whether the primary store has no object of a version that the service knows."""
        number = backed_up.version.number
        stored = await self.store.find_version(run.tenant, document, number)
        if stored is None or stored.version.tag != backed_up.version.tag:
            return False
        try:
            await self.primary.head(stored.version.object)
        except NotFound:
            return True
        return False


def _continues(found: BackedUpDocument, current: Version) -> bool:
    """Whether a document in the set is what came after a version, and not another history of it."""
    tags = {each.version.number: each.version.tag for each in found.versions}
    return current.number < max(tags) and tags.get(current.number) == current.tag
