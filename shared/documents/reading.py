"""Reading documents: listing, descriptions, versions, opening. Each is audited before it is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from shared.access.principal import Principal
from shared.base.events import EventType
from shared.documents.models import Document, Place, SealedNames, Version
from shared.documents.opening import ContentOpener
from shared.documents.store import DocumentRecords, StoredDocument
from shared.journal.entries import Action
from shared.journal.journal import Journal


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """A document as its owner sees it: the version, and its names in clear."""

    document: Document
    version: Version
    names: SealedNames

    @property
    def etag(self) -> str:
        """Names this immutable content; the same as long as the version is current."""
        return content_etag(self.document.id, self.version.number)


def content_etag(document: str, number: int) -> str:
    """The entity tag of a version, without quotes."""
    return f"{document}.{number}"


class DocumentReader:
    """Reads the documents of the tenants.

    Args:
        store: Finds the records.
        journal: Commits audit entries.
        opener: Opens contents and names.
    """

    def __init__(self, store: DocumentRecords, journal: Journal, opener: ContentOpener) -> None:
        self._store = store
        self._journal = journal
        self._opener = opener

    async def page(
        self, principal: Principal, *, limit: int, cursor: str | None
    ) -> tuple[list[DocumentVersion], str | None]:
        """A page of the caller's tenant's documents, newest first, and the next cursor.

        Raises:
            InvalidInput: The cursor is not one of ours.
        """
        page, following = await self._store.documents(principal.tenant, limit, cursor)
        await self._journal.commit(
            self._journal.entry(
                Action.DOCUMENT_LIST, by=principal, details={"documents": len(page)}
            )
        )
        return [
            DocumentVersion(
                document,
                version,
                await self._opener.names(principal.tenant, document.id, version),
            )
            for document, version in page
        ], following

    async def find(
        self, principal: Principal, document: str, number: int | None = None
    ) -> DocumentVersion:
        """A document's description, before it is known whether any of it will be answered.

        Raises:
            NotFound: There is no such document or version.
        """
        return await self._opened(await self._store.document(principal.tenant, document), number)

    async def record_read(self, principal: Principal, opened: DocumentVersion) -> None:
        """Put into the audit log that a description is about to be answered."""
        version = opened.version
        await self._journal.commit(
            self._journal.entry(
                Action.DOCUMENT_READ,
                opened.document.id,
                by=principal,
                details={"version": version.number, "size": version.size},
            )
        )

    async def versions(self, principal: Principal, document: str) -> list[DocumentVersion]:
        """Every version of a document, the latest first.

        Raises:
            NotFound: There is no such document.
        """
        stored = await self._store.document(principal.tenant, document)
        await self._journal.commit(
            self._journal.entry(Action.DOCUMENT_READ, document, by=principal)
        )
        return [
            await self._opened(stored, number) for number in range(stored.current.number, 0, -1)
        ]

    async def open(
        self, principal: Principal, opened: DocumentVersion, start: int, end: int
    ) -> AsyncIterator[memoryview]:
        """A range of a content; the audit entry is durable before this returns.

        Raises:
            Damaged: No copy is good.
            NotFound: The document was deleted meanwhile.
            Unavailable: No store that may have a good copy answers.
        """
        document, version = opened.document, opened.version
        await self._journal.commit(
            self._journal.entry(
                Action.DOCUMENT_OPEN,
                document.id,
                by=principal,
                details={"version": version.number, "start": start, "end": end},
            )
        )

        reported: set[str] = set()

        async def report(place: Place, name: str) -> str:
            # An object goes only after the record has ceased to name it, so one that is named still
            # after it failed is damaged indeed.
            stored = await self._store.document(principal.tenant, document.id)
            named = (await self._store.version(stored, version.number)).version.at(place)
            if named != name or name in reported:
                return named or name
            reported.add(name)
            event = self._journal.event(
                EventType.DOCUMENT_DAMAGED,
                principal.tenant,
                document.id,
                {"version": version.number},
                principal.origin.traceparent,
            )
            entry = self._journal.entry(
                Action.DOCUMENT_DAMAGE,
                document.id,
                tenant=principal.tenant,
                origin=principal.origin,
                failed="damaged",
                details={"version": version.number, "copy": place},
            )
            await self._journal.commit(entry, events=[event])
            return name

        return await self._opener.open(principal.tenant, document.id, version, start, end, report)

    async def _opened(self, stored: StoredDocument, number: int | None) -> DocumentVersion:
        version = (await self._store.version(stored, number)).version
        names = await self._opener.names(stored.tenant, stored.document.id, version)
        return DocumentVersion(stored.document, version, names)
