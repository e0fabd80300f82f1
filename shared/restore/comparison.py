"""What a drill restored, compared with what the service has."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.audit.log import LOGGED_KIND
from shared.backup.models import version_id
from shared.base.errors import NotFound
from shared.base.partitions import Partition
from shared.crypto.streaming import sealed_size
from shared.documents.models import Document, Version
from shared.documents.store import DOCUMENT_KIND, VERSION_KIND
from shared.journal.collections import Collection
from shared.ports.blobs import BlobStore
from shared.ports.records import Record, RecordStore
from shared.restore.tenants import TenantRestorer


@dataclass(frozen=True, slots=True)
class Scratch:
    """Space for one partition.

    Attributes:
        tenants: Restores into it.
        records: What was restored.
        primary: The contents that were; it may keep nothing but their names and sizes.
    """

    tenants: TenantRestorer
    records: RecordStore
    primary: BlobStore


@dataclass(slots=True)
class Comparison:
    """Compares restored records with the service's.

    Attributes:
        records: The service's.
    """

    records: RecordStore
    _documents: Collection[Document] = field(init=False)
    _versions: Collection[Version] = field(init=False)

    def __post_init__(self) -> None:
        self._documents = Collection(self.records, Document, DOCUMENT_KIND)
        self._versions = Collection(self.records, Version, VERSION_KIND)

    async def differences(self, scratch: Scratch, partition: Partition) -> int:
        """How many of the restored records that cannot change differ from the service's.

        Raises:
            Unavailable: The record store does not respond.
        """
        differences, after, more = 0, None, True
        while more:
            page = await scratch.records.changes(partition, after=after)
            for record in page.records:
                differences += not await self._same(scratch, partition, record)
            after, more = page.position, page.more
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
        live = await self._live_version(partition, document, restored.number)
        if live is None:
            return True  # erased since
        try:
            size = (await scratch.primary.head(restored.object)).size
        except NotFound:
            return True  # a problem that the restore has noted
        apart = {"object", "replica"}
        same = live.model_dump(exclude=apart) == restored.model_dump(exclude=apart)
        return same and size == sealed_size(restored.size)

    async def _live_version(
        self, partition: Partition, document: str, number: int
    ) -> Version | None:
        found = await self._documents.find(partition, document)
        if found is None or found.value.current is None:
            return None
        if found.value.current.number == number:
            return found.value.current
        version = await self._versions.find(partition, version_id(document, number))
        return None if version is None else version.value
