"""Reading documents: lists, descriptions, versions, content. Each read is audited before its response."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from shared.access.permissions import Permission, check
from shared.access.principal import Principal
from shared.base.events import EventType, VersionData
from shared.base.listing import Listing
from shared.documents.models import Document, Place, SealedNames, Version
from shared.documents.opening import ContentOpener, VersionOf
from shared.documents.store import DocumentRecords, StoredDocument
from shared.journal.entries import Action
from shared.journal.journal import Journal


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """A document, one of its versions, and that version's names in clear."""

    document: Document
    version: Version
    names: SealedNames

    @property
    def etag(self) -> str:
        """Names this immutable content; the same as long as the version is current."""
        return content_etag(self.document.id, self.version)


def content_etag(document: str, version: Version) -> str:
    """The entity tag of a version, without quotes.

    A number can come again, when a restore has gone back to before it was given; the tag cannot.
    """
    tag = f".{version.tag}" if version.tag else ""
    return f"{document}.{version.number}{tag}"


@dataclass(slots=True)
class DocumentReader:
    """Reads the documents of the tenants."""

    store: DocumentRecords
    journal: Journal
    opener: ContentOpener

    async def page(
        self,
        principal: Principal,
        *,
        limit: int,
        cursor: str | None,
        trashed: bool = False,
        keep: Callable[[DocumentVersion], bool] | None = None,
    ) -> Listing[DocumentVersion]:
        """A page of the caller's tenant's documents, or of its trash, newest first.

        Args:
            principal: Who asks.
            limit: How many at most.
            cursor: From the page before.
            trashed: The trash.
            keep: Which of them to show, and with it none that is damaged; None: all.

        Raises:
            Forbidden: The trash is for those who may delete and recover documents.
            InvalidInput: The cursor does not belong to this list.
        """
        if trashed:
            check(principal.roles, Permission.DOCUMENTS_DELETE)
        page = await self.store.documents(principal.tenant, limit, cursor, trashed=trashed)
        found = [
            (stored.value, stored.value.current)
            for stored in page.items
            if stored.value.current is not None
        ]
        items, damaged = await self._named(principal.tenant, found)
        unreadable = [*page.damaged, *(each.id for each, _ in damaged)]
        shown = len(page.items)
        if keep is not None:
            items, unreadable = [item for item in items if keep(item)], []
            shown = len(items)
        await self.journal.commit(
            self.journal.entry(Action.DOCUMENT_LIST, by=principal, details={"documents": shown})
        )
        return Listing(items, page.cursor, unreadable)

    async def find(
        self, principal: Principal, document: str, number: int | None = None
    ) -> DocumentVersion:
        """A version of a document, before it is known whether any of it will be sent.

        Raises:
            NotFound: There is no such document or version.
        """
        return await self._described(await self.store.document(principal.tenant, document), number)

    async def record_read(self, principal: Principal, found: DocumentVersion) -> None:
        """Put into the audit log that a description is about to be sent."""
        version = found.version
        await self.journal.commit(
            self.journal.entry(
                Action.DOCUMENT_READ,
                found.document.id,
                by=principal,
                details={"version": version.number, "size": version.size},
            )
        )

    async def versions(self, principal: Principal, document: str) -> Listing[DocumentVersion]:
        """Every version of a document, the latest first; those without names are told by their numbers.

        Raises:
            NotFound: There is no such document.
        """
        stored = await self.store.document(principal.tenant, document)
        await self.journal.commit(self.journal.entry(Action.DOCUMENT_READ, document, by=principal))
        versions = [each.version for each in await self.store.versions(stored)]
        items, damaged = await self._named(
            principal.tenant, [(stored.document, version) for version in versions]
        )
        return Listing(items, None, [str(version.number) for _, version in damaged])

    async def open(
        self, principal: Principal, found: DocumentVersion, start: int, end: int
    ) -> AsyncIterator[memoryview]:
        """A range of the content; the audit entry is durable before this returns.

        Raises:
            Damaged: No copy is good.
            NotFound: The document was concurrently deleted.
            Unavailable: No store that may have a good copy responds.
        """
        document, version = found.document, found.version
        await self.journal.commit(
            self.journal.entry(
                Action.DOCUMENT_OPEN,
                document.id,
                by=principal,
                details={"version": version.number, "start": start, "end": end},
            )
        )

        reported: set[str] = set()

        async def report(place: Place, name: str) -> str:
            # An object is deleted only after the record has ceased to name it, so one that is still named
            # after it failed is damaged indeed.
            stored = await self.store.kept(principal.tenant, document.id)
            named = (await self.store.version(stored, version.number)).version.at(place)
            if named != name or name in reported:
                return named or name
            reported.add(name)
            event = self.journal.event(
                EventType.DOCUMENT_DAMAGED,
                principal.tenant,
                document.id,
                VersionData(version=version.number),
                principal.origin.traceparent,
            )
            entry = self.journal.entry(
                Action.DOCUMENT_DAMAGE,
                document.id,
                tenant=principal.tenant,
                origin=principal.origin,
                failed="damaged",
                details={"version": version.number, "copy": place},
            )
            await self.journal.commit(entry, events=[event])
            return name

        return await self.opener.open(principal.tenant, document.id, version, start, end, report)

    async def _named(
        self, tenant: str, found: Sequence[tuple[Document, Version]]
    ) -> tuple[list[DocumentVersion], list[tuple[Document, Version]]]:
        """Versions with their names, and those whose names cannot be read."""
        names = await self.opener.names_of_all(
            tenant, [VersionOf(document.id, version) for document, version in found]
        )
        named = [
            DocumentVersion(document, version, each)
            for (document, version), each in zip(found, names, strict=True)
            if each is not None
        ]
        return named, [of for of, each in zip(found, names, strict=True) if each is None]

    async def _described(self, stored: StoredDocument, number: int | None) -> DocumentVersion:
        version = (await self.store.version(stored, number)).version
        names = await self.opener.names(stored.tenant, stored.document.id, version)
        return DocumentVersion(stored.document, version, names)
