"""Fetching, verifying and opening the sealed content of one version."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Final

from client.recover.format import KeyFile
from client.recover.source import Source, SourceError
from shared.base.errors import Damaged
from shared.base.streams import run_in_thread
from shared.crypto.streaming import HEADER_SIZE, SEGMENT_SIZE, Opener, Sealer, Segment, segments

SEGMENTS_AT_ONCE: Final = 4
"""How many segments a request asks for."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Sealed bytes from an offset on, and the segments in them."""

    start: int
    data: bytes
    segments: list[Segment]


class _OpenedContent:
    """Opens the segments of content in their order, writes them, and takes the digests of both forms."""

    def __init__(self, key: KeyFile, header: bytes, file: BinaryIO) -> None:
        self._key = key
        self._bound_to = key.associated_data.encode("ascii")
        self._header = header
        self._opener = Opener(key.data_key, self._bound_to, header)
        self._sealed = hashlib.sha256(header)
        self._plain = hashlib.sha256()
        self._file = file
        self._out = memoryview(bytearray(min(SEGMENT_SIZE, key.size)))

    def replay(self, end: int) -> None:
        """Take the digests of what the file holds, up to where a segment begins.

        Sealing it again under the same header gives the same sealed bytes, if it is what was sealed.
        They go nowhere but into the digest.
        """
        sealer = Sealer(self._key.data_key, self._bound_to, lambda size: self._header[1 : 1 + size])
        self._file.seek(0)
        for segment in segments(self._key.size, 0, end):
            plaintext = self._file.read(segment.plaintext_end - segment.plaintext_start)
            sealed = sealer.convert(plaintext, last=False)
            self._sealed.update(sealed if segment.index else sealed[HEADER_SIZE:])
            self._plain.update(plaintext)

    def open(self, block: _Block) -> None:
        """Open and write a block.

        Raises:
            Damaged: A segment is not what was sealed.
        """
        data = memoryview(block.data)
        for segment in block.segments:
            sealed = data[segment.sealed_start - block.start : segment.sealed_end - block.start]
            size = self._opener.open_segment(segment.index, sealed, self._out, last=segment.last)
            plaintext = self._out[:size]
            self._sealed.update(sealed)
            self._plain.update(plaintext)
            self._file.write(plaintext)

    def check(self) -> None:
        """Make sure that the digests are what the key file says.

        Raises:
            Damaged: One is not.
        """
        if self._sealed.hexdigest() != self._key.sealed_sha256:
            raise Damaged("the sealed content does not have its SHA-256")
        if self._plain.hexdigest() != self._key.sha256:
            raise Damaged("the content does not have its SHA-256")


class ContentFetcher:
    """Fetches the content of one version into a file; what an earlier run wrote there is used.

    Args:
        source: The target.
        key: What opens the content.
        path: The file, for this user alone. It stays if fetching is interrupted.
        advance: Is told how many bytes of plaintext came.
    """

    def __init__(
        self, source: Source, key: KeyFile, path: Path, advance: Callable[[int], None]
    ) -> None:
        self._source = source
        self._key = key
        self._path = path
        self._advance = advance
        self._counted = 0

    async def fetch(self) -> None:
        """Fetch, verify and write it. It is on the disk at the end.

        Raises:
            Damaged: The content is not what the key file says; the file is removed.
            SourceError: It cannot be read.
            OSError: The file cannot be written.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            begun = self._last_begun(os.fstat(descriptor).st_size)
            if begun is not None:
                try:
                    await self._fetch_from(file, begun)
                    return
                except Damaged:
                    self._count(-self._counted)  # what was there may be to blame
            try:
                await self._fetch_from(file, None)
            except Damaged:
                self._path.unlink()
                self._count(-self._counted)
                raise
            except SourceError:
                if not os.fstat(descriptor).st_size:
                    self._path.unlink()
                raise

    def _last_begun(self, size: int) -> Segment | None:
        """The segment in which a file of this size ends, unless it is the first."""
        if not 0 < size <= self._key.size:
            return None
        last = next(segments(self._key.size, size - 1, size))
        return last if last.index else None

    async def _fetch_from(self, file: BinaryIO, begun: Segment | None) -> None:
        start = begun.plaintext_start if begun else 0
        header = await self._read(0, HEADER_SIZE) if begun else b""
        async with aclosing(self._blocks(start)) as blocks:
            first = await anext(blocks)
            header = header or first.data[:HEADER_SIZE]
            content = _OpenedContent(self._key, header, file)
            if begun:
                await asyncio.to_thread(content.replay, start)
                self._count(start)
            file.seek(start)
            file.truncate()
            await self._open(content, first)
            async for block in blocks:
                await self._open(content, block)
        content.check()
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())

    async def _open(self, content: _OpenedContent, block: _Block) -> None:
        # In a thread, while the next block arrives; hashing and opening release the GIL.
        await run_in_thread(lambda _: content.open(block), block.data)
        self._count(block.segments[-1].plaintext_end - block.segments[0].plaintext_start)

    async def _blocks(self, start: int) -> AsyncGenerator[_Block]:
        """The sealed content from a segment on, each block fetched while the one before is opened."""
        groups = (
            list(group)
            for _, group in groupby(
                segments(self._key.size, start), lambda segment: segment.index // SEGMENTS_AT_ONCE
            )
        )
        coming: asyncio.Task[_Block] | None = None
        try:
            for group in groups:
                arrived = await coming if coming else None
                coming = asyncio.create_task(self._read_block(group))
                if arrived:
                    yield arrived
            if coming:
                yield await coming
        finally:
            if coming:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

    async def _read_block(self, group: list[Segment]) -> _Block:
        start = group[0].sealed_start if group[0].index else 0  # the header comes first
        return _Block(start, await self._read(start, group[-1].sealed_end), group)

    async def _read(self, start: int, end: int) -> bytes:
        found = await self._source.read(self._key.object, start, end)
        if found.object_size != self._key.sealed_size or len(found.data) != end - start:
            raise Damaged("the content does not have its size")
        return found.data

    def _count(self, size: int) -> None:
        self._counted += size
        self._advance(size)
