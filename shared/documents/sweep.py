"""The upload sweep: what was begun and not finished is removed.

Three things can be left behind: a granted upload that nobody completed, a staged object whose upload
has ended, and a sealed object whose commit never came because its process died in between. All three are
on the agenda before they come to be, so a sweep's cost follows the uploads.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from shared.base.errors import NotFound
from shared.base.partitions import Partition
from shared.documents.naming import GRACE, swept_prefix
from shared.documents.store import GRANTED
from shared.documents.timing import expiry_due
from shared.documents.uploads import Uploads
from shared.journal.agenda import AgendaItem, Task
from shared.journal.collections import Stored
from shared.ports.blobs import BlobInfo, BlobStore
from shared.ports.clock import Runtime

# As ``object_name`` makes them.
_OBJECT: Final = re.compile(r".*/(?P<document>doc_[0-9a-z]{26})\.(?P<number>[0-9]+)\.[0-9a-f]{16}")

_log = logging.getLogger("strongroom.sweep")


@dataclass(slots=True)
class Sweep:
    """Finds and removes what was left behind.

    Attributes:
        uploads: Ends uploads, and knows the staging store.
        primary: Sealed objects.
        replica: Sealed objects in the second region.
        runtime: Time.
    """

    uploads: Uploads
    primary: BlobStore
    replica: BlobStore
    runtime: Runtime

    async def run(self) -> None:
        """One sweep over what is due."""
        agenda = self.uploads.store.agenda
        async for item in agenda.due(Task.EXPIRE_UPLOADS):
            await self._expire(Partition.parse(item.value.partition))
            await agenda.remove(Task.EXPIRE_UPLOADS, [item])
        removed = 0
        async for item in agenda.due(Task.SWEEP_OBJECTS):
            removed += await self._sweep(item)
        if removed:
            _log.info("removed %d objects that no record names", removed)

    async def _expire(self, partition: Partition) -> None:
        store = self.uploads.store
        async for stored in store.uploads.scan(partition, where=GRANTED):
            if stored.value.expires_at <= self.runtime.now():
                await self.uploads.expire(stored)
            else:
                # An upgrade puts all uploads of a partition on the agenda at once.
                due = expiry_due(stored.value.expires_at)
                await store.agenda.add(Task.EXPIRE_UPLOADS, partition, due)

    async def _sweep(self, item: Stored[AgendaItem]) -> int:
        """Remove the orphans among the objects of an item, and the item once all were old enough."""
        partition = Partition.parse(item.value.partition)
        prefix = swept_prefix(partition, item.value.due)
        stores = (
            (self.primary, self._named),
            (self.replica, self._named),
            (self.uploads.staging, self._awaited),
        )
        removed, young = 0, False
        for store, wanted in stores:
            found = await self._sweep_store(store, wanted, partition.tenant, prefix)
            removed += found.removed
            young = young or found.young
        if not young:
            await self.uploads.store.agenda.remove(Task.SWEEP_OBJECTS, [item])
        return removed

    async def _sweep_store(
        self,
        store: BlobStore,
        wanted: Callable[[str, BlobInfo], Awaitable[bool]],
        tenant: str,
        prefix: str,
    ) -> _Swept:
        removed, young = 0, False
        async for blob in store.list(prefix):
            if await wanted(tenant, blob):
                continue
            if blob.modified_at > self.runtime.now() - GRACE:
                young = True  # its commit may be under way
                continue
            await store.delete(blob.name)
            removed += 1
        return _Swept(removed, young)

    async def _named(self, tenant: str, blob: BlobInfo) -> bool:
        """Whether a version names this object as its own, in the primary store or as its replica."""
        form = _OBJECT.fullmatch(blob.name)
        if form is None:
            return False  # nothing of ours has such a name, so no record can hold it
        store = self.uploads.store
        found = await store.find_version(tenant, form["document"], int(form["number"]))
        return found is not None and blob.name in {found.version.object, found.version.replica}

    async def _awaited(self, tenant: str, blob: BlobInfo) -> bool:
        """Whether an upload that has not ended names this object."""
        try:
            stored = await self.uploads.store.upload(tenant, blob.name.rsplit("/", 1)[1])
        except NotFound:
            return False
        return not stored.value.ended


@dataclass(frozen=True, slots=True)
class _Swept:
    """How many objects were removed, and whether there are unnamed ones too young to remove."""

    removed: int
    young: bool
