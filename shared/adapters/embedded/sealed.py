"""SealedBlobs: a blob store whose objects are sealed on disk, for content that arrives in clear.

Each object is sealed in the format of ``shared.crypto.streaming`` under a key of its own:
HKDF-SHA256 (RFC 5869) of the store's key with the object's name as info. The name is the associated
data too. So an object that is renamed on disk does not open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.adapters.checks import check_blob_name, check_range
from shared.adapters.small import read_small
from shared.base.buffers import Buffer
from shared.base.streams import convert_stream, single
from shared.crypto.keys import KEY_SIZE
from shared.crypto.ranges import OpenedRange
from shared.crypto.streaming import HEADER_SIZE, Opener, Sealer, plaintext_size
from shared.ports.blobs import BlobInfo, BlobStore, UploadGrant
from shared.ports.clock import Entropy


class SealedBlobs:
    """A ``BlobStore`` over another one, which sees nothing in clear but names and sizes.

    Sizes and ranges are those of the plaintext. Memory: three segments a stream.

    Args:
        store: Holds the sealed objects.
        key: 32 bytes, from which each object's key is derived.
        entropy: Makes salts and nonces.
    """

    def __init__(self, store: BlobStore, key: bytes, entropy: Entropy) -> None:
        self._store = store
        self._key = key
        self._entropy = entropy

    async def put(self, name: str, content: AsyncIterator[Buffer]) -> int:
        """See ``BlobStore.put``."""
        check_blob_name(name)
        sealer = Sealer(self._object_key(name), name.encode(), self._entropy)
        return plaintext_size(await self._store.put(name, convert_stream(sealer, content)))

    async def put_all(self, contents: Sequence[tuple[str, Buffer]]) -> None:
        """See ``BlobStore.put_all``."""
        for name, content in contents:
            await self.put(name, single(content))

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """See ``BlobStore.get``.

        Raises:
            Damaged: What is stored is not what was put.
        """
        check_range(start, end)
        size = (await self.head(name)).size
        end = size if end is None else min(end, size)
        header = await self._read(name, 0, HEADER_SIZE)
        opener = Opener(self._object_key(name), name.encode(), header)
        opened = OpenedRange(opener, size, min(start, end), end)
        sealed = self._store.get(name, start=opened.sealed_start, end=opened.sealed_end)
        async for plaintext in convert_stream(opened, sealed):
            if plaintext:
                yield bytes(plaintext)

    async def get_all(self, wanted: Sequence[tuple[str, int]]) -> Sequence[bytes | None]:
        """See ``BlobStore.get_all``."""
        return [await read_small(self, name, size) for name, size in wanted]

    async def head(self, name: str) -> BlobInfo:
        """See ``BlobStore.head``.

        Raises:
            Damaged: What is stored has a size that nothing that was put can have.
        """
        return _in_clear(await self._store.head(name))

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See ``BlobStore.list``.

        Raises:
            Damaged: An object has a size that nothing that was put can have.
        """
        async for info in self._store.list(prefix):
            yield _in_clear(info)

    async def delete(self, name: str) -> None:
        """See ``BlobStore.delete``."""
        await self._store.delete(name)

    async def copy_from(self, source: BlobStore, source_name: str, name: str) -> int:
        """See ``BlobStore.copy_from``."""
        return await self.put(name, source.get(source_name))

    async def grant_upload(self, name: str, *, max_size: int, expires_at: datetime) -> UploadGrant:
        """See ``BlobStore.grant_upload``."""
        return await self._store.grant_upload(name, max_size=max_size, expires_at=expires_at)

    async def _read(self, name: str, start: int, end: int) -> bytes:
        pieces = self._store.get(name, start=start, end=end)
        return b"".join([piece async for piece in pieces])

    def _object_key(self, name: str) -> bytes:
        return HKDF(SHA256(), KEY_SIZE, salt=None, info=name.encode()).derive(self._key)


def _in_clear(info: BlobInfo) -> BlobInfo:
    return replace(info, size=plaintext_size(info.size))
