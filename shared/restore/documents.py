"""Restoring documents: what a set has and the service lacks is made again, and what is newer is left.

Each step looks at what there is and adds what is missing, so a restore can end anywhere and be repeated,
and never takes anything away. A document that was erased after the set stays erased: its keys are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.access.principal import Principal
from shared.backup.plaintext import ContentReader
from shared.backup.snapshot import BackedUpDocument, BackedUpVersion, PartState
from shared.base.errors import Damaged, NotFound
from shared.base.events import Event, EventType, VersionData
from shared.base.partitions import partition_of
from shared.documents.models import Document, Version
from shared.documents.naming import object_name
from shared.documents.sealing import ContentSealer, Incoming
from shared.documents.store import DocumentRecords
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Action, Details, Entry
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from shared.ports.records import MAX_CHANGES, Change
from shared.restore.assessing import Assessment, Assessor, Run

NO_LIMIT: Final = 1 << 62
"""Content that was accepted once is not measured again."""


@dataclass(slots=True)
class DocumentRestorer:
    """Restores documents.

    Attributes:
        assessor: Says what there is to do.
        store: Finds and changes documents.
        journal: Commits changes with their audit entries.
        sealer: Seals what becomes a new version; knows the primary store.
        contents: Opens the content of a backup.
        runtime: Time and randomness.
    """

    assessor: Assessor
    store: DocumentRecords
    journal: Journal
    sealer: ContentSealer
    contents: ContentReader
    runtime: Runtime

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
            assessed = await self.assessor.assess(run, state, document)
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
            case "repair":
                await self._repair(run, assessed)
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

    async def _repair(self, run: Run, assessed: Assessment) -> None:
        """Take a document out of the trash, and put back the content that the primary store lacks."""
        document = assessed.found.document
        if document.trashed_at is None:
            await self._recover(run, document.id)
        for each in assessed.versions:
            await self._replace_missing(run, document.id, each)
        run.outcome.restored += 1

    async def _create(self, run: Run, found: BackedUpDocument) -> None:
        """Make a document again that there is no record of."""
        document = found.document
        versions = [await self._put(run, document.id, each) for each in found.versions]
        changes = await self.changes_to_create(run, document, versions)
        await self.commit(run, document.id, changes, versions)
        run.outcome.restored += 1

    async def changes_to_create(
        self, run: Run, document: Document, versions: Sequence[Version]
    ) -> list[Change]:
        """The changes that make a document with these versions, the newest last, where the run goes.

        Lists and the timer of the trash will find it.

        Raises:
            Unavailable: The record store does not respond.
        """
        partition = partition_of(run.target, document.id)
        await self.store.months.prepare(partition)
        made = document.model_copy(update={"current": versions[-1] if versions else None})
        if made.erase_at is not None:
            await self.store.prepare_trash(partition, made.erase_at)
        return [
            self.store.create_document(run.target, made),
            *(self.store.create_version(partition, made.id, each) for each in versions[:-1]),
        ]

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
        await self.commit(run, document, changes, versions)
        run.outcome.restored += 1

    async def _replace_missing(self, run: Run, document: str, backed_up: BackedUpVersion) -> None:
        """Put the content of a version back of which the primary store has no object."""
        made = await self._put(run, document, backed_up)

        async def attempt() -> None:
            kept = await self.store.kept(run.tenant, document)
            again = await self.store.version(kept, made.number)
            adopted = again.version.model_copy(update={"object": made.object, "replica": None})
            change = self.store.replace_version(again, adopted)
            await self.commit(run, document, [change], [adopted])

        await retry_conflicts(attempt, self.runtime)

    async def _recover(self, run: Run, document: str) -> None:
        async def attempt() -> None:
            stored = await self.store.kept(run.tenant, document)
            recovered = stored.document.model_copy(update={"trashed_at": None, "erase_at": None})
            change = self.store.replace_document(stored, recovered)
            await self.commit(run, document, [change], [])

        await retry_conflicts(attempt, self.runtime)

    async def _as_new_version(self, run: Run, document: str, backed_up: BackedUpVersion) -> None:
        """Seal content of the set anew, as the version after the document's newest."""
        tenant = run.tenant
        names = await self.contents.names(tenant, document, backed_up.version)

        async def attempt() -> bool:
            stored = await self.store.kept(tenant, document)
            same = await self.contents.names(tenant, document, stored.current) == names
            if same and stored.document.trashed_at is None:
                return False  # the same content, by an attempt that ended before it could say so
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
            await self.commit(run, document, changes, [sealed.version])
            return True

        try:
            made = await retry_conflicts(attempt, self.runtime)
        except (Damaged, NotFound):
            run.outcome.add("damaged", document, backed_up.version.number)
            return
        if not made:
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

    async def commit(
        self, run: Run, document: str, changes: Sequence[Change], versions: Sequence[Version]
    ) -> None:
        """Commit a restored document and announce the versions that have to be replicated.

        Raises:
            Conflict: The document was changed since it was read.
            Unavailable: The record store does not respond.
        """
        partition = partition_of(run.target, document)
        events = self.events(run, document, versions)
        room = MAX_CHANGES - len(changes) - 1
        entry = self.entry(run, document, versions)
        await self.journal.commit(entry, changes, events[:room])
        for start in range(room, len(events), room):
            await self.journal.announce(partition, events[start : start + room])

    def events(self, run: Run, document: str, versions: Sequence[Version]) -> list[Event]:
        """The events that have restored versions replicated."""
        return [
            self.journal.event(
                EventType.DOCUMENT_SEALED,
                run.target,
                document,
                VersionData(version=version.number),
            )
            for version in versions
        ]

    def entry(self, run: Run, document: str, versions: Sequence[Version]) -> Entry:
        """The audit entry of a restored document."""
        details: Details = {"set": run.snapshot.manifest.id, "versions": len(versions)}
        return self.journal.entry(
            Action.DOCUMENT_RESTORE, document, by=run.by, tenant=run.target, details=details
        )
