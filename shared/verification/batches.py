"""The versions of a partition's documents, batch by batch, from any place on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.backup.models import version_id
from shared.base.errors import Damaged, InvalidInput, NotFound
from shared.base.partitions import Partition
from shared.crypto.streaming import sealed_size
from shared.documents.models import Document
from shared.documents.store import (
    DOCUMENT_KIND,
    DocumentRecords,
    StoredDocument,
    StoredVersion,
)
from shared.journal.collections import Collection
from shared.ports.records import Page

BATCH_BYTES: Final = 64 << 20
"""A batch ends once its versions have so many bytes, sealed."""

BATCH_VERSIONS: Final = 200

PAGE: Final = 200
"""Documents that are read at once."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Versions of documents that are not erased.

    Attributes:
        versions: In the order of their ids.
        damaged: The ids of documents and versions whose records cannot be read.
        page: The record store's cursor of the page where the next batch begins.
        after: The id of the version after which it does.
        more: Whether there may be more in the partition.
    """

    versions: Sequence[StoredVersion]
    damaged: Sequence[str]
    page: str | None
    after: str
    more: bool


@dataclass(slots=True)
class VersionBatches:
    """Reads versions.

    Attributes:
        store: Finds documents and versions.
    """

    store: DocumentRecords
    _documents: Collection[Document] = field(init=False)

    def __post_init__(self) -> None:
        self._documents = Collection(self.store.records, Document, DOCUMENT_KIND)

    async def read(self, partition: Partition, page: str | None, after: str) -> Batch:
        """The batch after a version.

        Args:
            partition: Of a month.
            page: As the batch before says; None: from the beginning of the partition.
            after: As the batch before says.

        Raises:
            Unavailable: The record store does not respond.
        """
        versions: list[StoredVersion] = []
        damaged: list[str] = []
        size = 0
        found = await self._page(partition, page)
        for record in found.records:
            if record.id < after.partition(".")[0]:
                continue
            try:
                stored = self._documents.stored(record)
            except Damaged:
                damaged.append(record.id)
                continue
            current = stored.value.current
            if current is None:
                continue
            document = StoredDocument(partition.tenant, stored, current)
            async for version in self._versions(document, after, damaged):
                if versions and (size >= BATCH_BYTES or len(versions) == BATCH_VERSIONS):
                    return Batch(versions, damaged, page, _id_of(versions[-1]), more=True)
                versions.append(version)
                size += sealed_size(version.version.size)
        last = _id_of(versions[-1]) if versions else after
        return Batch(versions, damaged, found.cursor, last, more=found.cursor is not None)

    async def _page(self, partition: Partition, cursor: str | None) -> Page:
        records = self.store.records
        try:
            return await records.query(partition, DOCUMENT_KIND, limit=PAGE, cursor=cursor)
        except InvalidInput:  # of another record store: what is done already is skipped by its id
            return await records.query(partition, DOCUMENT_KIND, limit=PAGE)

    async def _versions(
        self, document: StoredDocument, after: str, damaged: list[str]
    ) -> AsyncIterator[StoredVersion]:
        """The versions of a document after one, oldest first."""
        for number in range(1, document.current.number + 1):
            name = version_id(document.document.id, number)
            if name <= after:
                continue
            try:
                yield await self.store.version(document, number)
            except Damaged:
                damaged.append(name)
            except NotFound:
                continue  # a restore did not have it


def _id_of(found: StoredVersion) -> str:
    return version_id(found.of.document.id, found.version.number)
