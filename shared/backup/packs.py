"""Packs: the sealed content of versions, one after another, written once and checked on its way.

Content is taken from whichever copy is what was sealed. Versions share a pack, because an object for each
costs more than its content.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.backup.models import PackRef, object_name
from shared.backup.state import Location
from shared.base.buffers import Buffer
from shared.base.errors import Damaged, NotFound
from shared.base.streams import hashing, prefetch
from shared.crypto.streaming import sealed_size
from shared.documents.models import Version
from shared.ports.blobs import BlobStore
from shared.ports.clock import Runtime
from shared.ports.write_once import WriteOnceStore

MAX_BYTES: Final = 64 << 20
"""A pack takes versions until it has so many bytes."""

MAX_CONTENTS: Final = 1_000

SMALL: Final = 1 << 20
"""Sealed content up to this size, bytes, is read whole before it is written."""

READ_BYTES: Final = 4 << 20
"""Small versions of so many bytes are read together, while those before are written."""

COPIES: Final = 2
"""Copies that a version has at most."""


@dataclass(frozen=True, slots=True)
class Content:
    """A version of a document whose content is to be backed up."""

    document: str
    version: Version

    @property
    def size(self) -> int:
        """Of the sealed content, bytes."""
        return sealed_size(self.version.size)


@dataclass(frozen=True, slots=True)
class Packed:
    """What became of versions that were to be packed.

    Attributes:
        pack: The pack; None: no version had a good copy.
        locations: Of those that it holds.
        damaged: Those that were good in no store.
    """

    pack: PackRef | None
    locations: Sequence[Location]
    damaged: Sequence[Content]


@dataclass(slots=True)
class Packs:
    """Writes packs.

    Attributes:
        store: Where sets are.
        primary: Sealed content.
        replica: Sealed content in the second region, which is nearer.
        runtime: Makes ids.
    """

    store: WriteOnceStore
    primary: BlobStore
    replica: BlobStore
    runtime: Runtime

    async def write(
        self, tenant: str, contents: Sequence[Content], page: str, retain_until: datetime
    ) -> Packed:
        """Write one pack; durable on return.

        Args:
            tenant: Whose.
            contents: Of which versions, at most ``MAX_CONTENTS``.
            page: The key page that their locations are to name.
            retain_until: Until when the pack is retained.

        Raises:
            Unavailable: A store does not respond.
        """
        new = self.runtime.new_id("pck")
        packing = _Packing(self.primary, self.replica, new, page)
        name = object_name(tenant, "packs", new)
        await self.store.put(name, packing.stream(contents), retain_until=retain_until)
        if not packing.locations:
            return Packed(None, (), packing.damaged)
        pack = PackRef(id=new, size=packing.size, live=len(packing.locations))
        return Packed(pack, packing.locations, packing.damaged)


class _Packing:
    """One pack while it is written."""

    def __init__(self, primary: BlobStore, replica: BlobStore, pack: str, page: str) -> None:
        self.primary = primary
        self.replica = replica
        self.pack = pack
        self.page = page
        self.size = 0
        self.locations: list[Location] = []
        self.damaged: list[Content] = []

    async def stream(self, contents: Sequence[Content]) -> AsyncIterator[Buffer]:
        small = [content for content in contents if content.size <= SMALL]
        async for batch in prefetch(self._batches(small)):
            for content in batch.sound:
                self._locate(content, self.size)
                self.size += content.size
            self.damaged += batch.damaged
            yield batch.sealed
        for content in contents:
            if content.size > SMALL:
                async for piece in self._large(content):
                    yield piece
                    self.size += len(piece)

    async def _batches(self, contents: Sequence[Content]) -> AsyncIterator[_Batch]:
        """Small versions, each from a copy that is what was sealed, if there is one."""
        for batch in _cut(contents):
            yield await self._batch(batch)

    async def _batch(self, contents: Sequence[Content]) -> _Batch:
        """Read small versions together."""
        found: list[bytes | None] = [None] * len(contents)
        for copy in range(COPIES):
            left = [n for n, sealed in enumerate(found) if sealed is None]
            if not left:
                break
            again = [contents[n] for n in left]
            read = await self._read(copy, again)
            # Together, because changing threads costs as much as hashing one of them.
            good = await asyncio.to_thread(_good_ones, again, read)
            for n, sealed in zip(left, good, strict=True):
                found[n] = sealed
        return await asyncio.to_thread(_joined, contents, found)

    async def _read(self, copy: int, contents: Sequence[Content]) -> Sequence[bytes | None]:
        """What a copy of each small version is; None: there is none, or it cannot be read."""
        found: list[bytes | None] = [None] * len(contents)
        copies = [self._copies(content)[copy : copy + 1] for content in contents]
        for store in (self.replica, self.primary):
            wanted = {
                number: (name, content.size + 1)
                for number, content in enumerate(contents)
                for place, name in copies[number]
                if place is store
            }
            read = await store.get_all(list(wanted.values()))
            for number, data in zip(wanted, read, strict=True):
                found[number] = data
        return found

    async def _large(self, content: Content) -> AsyncIterator[Buffer]:
        """A large version; what a bad copy gave first stays in the pack, and no location names it."""
        for store, name in self._copies(content):
            check, size = content.version.sealed_digest.check(), 0
            try:
                async for piece in hashing(store.get(name, end=content.size + 1), check.update):
                    size += len(piece)
                    yield piece
            except (Damaged, NotFound):
                continue
            if check.passed:
                self._locate(content, self.size - size)
                return
        self.damaged.append(content)

    def _locate(self, content: Content, offset: int) -> None:
        """Note where a version's content begins."""
        self.locations.append(
            Location(
                document=content.document,
                number=content.version.number,
                pack=self.pack,
                offset=offset,
                size=content.size,
                page=self.page,
            )
        )

    def _copies(self, content: Content) -> list[tuple[BlobStore, str]]:
        copies = [(self.primary, content.version.object)]
        if content.version.replica is not None:
            copies.insert(0, (self.replica, content.version.replica))
        return copies


@dataclass(frozen=True, slots=True)
class _Batch:
    """Small versions that were read together.

    Attributes:
        sound: Those that are what was sealed.
        sealed: The content of these, one after another.
        damaged: Those that were good in no store.
    """

    sound: Sequence[Content]
    sealed: bytes
    damaged: Sequence[Content]


def _cut(contents: Sequence[Content]) -> Iterator[Sequence[Content]]:
    """Contents in batches of at least ``READ_BYTES``, but for the last."""
    batch: list[Content] = []
    size = 0
    for content in contents:
        batch.append(content)
        size += content.size
        if size >= READ_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _joined(contents: Sequence[Content], found: Sequence[bytes | None]) -> _Batch:
    pairs = list(zip(contents, found, strict=True))
    return _Batch(
        [content for content, sealed in pairs if sealed is not None],
        b"".join(sealed for sealed in found if sealed is not None),
        [content for content, sealed in pairs if sealed is None],
    )


def _good_ones(contents: Sequence[Content], read: Sequence[bytes | None]) -> Sequence[bytes | None]:
    """What was read where it is what was sealed."""
    return [
        data if data is not None and content.version.sealed_digest.matches(data) else None
        for content, data in zip(contents, read, strict=True)
    ]
