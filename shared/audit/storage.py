"""Where a log's tiles, bundles and checkpoints are kept: objects that nobody changes.

Below a prefix of the log's own lie the objects of C2SP tlog-tiles (https://c2sp.org/tlog-tiles) under
the paths of that specification, but for the lowest tiles before they are full, which follow from their
bundles, and each checkpoint under its size. The store is write-once: what is full is retained for as
long as the log is, what is superseded when its tile is full for days.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.base.errors import Conflict, Damaged, NotFound
from shared.base.streams import single
from shared.crypto.tiles import (
    WIDTH,
    TileError,
    TilePath,
    decode_bundle,
    encode_bundle,
    parse_tile_path,
)
from shared.ports.clock import Runtime
from shared.ports.write_once import RetainedInfo, WriteOnceStore

PARTIAL_RETENTION: Final = timedelta(days=7)
"""How long what is not full cannot be removed: by then it is full, or is retained anew."""

CHECKPOINT_RETENTION: Final = timedelta(days=90)
"""How long a checkpoint cannot be removed. Each later one proves what it proved."""

HASH_BYTES: Final = 32

SIZE_DIGITS: Final = 20
"""Of a checkpoint's name, so that names sort by size."""

LISTED_TOGETHER: Final = 1_000
"""Sizes whose checkpoints one list has at least: a power of ten, and fewer than fit one page."""

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

    async def objects(self, tenant: str, prefix: str) -> AsyncIterator[tuple[TilePath | None, str]]:
        """The tiles and bundles whose paths begin with a text, by path.

        Yields:
            The path, None for an object that is neither tile nor bundle, and as text.
        """
        async for info in self.store.list(object_name(tenant, prefix)):
            name = info.name.removeprefix(object_name(tenant, ""))
            try:
                yield parse_tile_path(name), name
            except TileError:
                yield None, name

    async def checkpoints_between(
        self, tenant: str, first: int, end: int
    ) -> AsyncIterator[tuple[int | None, RetainedInfo]]:
        """The checkpoints of sizes from ``first`` on, below ``end``, from the smallest.

        The cost follows what there is between the two, not how many checkpoints are kept.

        Yields:
            The size, None for an object that is no checkpoint, and what the store knows of it.
        """
        for prefix in prefixes_of_sizes(first, end):
            async for info in self.store.list(object_name(tenant, f"checkpoints/{prefix}")):
                digits = info.name.rpartition("/")[2]
                is_size = len(digits) == SIZE_DIGITS and digits.isdecimal()
                size = int(digits) if is_size else None
                if size is None or first <= size < end:
                    yield size, info

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
    """The name of a checkpoint."""
    return object_name(tenant, checkpoint_path(size))


def checkpoint_path(size: int) -> str:
    """The path of a checkpoint within its log."""
    return f"checkpoints/{size:0{SIZE_DIGITS}d}"


def prefixes_of_sizes(first: int, end: int) -> Iterator[str]:
    """A few beginnings of sizes, in 20 digits, that cover those from ``first`` on, below ``end``.

    Of a short range they cover more, as one list of many objects costs less than many of few.
    """
    first -= first % LISTED_TOGETHER
    end += -end % LISTED_TOGETHER
    digits = len(str(LISTED_TOGETHER)) - 1
    while first < end:
        zeros = digits
        while first % 10 ** (zeros + 1) == 0 and first + 10 ** (zeros + 1) <= end:
            zeros += 1
        yield f"{first:0{SIZE_DIGITS}d}"[: SIZE_DIGITS - zeros]
        first += 10**zeros


def beginning(path: TilePath, content: bytes, width: int) -> bytes:
    """The tile or bundle that this one was when it had ``width`` hashes or entries."""
    if path.level is None:
        return encode_bundle(decode_bundle(content)[:width])
    return content[: width * HASH_BYTES]
