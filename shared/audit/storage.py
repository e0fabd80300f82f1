"""Where a log's tiles, bundles and checkpoints are kept: objects that nobody changes.

Below a prefix of the log's own lie the objects of C2SP tlog-tiles (https://c2sp.org/tlog-tiles) under
the paths of that specification, but for the lowest tiles before they are full, which follow from their
bundles, and each checkpoint under its size. The store is write-once: what is full is retained for as
long as the log is, what is superseded when its tile is full for days.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.base.errors import Conflict, Damaged, NotFound
from shared.base.streams import single
from shared.crypto.merkle import leaf_hash
from shared.crypto.tiles import WIDTH, TilePath, decode_bundle, encode_bundle
from shared.ports.clock import Runtime
from shared.ports.write_once import RetainedInfo, WriteOnceStore

PARTIAL_RETENTION: Final = timedelta(days=7)
"""How long what is not full cannot be removed: by then it is full, or is retained anew."""

CHECKPOINT_RETENTION: Final = timedelta(days=90)
"""How long a checkpoint cannot be removed. Each later one proves what it proved."""

HASH_BYTES: Final = 32

_log = logging.getLogger("strongroom.audit")


@dataclass(frozen=True, slots=True)
class LogStore:
    """The objects of all logs.

    Attributes:
        store: Where they are.
        retention: How long what is full is retained.
        runtime: Time.
    """

    store: WriteOnceStore
    retention: timedelta
    runtime: Runtime

    async def write_tile(self, tenant: str, path: TilePath, content: bytes) -> None:
        """Create a tile or bundle; where it exists it must be the same.

        Raises:
            Damaged: Another one is there.
            Unavailable: The store does not respond.
        """
        retention = self.retention if path.width == WIDTH else PARTIAL_RETENTION
        await self._create(object_name(tenant, str(path)), content, retention)

    async def read_tile(self, tenant: str, path: TilePath) -> bytes:
        """A tile or bundle; a part that is not there any more comes from the full one.

        Raises:
            NotFound: There is none.
            Damaged: It is not as large as its path says.
            Unavailable: The store does not respond.
        """
        if path.level == 0 and path.width < WIDTH:
            # Until it is full it is not kept: it follows from the bundle, which is.
            entries = decode_bundle(
                await self.read_tile(tenant, TilePath(None, path.index, path.width))
            )
            return b"".join(map(leaf_hash, entries))
        try:
            content = await self._read(object_name(tenant, str(path)))
        except NotFound:
            if path.width == WIDTH:
                raise
            full = TilePath(path.level, path.index, WIDTH)
            content = beginning(full, await self._read(object_name(tenant, str(full))), path.width)
        if path.level is not None and len(content) != path.width * HASH_BYTES:
            raise Damaged(f"The tile {path} of a log does not have {path.width} hashes.")
        return content

    async def write_checkpoint(self, tenant: str, size: int, note: bytes) -> bytes:
        """Keep a checkpoint; the one that is there for this size, perhaps another process's.

        Raises:
            Unavailable: The store does not respond.
        """
        name = checkpoint_name(tenant, size)
        until = self.runtime.now() + CHECKPOINT_RETENTION
        try:
            await self.store.put(name, single(note), retain_until=until)
        except Conflict:
            return await self._read(name)
        return note

    async def read_checkpoint(self, tenant: str, size: int) -> bytes:
        """The checkpoint of a size.

        Raises:
            NotFound: There is none.
            Unavailable: The store does not respond.
        """
        return await self._read(checkpoint_name(tenant, size))

    async def checkpoint_sizes(self, tenant: str) -> AsyncIterator[int]:
        """The sizes of the checkpoints that are kept, from the smallest."""
        async for info in self.store.list(f"{tenant}/checkpoints/"):
            yield int(info.name.rpartition("/")[2])

    def partials(self, tenant: str, path: TilePath) -> AsyncIterator[RetainedInfo]:
        """What is kept of a tile from before it was full."""
        full = TilePath(path.level, path.index, WIDTH)
        return self.store.list(object_name(tenant, f"{full}.p/"))

    async def _create(self, name: str, content: bytes, retention: timedelta) -> None:
        try:
            await self.store.put(name, single(content), retain_until=self.runtime.now() + retention)
        except Conflict:
            if await self._read(name) != content:
                # The operators' alert looks for this line.
                _log.error("audit.difference in %s", name)
                raise Damaged("The audit log holds another object in this place.") from None

    async def _read(self, name: str) -> bytes:
        return b"".join([piece async for piece in self.store.get(name)])


def object_name(tenant: str, path: str) -> str:
    """The name of an object of a log."""
    return f"{tenant}/{path}"


def checkpoint_name(tenant: str, size: int) -> str:
    """The name of a checkpoint; names sort by size."""
    return object_name(tenant, f"checkpoints/{size:020d}")


def beginning(path: TilePath, content: bytes, width: int) -> bytes:
    """The tile or bundle that this one was when it had ``width`` hashes or entries."""
    if path.level is None:
        return encode_bundle(decode_bundle(content)[:width])
    return content[: width * HASH_BYTES]
