"""Where documents, versions and uploads are kept as records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from shared.base.errors import NotFound
from shared.documents.models import Document, Upload, Version
from shared.ports.records import Change, Create, Delete, Record, RecordStore, Replace

DOCUMENT_KIND: Final = "document"
VERSION_KIND: Final = "version"
UPLOAD_KIND: Final = "upload"

LIVE: Final = {"state": "live"}


def new_document(tenant: str, document: Document) -> Change:
    """The change that adds a document."""
    body = document.model_dump(mode="json")
    return Create(Record(tenant, DOCUMENT_KIND, document.id, body, index=LIVE))


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document that is not deleted, as last committed, with what it takes to change it.

    Attributes:
        tenant: Whose it is.
        document: What was committed.
        current: Its latest version.
        record: Its record.
    """

    tenant: str
    document: Document
    current: Version
    record: Record

    def replaced_by(self, document: Document) -> Change:
        """The change to ``document``, which holds only if nobody changed the record since."""
        index = LIVE if document.current is not None else {}
        return Replace(replace(self.record, body=document.model_dump(mode="json"), index=index))


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of a document, current or earlier, with what it takes to change it."""

    version: Version
    _of: StoredDocument
    _record: Record | None

    def replaced_by(self, version: Version) -> Change:
        """The change to ``version``, which holds only if nobody changed the record since."""
        if self._record is None:
            return self._of.replaced_by(self._of.document.model_copy(update={"current": version}))
        return Replace(replace(self._record, body=version.model_dump(mode="json")))

    def deleted(self) -> Change:
        """The change that removes an earlier version's record."""
        if self._record is None:
            raise ValueError("the current version goes with its document")
        return Delete(VERSION_KIND, self._record.id, self._record.etag)


_NO_DOCUMENT: Final = "There is no such document in your tenant."


class DocumentRecords:
    """Finds documents, versions and uploads.

    Args:
        records: The record store.
    """

    def __init__(self, records: RecordStore) -> None:
        self._records = records

    async def document(self, tenant: str, document: str) -> StoredDocument:
        """A document that is not deleted.

        Raises:
            NotFound: There is none.
        """
        try:
            record = await self._records.get(tenant, DOCUMENT_KIND, document)
        except NotFound:
            raise NotFound(_NO_DOCUMENT) from None
        stored = Document.model_validate(record.body)
        if stored.current is None:
            raise NotFound(_NO_DOCUMENT)
        return StoredDocument(tenant, stored, stored.current, record)

    async def documents(
        self, tenant: str, limit: int, cursor: str | None
    ) -> tuple[list[tuple[Document, Version]], str | None]:
        """A page of the documents that are not deleted, newest first, and the next cursor."""
        page = await self._records.query(
            DOCUMENT_KIND,
            tenant=tenant,
            where=LIVE,
            order="descending",
            limit=limit,
            cursor=cursor,
        )
        found = [Document.model_validate(record.body) for record in page.records]
        return [(each, each.current) for each in found if each.current], page.cursor

    async def version(self, stored: StoredDocument, number: int | None) -> StoredVersion:
        """A version of a document; None: the current one.

        Raises:
            NotFound: There is none of this number.
        """
        if number is None or number == stored.current.number:
            return StoredVersion(stored.current, stored, None)
        name = _version_id(stored.document.id, number)
        try:
            record = await self._records.get(stored.tenant, VERSION_KIND, name)
        except NotFound:
            raise NotFound("The document has no such version.") from None
        return StoredVersion(Version.model_validate(record.body), stored, record)

    def superseded(self, stored: StoredDocument) -> Change:
        """The change that gives the current version a record of its own, before a newer one comes."""
        return Create(
            Record(
                stored.tenant,
                VERSION_KIND,
                _version_id(stored.document.id, stored.current.number),
                stored.current.model_dump(mode="json"),
            )
        )

    async def upload(self, tenant: str, upload: str) -> tuple[Upload, Record]:
        """A staged upload and its record.

        Raises:
            NotFound: There is none.
        """
        record = await self._records.get(tenant, UPLOAD_KIND, upload)
        return Upload.model_validate(record.body), record


def _version_id(document: str, number: int) -> str:
    return f"{document}.{number:06d}"
