"""What a drill restored, compared with what the service has."""

from __future__ import annotations

from dataclasses import dataclass

from shared.audit.index import LOGGED_KIND
from shared.backup.feed import feed
from shared.base.errors import NotFound
from shared.base.partitions import Partition
from shared.crypto.streaming import sealed_size
from shared.documents.models import Document, Version
from shared.documents.store import DOCUMENT_KIND, VERSION_KIND, DocumentRecords
from shared.ports.blobs import BlobStore
from shared.ports.records import Record, RecordStore
from shared.restore.tenants import TenantRestorer


@dataclass(frozen=True, slots=True)
class Scratch:
    """Space for one partition.

    Attributes:
        tenants: Restores into it.
        records: What was restored.
        primary: The content that was; it may keep nothing but the names and sizes of objects.
    """

    tenants: TenantRestorer
    records: RecordStore
    primary: BlobStore


@dataclass(slots=True)
class Comparison:
    """Compares restored records with the service's.

    Attributes:
        store: The service's.
    """

    store: DocumentRecords

    @property
    def records(self) -> RecordStore:
        """The service's records."""
        return self.store.records

    async def differences(self, scratch: Scratch, partition: Partition) -> int:
        """How many of the restored records that cannot change differ from the service's.

        Raises:
            Unavailable: The record store does not respond.
        """
        differences = 0
        async for page in feed(scratch.records, partition, None):
            for record in page.records:
                differences += not await self._same(scratch, partition, record)
        return differences

    async def _same(self, scratch: Scratch, partition: Partition, record: Record) -> bool:
        if record.kind == DOCUMENT_KIND:
            restored = Document.model_validate(record.body).current
            return restored is None or await self._same_version(
                scratch, partition, record.id, restored
            )
        if record.kind == VERSION_KIND:
            document = record.id.rpartition(".")[0]
            restored = Version.model_validate(record.body)
            return await self._same_version(scratch, partition, document, restored)
        if record.kind == LOGGED_KIND:
            try:
                live = await self.records.get(partition, record.kind, record.id)
            except NotFound:
                return False
            return live.body == record.body
        return True  # it may have changed since

    async def _same_version(
        self, scratch: Scratch, partition: Partition, document: str, restored: Version
    ) -> bool:
        found = await self.store.find_version(partition.tenant, document, restored.number)
        if found is None or found.version.tag != restored.tag:
            return True  # erased, or replaced by a restore since
        try:
            size = (await scratch.primary.head(restored.object)).size
        except NotFound:
            return True  # a problem that the restore has noted
        apart = {"object", "replica"}
        same = found.version.model_dump(exclude=apart) == restored.model_dump(exclude=apart)
        return same and size == sealed_size(restored.size)
