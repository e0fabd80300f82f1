"""Documents: direct uploads, new versions, deleting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from shared.access.principal import Principal
from shared.base.buffers import Buffer
from shared.base.errors import Conflict, NotFound, PreconditionFailed
from shared.base.events import EventType
from shared.base.ids import new_id
from shared.documents.models import Description, Document, Version
from shared.documents.reading import DocumentReader, DocumentVersion, content_etag
from shared.documents.recording import Recorder
from shared.documents.sealing import ContentSealer, Incoming
from shared.documents.store import DocumentRecords, StoredDocument, new_document
from shared.journal.entries import Action, Entry
from shared.journal.idempotency import Idempotency, IdempotencyKey
from shared.journal.journal import Details, Journal
from shared.ports.clock import Clock, Entropy

# So that deleting a document with all of its versions fits into one commit.
MAX_VERSIONS: Final = 90

# Replication changes a document's record as well, to name a replica: nobody's change but the next try's.
ATTEMPTS: Final = 5


class Documents:
    """Changes the documents of the tenants.

    Args:
        store: Finds the records.
        journal: Commits changes with their audit entries.
        sealer: Seals contents into the primary store.
        reader: Reads what a repeated request has made before.
        recorder: Records what was sealed.
        idempotency: Remembers outcomes of POSTs.
        max_bytes: The largest content of a direct upload.
        clock: Time.
        entropy: Randomness.
    """

    def __init__(
        self,
        store: DocumentRecords,
        journal: Journal,
        sealer: ContentSealer,
        reader: DocumentReader,
        recorder: Recorder,
        idempotency: Idempotency,
        max_bytes: int,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._store = store
        self._journal = journal
        self._sealer = sealer
        self._reader = reader
        self._recorder = recorder
        self._idempotency = idempotency
        self._max_bytes = max_bytes
        self._clock = clock
        self._entropy = entropy

    async def create(
        self,
        principal: Principal,
        description: Description,
        content: AsyncIterator[Buffer],
        sha256: bytes | None,
        key: IdempotencyKey | None,
    ) -> DocumentVersion:
        """Seal a content on arrival as a new document; durable, audited and announced on return.

        Raises:
            DigestMismatch: The content is not what ``sha256`` says; nothing was kept.
            IdempotencyKeyReused: The key belongs to another request; nothing was kept.
            TooLarge: It is larger than allowed; nothing was kept.
        """
        now = self._clock.now()
        document_id = new_id("doc", now, self._entropy)
        version, names = await self._sealer.seal(
            self._incoming(principal, document_id, 1, description, content, sha256)
        )
        document = Document(id=document_id, created_at=now, current=version)
        # A fingerprint that holds the content's hash is known only now, so a replayed content is
        # sealed in vain; the commit finds out, and the object is taken back.
        request = names.model_dump(mode="json")
        try:
            await self._recorder.record(
                self._entry(Action.DOCUMENT_CREATE, principal, document_id, version),
                version,
                [
                    new_document(principal.tenant, document),
                    *self._idempotency.remember(key, request, document_id),
                ],
                principal.origin.traceparent,
            )
        except Conflict:
            await self._recorder.discard(version)
            made = await self._idempotency.replayed(key, request)
            if made is None:
                raise
            opened = await self._reader.find(principal, made)
            await self._reader.record_read(principal, opened)
            return opened
        return DocumentVersion(document, version, names)

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
            TooLarge: It is larger than allowed; nothing was kept.
        """
        stored = await self._store.document(principal.tenant, document)
        if if_match != content_etag(document, stored.current.number):
            raise PreconditionFailed("The document has a newer version; read it first.")
        number = stored.current.number + 1
        if number > MAX_VERSIONS:
            raise Conflict(
                f"A document has at most {MAX_VERSIONS} versions; upload a new document."
            )
        version, names = await self._sealer.seal(
            self._incoming(principal, document, number, description, content, sha256)
        )
        try:
            updated = await self._follow(principal, stored, version)
        except (Conflict, NotFound):
            await self._recorder.discard(version)
            raise PreconditionFailed(
                "The document was changed while the content arrived; read it and try again."
            ) from None
        return DocumentVersion(updated, version, names)

    async def delete(self, principal: Principal, document: str, if_match: str | None) -> None:
        """Delete a document with all of its versions.

        Its wrapped data keys are destroyed in this commit, so no copy of its contents can be opened from
        then on; the objects themselves are removed by the replication function.

        Raises:
            Conflict: The document is being changed all the time; nothing was done.
            NotFound: There is no such document.
            PreconditionFailed: The current version's etag is not ``if_match``.
        """
        for _ in range(ATTEMPTS):
            try:
                return await self._delete(principal, document, if_match)
            except Conflict:
                continue
        raise Conflict("The document is being changed; try again.")

    async def _delete(self, principal: Principal, document: str, if_match: str | None) -> None:
        stored = await self._store.document(principal.tenant, document)
        if if_match is not None and if_match != content_etag(document, stored.current.number):
            raise PreconditionFailed("The document has a newer version; read it first.")
        earlier = [
            await self._store.version(stored, number) for number in range(1, stored.current.number)
        ]
        versions = [stored.current, *(each.version for each in earlier)]
        deleted = stored.document.model_copy(update={"current": None})
        event = self._journal.event(
            EventType.DOCUMENT_DELETED,
            principal.tenant,
            document,
            {
                "objects": [version.object for version in versions],
                "replicas": [version.replica for version in versions if version.replica],
            },
            principal.origin.traceparent,
        )
        await self._journal.commit(
            self._journal.entry(
                Action.DOCUMENT_DELETE,
                document,
                by=principal,
                details={"versions": len(versions)},
            ),
            [stored.replaced_by(deleted), *(each.deleted() for each in earlier)],
            [event],
        )

    async def _follow(
        self, principal: Principal, stored: StoredDocument, version: Version
    ) -> Document:
        """Make a sealed version the document's current one, if it is still the next one.

        Raises:
            Conflict: Another version got there first, or the document is being changed all the time.
            NotFound: The document was deleted.
        """
        document = stored.document.id
        entry = self._entry(Action.DOCUMENT_UPDATE, principal, document, version)
        for _ in range(ATTEMPTS):
            updated = stored.document.model_copy(update={"current": version})
            changes = [self._store.superseded(stored), stored.replaced_by(updated)]
            try:
                await self._recorder.record(entry, version, changes, principal.origin.traceparent)
            except Conflict:
                stored = await self._store.document(principal.tenant, document)
                if stored.current.number != version.number - 1:
                    raise
            else:
                return updated
        raise Conflict("The document is being changed; try again.")

    def _entry(
        self, action: Action, principal: Principal, document: str, version: Version
    ) -> Entry:
        details: Details = {"version": version.number, "size": version.size}
        return self._journal.entry(action, document, by=principal, details=details)

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
            self._max_bytes,
            sha256,
        )
