"""MemoryWriteOnce: retained objects in a dictionary."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime

from shared.adapters.memory.blobs import MemoryBlobs
from shared.adapters.retention import first_retention_date, retained, retention_date
from shared.base.buffers import Buffer
from shared.ports.blobs import BlobInfo, BlobStore
from shared.ports.clock import Clock
from shared.ports.write_once import RetainedInfo


@dataclass(slots=True)
class MemoryWriteOnce:
    """A ``WriteOnceStore`` whose objects are gone with the process.

    Attributes:
        clock: Dates the objects, and says which dates have passed.
    """

    clock: Clock
    _blobs: MemoryBlobs = field(init=False)
    _dates: dict[str, datetime] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._blobs = MemoryBlobs(self.clock)

    async def put(
        self, name: str, content: AsyncIterator[Buffer], *, retain_until: datetime
    ) -> int:
        """See ``WriteOnceStore.put``."""
        date = first_retention_date(retain_until, self.clock.now())
        size = await self._blobs.put(name, content)
        self._dates[name] = date  # nothing else runs between the two
        return size

    async def copy_from(
        self, source: BlobStore, source_name: str, name: str, *, retain_until: datetime
    ) -> int:
        """See ``WriteOnceStore.copy_from``."""
        return await self.put(name, source.get(source_name), retain_until=retain_until)

    def get(self, name: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See ``WriteOnceStore.get``."""
        return self._blobs.get(name, start=start, end=end)

    async def head(self, name: str) -> RetainedInfo:
        """See ``WriteOnceStore.head``."""
        return self._dated(await self._blobs.head(name))

    async def list(self, prefix: str = "") -> AsyncIterator[RetainedInfo]:
        """See ``WriteOnceStore.list``."""
        async for info in self._blobs.list(prefix):
            yield self._dated(info)

    async def extend(self, name: str, retain_until: datetime) -> None:
        """See ``WriteOnceStore.extend``."""
        date = retention_date(retain_until, self.clock.now())
        await self._blobs.head(name)
        if date > self.clock.now():
            self._dates[name] = max(date, self._dates[name])

    async def delete(self, name: str) -> None:
        """See ``WriteOnceStore.delete``."""
        date = self._dates.get(name)
        if date is not None and date > self.clock.now():
            raise retained(date)
        await self._blobs.delete(name)
        self._dates.pop(name, None)

    def _dated(self, info: BlobInfo) -> RetainedInfo:
        return RetainedInfo(info.name, info.size, info.modified_at, self._dates[info.name])
