"""ScratchBlobs: takes objects and keeps nothing of them but their sizes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from shared.adapters.memory.blobs import MemoryBlobs
from shared.base.buffers import Buffer
from shared.base.errors import NotFound
from shared.ports.blobs import BlobInfo
from shared.ports.clock import Clock


class ScratchBlobs(MemoryBlobs):
    """A ``BlobStore`` for drills: content of any size goes in, and only ``head`` tells of it.

    Whoever puts checks the content on its way, so that nothing is lost by not keeping it.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._sizes: dict[str, int] = {}

    async def put(self, name: str, content: AsyncIterator[Buffer]) -> int:
        """See ``BlobStore.put``; every name is free, as each is random."""
        size = 0
        async for chunk in content:
            size += len(chunk)
        self._sizes[name] = size
        return size

    async def head(self, name: str) -> BlobInfo:
        """See ``BlobStore.head``."""
        if name not in self._sizes:
            raise NotFound("There is no such object.")
        return BlobInfo(name, self._sizes[name], self.clock.now())
