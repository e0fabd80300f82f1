"""MemoryBlobs: objects in a dictionary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from shared.adapters.checks import check_blob_name, check_blob_prefix, check_range
from shared.adapters.small import read_small
from shared.base.buffers import Buffer
from shared.base.errors import Conflict, NotFound
from shared.base.streams import single
from shared.ports.blobs import BlobInfo, BlobStore, UploadGrant
from shared.ports.clock import Clock

_PIECE = 1_048_576


@dataclass(frozen=True, slots=True)
class _Blob:
    content: bytes
    modified_at: datetime


@dataclass(slots=True)
class MemoryBlobs:
    """A ``BlobStore`` whose objects are gone with the process.

    Attributes:
        clock: Dates the objects.
    """

    clock: Clock
    _blobs: dict[str, _Blob] = field(default_factory=dict, init=False)
    _grants: count[int] = field(default_factory=lambda: count(1), init=False)

    async def put(self, name: str, content: AsyncIterator[Buffer]) -> int:
        """See ``BlobStore.put``."""
        check_blob_name(name)
        gathered = bytearray()
        async for chunk in content:
            gathered += chunk
            await asyncio.sleep(0)  # as a real store, it lets others go first
        if name in self._blobs:
            raise Conflict("An object of this name exists.")
        self._blobs[name] = _Blob(bytes(gathered), self.clock.now())
        return len(gathered)

    async def put_all(self, contents: Sequence[tuple[str, Buffer]]) -> None:
        """See ``BlobStore.put_all``."""
        for name, content in contents:
            await self.put(name, single(content))

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """See ``BlobStore.get``."""
        check_range(start, end)
        content = self._blob(name).content
        end = len(content) if end is None else min(end, len(content))
        for at in range(start, end, _PIECE):
            await asyncio.sleep(0)
            yield content[at : min(at + _PIECE, end)]

    async def get_all(self, wanted: Sequence[tuple[str, int]]) -> Sequence[bytes | None]:
        """See ``BlobStore.get_all``."""
        return [await read_small(self, name, size) for name, size in wanted]

    async def head(self, name: str) -> BlobInfo:
        """See ``BlobStore.head``."""
        return self._info(name)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See ``BlobStore.list``."""
        check_blob_prefix(prefix)
        for name in sorted(name for name in self._blobs if name.startswith(prefix)):
            if name in self._blobs:  # not deleted since
                yield self._info(name)

    async def delete(self, name: str) -> None:
        """See ``BlobStore.delete``."""
        check_blob_name(name)
        self._blobs.pop(name, None)

    async def copy_from(self, source: BlobStore, source_name: str, name: str) -> int:
        """See ``BlobStore.copy_from``."""
        return await self.put(name, source.get(source_name))

    async def grant_upload(self, name: str, *, max_size: int, expires_at: datetime) -> UploadGrant:
        """See ``BlobStore.grant_upload``. No server takes what is sent to the URL."""
        check_blob_name(name)
        return UploadGrant(
            url=f"https://memory.invalid/{name}?grant={next(self._grants)}&max={max_size}",
            method="PUT",
            headers={},
            expires_at=expires_at,
        )

    def _info(self, name: str) -> BlobInfo:
        blob = self._blob(name)
        return BlobInfo(name, len(blob.content), blob.modified_at)

    def _blob(self, name: str) -> _Blob:
        check_blob_name(name)
        try:
            return self._blobs[name]
        except KeyError:
            raise NotFound("There is no such object.") from None
