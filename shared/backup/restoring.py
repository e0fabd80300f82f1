"""Restoring documents: what a set has and the service lacks is made again, and what is newer is left.

Each step looks at what there is and adds what is missing, so a restore can end anywhere and be repeated,
and never takes anything away. A document that was erased after the set stays erased: its keys are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from shared.access.principal import Principal
from shared.backup.outcomes import Outcome
from shared.backup.plaintext import ContentReader
from shared.backup.snapshot import BackedUpDocument, BackedUpVersion, PartState, Snapshot
from shared.base.errors import Damaged, NotFound
from shared.base.events import EventType, VersionData
from shared.base.partitions import partition_of
from shared.documents.models import Document, Version
from shared.documents.naming import object_name
from shared.documents.sealing import ContentSealer, Incoming
from shared.documents.store import DOCUMENT_KIND, DocumentRecords
from shared.journal.collections import Collection, Stored
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Action, Actor
from shared.journal.journal import Details, Journal
from shared.ports.clock import Runtime
from shared.ports.records import MAX_CHANGES, Change

NO_LIMIT: Final = 1 << 62
"""Content that was accepted once is not measured again."""


@dataclass(slots=True)
class Run:
    """One restore from one set.

    Attributes:
        snapshot: The set.
        by: Who asked for it.
        overwrite: Whether a document that was changed since gets the set's content as a new version.
        outcome: What was done so far.
    """

    snapshot: Snapshot
    by: Principal | Actor
    overwrite: bool = False
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def tenant(self) -> str:
        """Whose set it is."""
        return self.snapshot.manifest.tenant


Step = Literal["create", "follow", "overwrite", "mend", "newer", "erased", "unchanged"]
"""What restoring a document does: makes it again, adds versions that it lacks, adds the set's content as a
new version, puts missing contents back or takes it out of the trash; or leaves it, and why."""


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
class DocumentRestorer:
    """Restores documents.

    Attributes:
        store: Finds and changes documents.
        journal: Commits changes with their audit entries.
        sealer: Seals what becomes a new version; knows the primary store.
        contents: Opens contents of a backup.
        runtime: Time and randomness.
    """

    store: DocumentRecords
    journal: Journal
    sealer: ContentSealer
    contents: ContentReader
    runtime: Runtime
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
            if current.number < newest.version.number:
                lacking = [one for one in found.versions if one.version.number > current.number]
                return Assessment("follow", found, live, lacking)
            if run.overwrite:
                return Assessment("overwrite", found, live, [newest])
            return Assessment("newer", found, live, ())
        missing = [one for one in found.versions if await self._lacks(run, document, one)]
        trashed = live.value.trashed_at is not None and found.document.trashed_at is None
        if missing or trashed:
            return Assessment("mend", found, live, missing)
        return Assessment("unchanged", found, live, ())

    async def restore(self, run: Run, state: PartState, document: str) -> None:
        """Restore one document into the tenant of the set.

        Args:
            run: From which set; learns what was done.
            state: The document's partition in the set.
            document: Its id.

        Raises:
            Unavailable: A store or the key vault does not respond; repeat it.
        """
        run.outcome.documents += 1
        try:
            assessed = await self.assess(run, state, document)
        except Damaged:
            run.outcome.add("damaged", document)
            return
        for number in assessed.found.forgotten:
            run.outcome.add("erased", document, number)
        match assessed.step:
            case "create":
                await self._create(run, assessed.found)
            case "follow":
                await self._follow(run, assessed)
            case "overwrite":
                await self._as_new_version(run, document, assessed.versions[0])
            case "mend":
                await self._mend(run, assessed)
            case "newer" | "erased":
                run.outcome.add(assessed.step, document)
            case "unchanged":
                pass

    async def restore_version(self, run: Run, found: BackedUpDocument, number: int) -> None:
        """Make the content of one version in the set the document's newest version.

        Raises:
            NotFound: The set has no such version, or there is no such document any more.
            Unavailable: A store or the key vault does not respond; repeat it.
        """
        wanted = next((each for each in found.versions if each.version.number == number), None)
        if wanted is None:
            raise NotFound("The set does not have this version of the document.")
        run.outcome.documents += 1
        await self._as_new_version(run, found.document.id, wanted)

    async def _mend(self, run: Run, assessed: Assessment) -> None:
        """Take a document out of the trash, and put contents back that the primary store lacks."""
        document = assessed.found.document
        if document.trashed_at is None:
            await self._recover(run, document.id)
        for each in assessed.versions:
            await self._replace_missing(run, document.id, each)
        run.outcome.restored += 1

    async def _create(self, run: Run, found: BackedUpDocument) -> None:
        """Make a document again that there is no record of."""
        tenant, document = run.tenant, found.document
        partition = partition_of(tenant, document.id)
        await self.store.prepare_month(partition)
        versions = [await self._put(run, document.id, each) for each in found.versions]
        current = versions[-1] if versions else None
        made = document.model_copy(update={"current": current})
        if made.erase_at is not None:
            await self.store.prepare_trash(partition, made.erase_at)
        changes = [
            self.store.create_document(tenant, made),
            *(self.store.create_version(partition, made.id, each) for each in versions[:-1]),
        ]
        await self._commit(run, document.id, changes, versions)
        run.outcome.restored += 1

    async def _follow(self, run: Run, assessed: Assessment) -> None:
        """Add the versions to a document that it lacks."""
        live = assessed.live
        if live is None or live.value.current is None:
            raise ValueError("only a document that exists lacks versions")
        document = live.value.id
        versions = [await self._put(run, document, each) for each in assessed.versions]
        made = live.value.model_copy(update={"current": versions[-1]})
        changes = [
            self.store.replace(live, made),
            *(
                self.store.create_version(live.partition, document, each)
                for each in (live.value.current, *versions[:-1])
            ),
        ]
        await self._commit(run, document, changes, versions)
        run.outcome.restored += 1

    async def _lacks(self, run: Run, document: str, backed_up: BackedUpVersion) -> bool:
        """Whether the primary store has no object of a version that the service knows."""
        number = backed_up.version.number
        try:
            kept = await self.store.kept(run.tenant, document)
            stored = await self.store.version(kept, number)
        except NotFound:
            return False
        if stored.version.tag != backed_up.version.tag:
            return False
        try:
            await self.sealer.primary.head(stored.version.object)
        except NotFound:
            return True
        return False

    async def _replace_missing(self, run: Run, document: str, backed_up: BackedUpVersion) -> None:
        """Put the content of a version back of which the primary store has no object."""
        made = await self._put(run, document, backed_up)

        async def attempt() -> None:
            kept = await self.store.kept(run.tenant, document)
            again = await self.store.version(kept, made.number)
            adopted = again.version.model_copy(update={"object": made.object, "replica": None})
            change = self.store.replace_version(again, adopted)
            await self._commit(run, document, [change], [adopted])

        await retry_conflicts(attempt, self.runtime)

    async def _recover(self, run: Run, document: str) -> None:
        async def attempt() -> None:
            stored = await self.store.kept(run.tenant, document)
            recovered = stored.document.model_copy(update={"trashed_at": None, "erase_at": None})
            change = self.store.replace_document(stored, recovered)
            await self._commit(run, document, [change], [])

        await retry_conflicts(attempt, self.runtime)

    async def _as_new_version(self, run: Run, document: str, backed_up: BackedUpVersion) -> None:
        """Seal a content of the set anew, as the version after the document's newest."""
        tenant = run.tenant
        names = await self.contents.names(tenant, document, backed_up.version)

        async def attempt() -> None:
            stored = await self.store.kept(tenant, document)
            user = run.by.user if isinstance(run.by, Principal) else run.by.id
            sealed = await self.sealer.seal(
                Incoming(
                    tenant,
                    document,
                    stored.current.number + 1,
                    user,
                    names.description(),
                    self.contents.plaintext(run.snapshot, document, backed_up),
                    NO_LIMIT,
                    names.sha256,
                )
            )
            updated = stored.document.model_copy(
                update={"current": sealed.version, "trashed_at": None, "erase_at": None}
            )
            changes = [self.store.supersede(stored), self.store.replace_document(stored, updated)]
            await self._commit(run, document, changes, [sealed.version])

        try:
            await retry_conflicts(attempt, self.runtime)
        except (Damaged, NotFound):
            run.outcome.add("damaged", document, backed_up.version.number)
            return
        run.outcome.restored += 1
        run.outcome.versions += 1
        run.outcome.bytes += backed_up.location.size

    async def _put(self, run: Run, document: str, backed_up: BackedUpVersion) -> Version:
        """Put the content of a version back into the primary store; the version that names it.

        Where the backup's content is damaged or missing, the version is recorded all the same: its names
        can be read, and its content may be found elsewhere.
        """
        now, version = self.runtime.now(), backed_up.version
        name = object_name(run.tenant, document, version.number, now, self.runtime)
        await self.store.prepare_object(partition_of(run.tenant, document), now)
        try:
            await self.sealer.primary.put(name, run.snapshot.sealed(backed_up))
        except Damaged:
            run.outcome.add("damaged", document, version.number)
        except NotFound:
            run.outcome.add("missing", document, version.number)
        else:
            run.outcome.versions += 1
            run.outcome.bytes += backed_up.location.size
        return version.model_copy(update={"object": name, "replica": None})

    async def _commit(
        self, run: Run, document: str, changes: Sequence[Change], versions: Sequence[Version]
    ) -> None:
        """Commit a restored document and announce the versions that have to be replicated."""
        partition = partition_of(run.tenant, document)
        events = [
            self.journal.event(
                EventType.DOCUMENT_SEALED,
                run.tenant,
                document,
                VersionData(version=version.number),
            )
            for version in versions
        ]
        room = MAX_CHANGES - len(changes) - 1
        details: Details = {"set": run.snapshot.manifest.id, "versions": len(versions)}
        entry = self.journal.entry(
            Action.DOCUMENT_RESTORE, document, by=run.by, tenant=run.tenant, details=details
        )
        await self.journal.commit(entry, changes, events[:room])
        for start in range(room, len(events), room):
            await self.journal.announce(partition, events[start : start + room])
