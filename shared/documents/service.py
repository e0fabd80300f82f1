"""Documents: direct uploads and new versions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from shared.access.principal import Principal
from shared.base.buffers import Buffer
from shared.base.errors import Conflict, NotFound, PreconditionFailed, Unauthenticated
from shared.base.events import EventType, VersionData
from shared.base.partitions import partition_of
from shared.documents.models import Description, Document, Version
from shared.documents.reading import DocumentReader, DocumentVersion, content_etag
from shared.documents.sealing import ContentSealer, Incoming, Sealed
from shared.documents.store import DocumentRecords, StoredDocument
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Action, Details, Entry
from shared.journal.idempotency import Idempotency, IdempotencyKey, Outcome
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from shared.ports.records import Change

# So that erasing a document with all of its versions fits into one commit.
MAX_VERSIONS: Final = 90

_CHANGED: Final = "The document was changed while the content arrived; read it and try again."


@dataclass(slots=True)
class Documents:
    """Adds to the documents of the tenants.

    Attributes:
        store: Finds and changes the records.
        journal: Commits changes with their audit entries.
        sealer: Seals content into the primary store.
        reader: Reads what a repeated request has made before.
        idempotency: Remembers outcomes of POSTs.
        runtime: Time and randomness.
        max_bytes: The largest content of a direct upload.
    """

    store: DocumentRecords
    journal: Journal
    sealer: ContentSealer
    reader: DocumentReader
    idempotency: Idempotency
    runtime: Runtime
    max_bytes: int

    async def create(
        self,
        principal: Principal,
        description: Description,
        content: AsyncIterator[Buffer],
        sha256: bytes | None,
        key: IdempotencyKey | None,
    ) -> DocumentVersion:
        """Seal a content on arrival as a new document; durable, audited and announced on return.

        A repeated request returns what the first one did; it can be described, and not opened.

        Raises:
            DigestMismatch: The content is not what ``sha256`` says; nothing was kept.
            IdempotencyKeyReused: The key belongs to another request; nothing was kept.
            TokenRevoked: The user may no longer act, now that the content is there; nothing was kept.
            TooLarge: It is larger than allowed; nothing was kept.
        """
        tenant = principal.tenant
        document_id = await self.idempotency.reserve(key, self.runtime.new_id("doc"))
        partition = partition_of(tenant, document_id)
        await self.store.months.prepare(partition)
        sealed = await self.sealer.seal(
            self._incoming(principal, document_id, 1, description, content, sha256)
        )
        version = sealed.version
        document = Document(id=document_id, created_at=version.created_at, current=version)
        # A fingerprint that holds the content's hash is known only now, so repeated content is sealed in
        # vain; the commit finds out, and the object is discarded.
        request = {} if key is None else sealed.names.model_dump(mode="json")
        try:
            await principal.confirm()
            await self._record(
                self._entry(Action.DOCUMENT_CREATE, principal, document_id, version),
                version,
                [
                    self.store.create_document(tenant, document),
                    *self.idempotency.remember(
                        key, request, document_id, partition, _facts(version)
                    ),
                ],
                principal,
            )
        except Unauthenticated:
            await self.sealer.discard(version)
            raise
        except Conflict:
            await self.sealer.discard(version)
            outcome = await self.idempotency.outcome(key, request, partition)
            if outcome is None:
                raise
            found = await self._as_created(principal, outcome, sealed)
            await self.reader.record_read(principal, found)
            return found
        return DocumentVersion(document, version, sealed.names)

    async def update(
        self,
        principal: Principal,
        document: str,
        if_match: str,
        description: Description,
        content: AsyncIterator[Buffer],
        sha256: bytes | None,
    ) -> DocumentVersion:
        """Seal a content as a new version of a document; earlier versions stay.

        Raises:
            Conflict: The document has all the versions that it can have.
            DigestMismatch: The content is not what ``sha256`` says; nothing was kept.
            NotFound: There is no such document.
            PreconditionFailed: The current version's etag is not ``if_match``.
            TokenRevoked: The user may no longer act, now that the content is there; nothing was kept.
            TooLarge: It is larger than allowed; nothing was kept.
            Unavailable: A store does not respond, or the document was concurrently modified all the time.
        """
        stored = await self.store.document(principal.tenant, document)
        if if_match != content_etag(document, stored.current):
            raise PreconditionFailed("The document has another version now; read it first.")
        number = stored.current.number + 1
        if number > MAX_VERSIONS:
            raise Conflict(
                f"A document has at most {MAX_VERSIONS} versions; upload a new document."
            )
        sealed = await self.sealer.seal(
            self._incoming(principal, document, number, description, content, sha256)
        )
        version = sealed.version
        try:
            updated = await self._follow(principal, stored, version)
        except (NotFound, PreconditionFailed):
            await self.sealer.discard(version)
            raise PreconditionFailed(_CHANGED) from None
        except Unauthenticated:
            await self.sealer.discard(version)
            raise
        # After any other error the record may name the object all the same: it is left to the sweep.
        return DocumentVersion(updated, version, sealed.names)

    async def _as_created(
        self, principal: Principal, outcome: Outcome, repeated: Sealed
    ) -> DocumentVersion:
        """The document as the first request under a key made it, whatever has become of it.

        Raises:
            NotFound: It was erased, and a release before 0.2 made it.
        """
        found = await self.store.find_version(principal.tenant, outcome.made, 1)
        if found is not None:
            version = found.version.model_copy(update={"replica": None})
        elif outcome.facts:
            # It was erased, names and all; the request says them again.
            version = Version.model_validate(repeated.version.model_dump() | outcome.facts)
        else:
            raise NotFound("The document of this Idempotency-Key was erased.")
        document = Document(id=outcome.made, created_at=version.created_at, current=version)
        return DocumentVersion(document, version, repeated.names)

    async def _follow(
        self, principal: Principal, stored: StoredDocument, version: Version
    ) -> Document:
        """Make a sealed version the document's current one, if the one that it follows still is.

        Raises:
            NotFound: The document was deleted.
            PreconditionFailed: Another version was committed first.
            TokenRevoked: The user may no longer act.
            Unavailable: The document was concurrently modified all the time.
        """
        document = stored.document.id
        entry = self._entry(Action.DOCUMENT_UPDATE, principal, document, version)
        followed = content_etag(document, stored.current)

        async def attempt() -> Document:
            await principal.confirm()
            # Replication changes a document's record as well, to name a replica.
            found = await self.store.document(principal.tenant, document)
            if content_etag(document, found.current) != followed:
                raise PreconditionFailed(_CHANGED)
            updated = found.document.model_copy(update={"current": version})
            changes = [self.store.supersede(found), self.store.replace_document(found, updated)]
            await self._record(entry, version, changes, principal)
            return updated

        return await retry_conflicts(attempt, self.runtime)

    async def _record(
        self, entry: Entry, version: Version, changes: Sequence[Change], principal: Principal
    ) -> None:
        """Commit a sealed version and announce it."""
        event = self.journal.event(
            EventType.DOCUMENT_SEALED,
            entry.tenant,
            entry.resource,
            VersionData(version=version.number),
            principal.origin.traceparent,
        )
        await self.journal.commit(entry, changes, [event])

    def _entry(
        self, action: Action, principal: Principal, document: str, version: Version
    ) -> Entry:
        details: Details = {"version": version.number, "size": version.size}
        return self.journal.entry(action, document, by=principal, details=details)

    def _incoming(
        self,
        principal: Principal,
        document: str,
        number: int,
        description: Description,
        content: AsyncIterator[Buffer],
        sha256: bytes | None,
    ) -> Incoming:
        return Incoming(
            principal.tenant,
            document,
            number,
            principal.user,
            description,
            content,
            self.max_bytes,
            sha256,
        )


def _facts(version: Version) -> dict[str, str]:
    """What a response says of a new document and its request does not."""
    return {"tag": version.tag, "created_at": version.created_at.isoformat()}
