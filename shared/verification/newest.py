"""The newest set of a tenant, as the next one will follow it: what it has, and what changed since."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.backup.feed import feed
from shared.backup.models import Manifest, PartIndex
from shared.backup.reading import SetReader
from shared.backup.state import STATE_ID, BackupState, states_of
from shared.base.errors import Damaged, NotFound
from shared.base.partitions import Partition
from shared.documents.store import DOCUMENT_KIND, VERSION_KIND
from shared.journal.collections import Collection
from shared.ports.records import RecordStore


@dataclass(slots=True)
class NewestSets:
    """Looks up the newest sets, reading each object once.

    Attributes:
        reader: Reads sets.
        records: The states of backups, and the feed of changes.
    """

    reader: SetReader
    records: RecordStore
    _states: Collection[BackupState] = field(init=False)
    _manifest: Manifest | None = field(init=False, default=None)
    _index: tuple[str, PartIndex] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._states = states_of(self.records)

    async def state(self, tenant: str) -> BackupState:
        """How far the backups of a tenant are."""
        found = await self._states.find(Partition(tenant), STATE_ID)
        return BackupState() if found is None else found.value

    async def manifest(self, tenant: str) -> Manifest | None:
        """The newest manifest; None: there is none that can be read."""
        last = (await self.state(tenant)).last
        if last is None:
            return None
        held = self._manifest
        if held is not None and (held.tenant, held.id) == (tenant, last.id):
            return held
        try:
            manifest = await self.reader.manifests.read(tenant, last.id, last.sha256)
        except (Damaged, NotFound):
            return None
        self._manifest = manifest
        return manifest

    async def index(self, tenant: str, part: str) -> PartIndex | None:
        """What the newest set has of a partition; None: nothing that can be read."""
        manifest = await self.manifest(tenant)
        ref = None if manifest is None else manifest.part(part)
        if ref is None:
            return None
        held = self._index
        if held is not None and held[0] == ref.index:
            return held[1]
        try:
            index = await self.reader.index(tenant, ref)
        except (Damaged, NotFound):
            return None
        self._index = (ref.index, index)
        return index

    async def changed(self, partition: Partition, index: PartIndex) -> set[str]:
        """The documents of a partition that changed after an index of it was made."""
        changed: set[str] = set()
        async for page in feed(self.records, partition, index.position):
            for record in page.records:
                if record.kind in {DOCUMENT_KIND, VERSION_KIND}:
                    changed.add(record.id.partition(".")[0])
        return changed
