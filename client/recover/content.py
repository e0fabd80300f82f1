"""Fetching, verifying and opening the sealed content of one version."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO, Final

from client.recover.format import KeyFile
from client.recover.source import Source, SourceError
from shared.base.buffers import Buffer
from shared.base.errors import Damaged
from shared.base.streams import convert_stream, prefetch, run_in_thread
from shared.crypto.ranges import OpenedRange
from shared.crypto.streaming import (
    HEADER_SIZE,
    SEGMENT_SIZE,
    Opener,
    Sealer,
    Segment,
    segments,
)

FETCHED_AT_ONCE: Final = 4 * SEGMENT_SIZE
"""Bytes a request. Blocks lie where segments end, as a segment's offset is a multiple of its size."""


class _Digests:
    """The SHA-256 of sealed content and of its plaintext; an ``Observer``."""

    def __init__(self, header: bytes) -> None:
        self._sealed = hashlib.sha256(header)
        self._plain = hashlib.sha256()

    def observe_piece(self, piece: Buffer) -> None:
        """A sealed segment."""
        self._sealed.update(piece)

    def observe_converted(self, converted: Buffer) -> None:
        """Its plaintext."""
        self._plain.update(converted)

    def check(self, key: KeyFile) -> None:
        """Make sure that both are what the key file says.

        Raises:
            Damaged: One is not.
        """
        if self._sealed.hexdigest() != key.sealed_sha256:
            raise Damaged("the sealed content does not have its SHA-256")
        if self._plain.hexdigest() != key.sha256:
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
        async with aclosing(self._blocks(begun)) as blocks:
            first = await anext(blocks)
            header, rest = first[:HEADER_SIZE], first[HEADER_SIZE:]
            opener = self._opener(header)
            digests = _Digests(header)
            if begun:
                await asyncio.to_thread(self._replay, file, begun, header, digests)
                self._count(start)
            file.seek(start)
            file.truncate()
            opened = OpenedRange(opener, self._key.size, start)
            chunks = prefetch(_joined(rest, blocks))
            async for plaintext in convert_stream(opened, chunks, digests):
                await run_in_thread(file.write, plaintext)
                self._count(len(plaintext))
        digests.check(self._key)
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())

    def _opener(self, header: bytes) -> Opener:
        return Opener(self._key.data_key, self._key.associated_data.encode("ascii"), header)

    async def _blocks(self, begun: Segment | None) -> AsyncGenerator[bytes]:
        """The sealed content, of which the first block begins with the header."""
        start, size = 0, self._key.sealed_size
        if begun:
            yield await self._read(0, HEADER_SIZE)
            start = begun.sealed_start
        while start < size:
            end = min(size, start - start % SEGMENT_SIZE + FETCHED_AT_ONCE)
            yield await self._read(start, end)
            start = end

    async def _read(self, start: int, end: int) -> bytes:
        found = await self._source.read(self._key.object, start, end)
        if found.object_size != self._key.sealed_size or len(found.data) != end - start:
            raise Damaged("the content does not have its size")
        return found.data

    def _replay(self, file: BinaryIO, begun: Segment, header: bytes, digests: _Digests) -> None:
        """Put what the file holds before a segment into the digests.

        Sealing it again under the same header gives the same sealed bytes, if it is what was sealed.
        """
        sealer = Sealer(
            self._key.data_key,
            self._key.associated_data.encode("ascii"),
            lambda size: header[1 : 1 + size],
        )
        file.seek(0)
        for segment in segments(self._key.size, 0, begun.plaintext_start):
            piece = file.read(segment.plaintext_end - segment.plaintext_start)
            sealed = sealer.convert(piece, last=False)
            digests.observe_piece(sealed if segment.index else sealed[HEADER_SIZE:])
            digests.observe_converted(piece)

    def _count(self, size: int) -> None:
        self._counted += size
        self._advance(size)


async def _joined(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[Buffer]:
    yield first
    async for each in others:
        yield each
