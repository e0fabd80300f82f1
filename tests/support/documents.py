"""The documents of tenants, used by several processes over the same records, stores and key vault."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.adapters.memory.blobs import MemoryBlobs
from shared.adapters.memory.records import MemoryRecords
from shared.adapters.memory.write_once import MemoryWriteOnce
from shared.base.buffers import Buffer
from shared.base.errors import Unavailable
from shared.base.events import Event
from shared.base.partitions import OPERATOR, Partition
from shared.documents.descriptions import UploadDescriptions
from shared.documents.models import Description
from shared.documents.opening import ContentOpener
from shared.documents.reading import DocumentReader, DocumentVersion
from shared.documents.sealing import ContentSealer
from shared.documents.service import Documents
from shared.documents.staged import StagedContentSealer
from shared.documents.store import DocumentRecords
from shared.documents.sweep import Sweep
from shared.documents.trash import Trash
from shared.documents.uploads import Uploads
from shared.journal.agenda import Agenda, Task
from shared.journal.idempotency import Idempotency, IdempotencyKey
from shared.journal.journal import Journal
from shared.journal.outbox import Outbox
from shared.keys.epochs import EpochKeys
from shared.keys.intermediate import IntermediateKeys
from shared.policy.models import Retention, RetentionBounds
from shared.policy.service import Policies
from shared.ports.blobs import BlobStore
from shared.ports.clock import Runtime
from shared.ports.records import MAX_PAGE, Change, Changes, Delete, Page, Record
from shared.replication.service import Replication
from shared.wiring.audit import Audit
from tests.support.audit import audit_of
from tests.support.clock import FakeClock
from tests.support.keys import TENANT, CountingVault, KilledError

USER = Principal(TENANT, "usr_" + "0" * 26, (Role.MEMBER,))
ADMIN = Principal(TENANT, "usr_" + "1" * 26, (Role.ADMINISTRATOR,))
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
MAX_BYTES = 4 << 20


def key(value: str = "a key of the client's", scope: str = "documents") -> IdempotencyKey:
    """A key for an operation of the user's."""
    return IdempotencyKey(TENANT, scope, value)


async def stream(content: bytes) -> AsyncIterator[Buffer]:
    """Content as it arrives."""
    yield content


class WatchedRecords(MemoryRecords):
    """Notes which partitions are looked into, and can end the process or lose a response.

    Attributes:
        looked_into: The partitions of every ``get``, ``query`` and ``changes``.
        killed_before: A kind of records that no process lives to commit.
        silent_after: A kind of records whose commits take effect without a response.
    """

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.looked_into: set[Partition] = set()
        self.killed_before = ""
        self.silent_after = ""

    async def get(self, partition: Partition, kind: str, id: str) -> Record:
        self.looked_into.add(partition)
        return await super().get(partition, kind, id)

    async def query(
        self,
        partition: Partition,
        kind: str,
        *,
        where: Mapping[str, str] | None = None,
        order: Literal["ascending", "descending"] = "ascending",
        limit: int = 100,
        cursor: str | None = None,
        first: str | None = None,
        before: str | None = None,
    ) -> Page:
        self.looked_into.add(partition)
        return await super().query(
            partition,
            kind,
            where=where,
            order=order,
            limit=limit,
            cursor=cursor,
            first=first,
            before=before,
        )

    async def changes(
        self, partition: Partition, *, after: str | None = None, limit: int = MAX_PAGE
    ) -> Changes:
        self.looked_into.add(partition)
        return await super().changes(partition, after=after, limit=limit)

    async def commit(self, partition: Partition, changes: Sequence[Change]) -> None:
        kinds = {each.kind if isinstance(each, Delete) else each.record.kind for each in changes}
        if self.killed_before in kinds:
            raise KilledError
        await super().commit(partition, changes)
        if self.silent_after in kinds:
            raise Unavailable("The record store does not respond.")

    def months_looked_into(self) -> set[str]:
        """The parts of tenants that hold documents and were looked into since the last call."""
        parts = {each.part for each in self.looked_into if each.tenant != OPERATOR}
        self.looked_into.clear()
        return {part for part in parts if part[:2] == "20"}


class NotingBus:
    """A bus to which events can be published, and that delivers none.

    Attributes:
        published: The events.
    """

    def __init__(self) -> None:
        self.published: list[Event] = []

    async def publish(self, events: Sequence[Event]) -> None:
        self.published += events


@dataclass
class DocumentProcess:
    """The services of one process that have to do with documents."""

    journal: Journal
    agenda: Agenda
    store: DocumentRecords
    reader: DocumentReader
    documents: Documents
    policies: Policies
    trash: Trash
    uploads: Uploads
    staged: StagedContentSealer
    sweep: Sweep
    replication: Replication
    audit: Audit

    async def create(
        self, content: bytes = b"content", used: IdempotencyKey | None = None
    ) -> DocumentVersion:
        """A direct upload of the user's."""
        description = Description(name="paper.txt")
        return await self.documents.create(USER, description, stream(content), None, used)

    async def erase(self, document: str) -> None:
        """Erase a document, as an administrator can."""
        await self.trash.delete(ADMIN, document, None, erase=True)

    async def listed(self, limit: int = 100) -> list[str]:
        """The ids of all documents, page by page."""
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = await self.reader.page(USER, limit=limit, cursor=cursor)
            assert len(page.items) <= limit
            found += [each.document.id for each in page.items]
            cursor = page.cursor
            if cursor is None:
                return found

    async def content(self, document: str) -> bytes:
        """The content of the current version."""
        found = await self.reader.find(USER, document)
        opened = await self.reader.open(USER, found, 0, found.version.size)
        return b"".join([bytes(piece) async for piece in opened])

    async def on_agenda(self, task: Task) -> list[str]:
        """The partitions of a timer's items."""
        return [item.value.partition async for item in self.agenda.due(task, NEVER)]


@dataclass
class DocumentData:
    """What outlives a process: the records, the stores, the key vault and the time."""

    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.records = WatchedRecords(self.clock)
        self.vault = CountingVault()
        self.primary = MemoryBlobs(self.clock)
        self.replica = MemoryBlobs(self.clock)
        self.staging = MemoryBlobs(self.clock)
        self.bus = NotingBus()
        self._outboxes: list[Outbox] = []

    def process(self) -> DocumentProcess:
        """A process that has just started."""
        runtime = Runtime(self.clock, os.urandom)
        agenda = Agenda(self.records, runtime)
        outbox = Outbox(self.records, self.bus, agenda, "development", runtime)  # type: ignore[arg-type]
        self._outboxes.append(outbox)
        journal = Journal(self.records, outbox, "development", runtime)
        idempotency = Idempotency(self.records, runtime)
        vault = self.vault
        intermediates = IntermediateKeys(self.records, vault, journal, runtime)  # type: ignore[arg-type]
        epochs = EpochKeys(self.records, vault, journal, intermediates, runtime)  # type: ignore[arg-type]
        store = DocumentRecords(self.records, agenda)
        sealer = ContentSealer(self.primary, epochs, store, "development", runtime)
        opener = ContentOpener(self.primary, self.replica, epochs, "development")
        reader = DocumentReader(store, journal, opener)
        bounds = RetentionBounds(Retention(), Retention())
        policies = Policies(self.records, journal, bounds, runtime)
        uploads = Uploads(
            store,
            journal,
            self.staging,
            UploadDescriptions(epochs, "development", runtime),
            idempotency,
            runtime,
            max_bytes=MAX_BYTES,
        )
        return DocumentProcess(
            journal,
            agenda,
            store,
            reader,
            Documents(store, journal, sealer, reader, idempotency, runtime, max_bytes=MAX_BYTES),
            policies,
            Trash(store, journal, policies, runtime),
            uploads,
            StagedContentSealer(uploads, sealer),
            Sweep(uploads, self.primary, self.replica, runtime),
            Replication(store, journal, opener, self.primary, self.replica, runtime),
            audit_of(self.records, MemoryWriteOnce(self.clock), vault, runtime, journal, agenda),
        )

    def at(self, year: int, month: int, day: int = 1, hour: int = 0, minute: int = 0) -> None:
        """Let it be a later time."""
        then = datetime(year, month, day, hour, minute, tzinfo=UTC)
        self.clock.advance((then - self.clock.now()).total_seconds())

    async def close(self) -> None:
        """Wait until nothing is being published."""
        for outbox in self._outboxes:
            await outbox.close()


async def read(store: BlobStore, name: str | None) -> bytes:
    """An object."""
    assert name is not None
    return b"".join([piece async for piece in store.get(name)])


async def stored(store: BlobStore) -> list[str]:
    """The names of a store's objects."""
    return [info.name async for info in store.list()]
