"""Where documents, versions and uploads are kept as records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.base.errors import NotFound
from shared.base.events import Event
from shared.base.models import Model
from shared.base.partitions import Partition, partition_of
from shared.documents.models import Document, Upload, Version
from shared.documents.naming import sweep_due
from shared.documents.timing import GRANT_LIFETIME, erasure_due, expiry_due
from shared.journal.agenda import Agenda, Task
from shared.journal.collections import Collection, Stored, StoredPage, page_across
from shared.journal.months import DOCUMENT_MONTHS, Months
from shared.ports.records import Change, RecordStore

DOCUMENT_KIND: Final = "document"
VERSION_KIND: Final = "version"
UPLOAD_KIND: Final = "upload"
ERASURE_KIND: Final = "erasure"

LIVE: Final = {"state": "live"}
TRASHED: Final = {"state": "trash"}
GRANTED: Final = {"state": "granted"}

_NO_DOCUMENT: Final = "There is no such document in your tenant."


class Erasure(Model):
    """That the objects which an event released were removed; ``id`` is the event's."""

    id: str


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document that is not erased, as last committed, with what it takes to change it.

    Attributes:
        tenant: Whose it is.
        stored: The document and its record.
        current: Its latest version.
    """

    tenant: str
    stored: Stored[Document]
    current: Version

    @property
    def document(self) -> Document:
        """What was committed."""
        return self.stored.value


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of a document, current or earlier, with what it takes to change it.

    Attributes:
        version: What was committed.
        of: Its document.
        stored: The record of an earlier version; None for the current one, which is in the document's.
    """

    version: Version
    of: StoredDocument
    stored: Stored[Version] | None


@dataclass(slots=True)
class DocumentRecords:
    """Finds and changes documents, versions and uploads.

    Attributes:
        records: Where they are kept.
        agenda: Learns where uploads may be left behind, and where trash has to be emptied.
    """

    records: RecordStore
    agenda: Agenda
    _documents: Collection[Document] = field(init=False)
    _versions: Collection[Version] = field(init=False)
    months: Months = field(init=False)
    _erasures: Collection[Erasure] = field(init=False)
    uploads: Collection[Upload] = field(init=False)

    def __post_init__(self) -> None:
        self._documents = Collection(
            self.records,
            Document,
            DOCUMENT_KIND,
            lambda document: document.id,
            index_of=_state_of,
            missing=_NO_DOCUMENT,
        )
        self._versions = Collection(
            self.records, Version, VERSION_KIND, missing="The document has no such version."
        )
        self.months = Months(self.records, DOCUMENT_MONTHS)
        self._erasures = Collection(self.records, Erasure, ERASURE_KIND, lambda erasure: erasure.id)
        self.uploads = Collection(
            self.records,
            Upload,
            UPLOAD_KIND,
            lambda upload: upload.id,
            index_of=_index_of,
            expires_at=lambda upload: upload.forgotten_at,
            missing="There is no such upload in your tenant.",
        )

    async def document(self, tenant: str, document: str) -> StoredDocument:
        """A document that is neither in the trash nor erased.

        Raises:
            NotFound: There is no such document.
        """
        found = await self.kept(tenant, document)
        if found.document.trashed_at is not None:
            raise NotFound(_NO_DOCUMENT)
        return found

    async def kept(self, tenant: str, document: str) -> StoredDocument:
        """A document that is not erased, be it in the trash or not.

        Raises:
            NotFound: There is no such document.
        """
        try:
            partition = partition_of(tenant, document)
        except ValueError:
            raise NotFound(_NO_DOCUMENT) from None
        stored = await self._documents.get(partition, document)
        if stored.value.current is None:
            raise NotFound(_NO_DOCUMENT)
        return StoredDocument(tenant, stored, stored.value.current)

    async def documents(
        self, tenant: str, limit: int, cursor: str | None, *, trashed: bool = False
    ) -> StoredPage[Document]:
        """A page of the documents that are not deleted, or of those in the trash, newest first.

        Raises:
            InvalidInput: The cursor does not belong to this list.
        """
        return await self._page(tenant, limit, cursor, TRASHED if trashed else LIVE)

    async def trash(self, partition: Partition, due: datetime | None) -> AsyncIterator[Document]:
        """The documents of a month that are in the trash.

        Args:
            partition: Of the month.
            due: Only those whose time there ends in the window before, as ``erasure_due`` gives it.
        """
        where = TRASHED if due is None else _erasure(due)
        async for stored in self._documents.scan(partition, where=where):
            yield stored.value

    async def all_documents(
        self, tenant: str, limit: int, cursor: str | None
    ) -> StoredPage[Document]:
        """A page of all documents, newest first, in whatever state; those that are erased have no version.

        Raises:
            InvalidInput: The cursor does not belong to this list.
        """
        return await self._page(tenant, limit, cursor, None)

    async def _page(
        self, tenant: str, limit: int, cursor: str | None, where: Mapping[str, str] | None
    ) -> StoredPage[Document]:
        months = await self.months.of(tenant, "descending")
        return await page_across(
            self._documents,
            [Partition(tenant, month) for month in months],
            where=where,
            order="descending",
            limit=limit,
            cursor=cursor,
        )

    async def version(self, stored: StoredDocument, number: int | None) -> StoredVersion:
        """A version of a document; None: the current one.

        Raises:
            NotFound: There is no version of this number.
        """
        if number is None or number == stored.current.number:
            return StoredVersion(stored.current, stored, None)
        name = _version_id(stored.document.id, number)
        found = await self._versions.get(stored.stored.partition, name)
        return StoredVersion(found.value, stored, found)

    async def find_version(self, tenant: str, document: str, number: int) -> StoredVersion | None:
        """A version of a document that is not erased; None where there is none."""
        try:
            return await self.version(await self.kept(tenant, document), number)
        except NotFound:
            return None

    async def versions(self, stored: StoredDocument) -> list[StoredVersion]:
        """Every version of a document that there is, the latest first; a restore may have left gaps."""
        found = [StoredVersion(stored.current, stored, None)]
        for number in range(stored.current.number - 1, 0, -1):
            with suppress(NotFound):
                found.append(await self.version(stored, number))
        return found

    async def upload(self, tenant: str, upload: str) -> Stored[Upload]:
        """A staged upload.

        Raises:
            NotFound: There is no such upload.
        """
        try:
            partition = partition_of(tenant, upload)
        except ValueError:
            raise NotFound(self.uploads.missing) from None
        return await self.uploads.get(partition, upload)

    async def prepare_upload(self, partition: Partition, expires_at: datetime) -> None:
        """Before an upload is granted: make sure that it expires and that its object is swept."""
        due = expiry_due(expires_at)
        await self.agenda.add(Task.EXPIRE_UPLOADS, partition, due)
        await self.prepare_object(partition, expires_at - GRANT_LIFETIME)

    async def prepare_object(self, partition: Partition, at: datetime) -> None:
        """Before an object is put: make sure that the sweep finds it if no record comes to name it."""
        await self.agenda.add(Task.SWEEP_OBJECTS, Partition(partition.tenant), sweep_due(at))

    async def prepare_trash(self, partition: Partition, erase_at: datetime) -> None:
        """Before a document is moved to the trash: make sure that the timer erases it."""
        await self.agenda.add(Task.EMPTY_TRASH, partition, erasure_due(erase_at))

    def create_document(self, tenant: str, document: Document) -> Change:
        """The change that adds a document."""
        return self._documents.create(partition_of(tenant, document.id), document)

    def replace_document(self, stored: StoredDocument, document: Document) -> Change:
        """The change of a document; a conflict if it was changed since."""
        return self._documents.replace(stored.stored, document)

    def replace(self, stored: Stored[Document], document: Document) -> Change:
        """The change of a document in whatever state; a conflict if it was changed since."""
        return self._documents.replace(stored, document)

    def create_version(self, partition: Partition, document: str, version: Version) -> Change:
        """The change that adds the record of an earlier version."""
        return self._versions.create(partition, version, _version_id(document, version.number))

    def supersede(self, stored: StoredDocument) -> Change:
        """The change that gives the current version a record of its own, before a newer one comes."""
        name = _version_id(stored.document.id, stored.current.number)
        return self._versions.create(stored.stored.partition, stored.current, name)

    def replace_version(self, found: StoredVersion, version: Version) -> Change:
        """The change of a version; a conflict if its record was changed since."""
        if found.stored is None:
            document = found.of.document.model_copy(update={"current": version})
            return self._documents.replace(found.of.stored, document)
        return self._versions.replace(found.stored, version)

    def delete_version(self, found: StoredVersion) -> Change:
        """The change that removes an earlier version's record.

        Raises:
            ValueError: It is the current version, which goes with its document.
        """
        if found.stored is None:
            raise ValueError("the current version goes with its document")
        return self._versions.delete(found.stored)

    def create_erasure(self, event: Event) -> Change:
        """The change that remembers that an event took effect; a conflict if it did before."""
        return self._erasures.create(event.partition, Erasure(id=event.id))


def _index_of(upload: Upload) -> Mapping[str, str]:
    return {"state": upload.state} if upload.state in {"granted", "completed"} else {}


def _state_of(document: Document) -> Mapping[str, str]:
    if document.current is None:
        return {}
    if document.erase_at is None:
        return LIVE
    return {**TRASHED, **_erasure(erasure_due(document.erase_at))}


def _erasure(due: datetime) -> Mapping[str, str]:
    return {"erasure": f"{due:%Y%m%dT%H%M%SZ}"}


def _version_id(document: str, number: int) -> str:
    return f"{document}.{number:06d}"
