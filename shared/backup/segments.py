"""Segments: records as JSON lines, compressed (RFC 1950), sealed in the streaming form of content.

The key of a segment is random and wrapped by the tenant's intermediate key. What a segment is bound to is
``strongroom/backup-segment/1/{environment}/{tenant}/{id}``.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.backup.models import SegmentLine, SegmentRef, object_name
from shared.base.buffers import Buffer
from shared.base.errors import Damaged
from shared.base.streams import convert_stream, hashing, prefetch
from shared.crypto.binding import bind
from shared.crypto.keys import KEY_SIZE, unwrap_key, wrap_key
from shared.crypto.ranges import OpenedRange
from shared.crypto.streaming import HEADER_SIZE, Opener, Sealer, plaintext_size
from shared.keys.models import IntermediateKey
from shared.ports.clock import Runtime
from shared.ports.write_once import WriteOnceStore

_CHUNK: Final = 262_144
"""Compressed bytes that are gathered before they are sealed."""

_MAX_LINE: Final = 2 << 20
"""Twice the largest record."""


@dataclass(slots=True)
class Segments:
    """Writes and reads segments.

    Attributes:
        store: Where sets are.
        environment: Bound into the encryption.
        runtime: Randomness.
    """

    store: WriteOnceStore
    environment: str
    runtime: Runtime

    async def write(
        self,
        tenant: str,
        lines: AsyncIterator[Sequence[SegmentLine]],
        under: IntermediateKey,
        *,
        after: str | None,
        retain_until: datetime,
    ) -> SegmentRef:
        """Seal records into a new segment; durable on return.

        Args:
            tenant: Whose.
            lines: The records, many at a time; read to the end while the segment is written.
            under: Wraps the segment's key.
            after: The position after which the records come.
            retain_until: Until when it is retained.

        Raises:
            Unavailable: The backup store does not respond.
        """
        new, key = self.runtime.new_id("seg"), self.runtime.random(KEY_SIZE)
        sealer = Sealer(key, self._bound_to(tenant, new), self.runtime.random)
        writing = _Writing()
        sealed = hashing(convert_stream(sealer, writing.compressed(lines)), writing.digest.update)
        name = object_name(tenant, "segments", new)
        size = await self.store.put(name, sealed, retain_until=retain_until)
        return SegmentRef(
            id=new,
            under=under.id,
            wrapped_key=wrap_key(under.key, key),
            after=after,
            records=writing.records,
            size=size,
            sha256=writing.digest.digest(),
        )

    async def read(
        self, tenant: str, segment: SegmentRef, under: IntermediateKey
    ) -> AsyncIterator[Sequence[SegmentLine]]:
        """The records of a segment, many at a time, in the order in which they were written.

        Nothing is given that was not checked; that the segment is whole shows at its end.

        Raises:
            Damaged: It is not what was written.
            NotFound: It is missing.
            Unavailable: The backup store does not respond.
        """
        key = unwrap_key(under.key, segment.wrapped_key)
        name = object_name(tenant, "segments", segment.id)
        header = b"".join([piece async for piece in self.store.get(name, end=HEADER_SIZE)])
        opener = Opener(key, self._bound_to(tenant, segment.id), header)
        opened = OpenedRange(opener, plaintext_size(segment.size))
        digest = hashlib.sha256(header)
        content = hashing(self.store.get(name, start=HEADER_SIZE), digest.update)
        reading = _Reading()
        try:
            async for piece in convert_stream(opened, content):
                yield await asyncio.to_thread(reading.lines, piece)
        except (zlib.error, ValueError):
            raise Damaged("A segment of a backup is not what was written.") from None
        if not reading.ended or not hmac.compare_digest(digest.digest(), segment.sha256):
            raise Damaged("A segment of a backup is not what was written.")

    def _bound_to(self, tenant: str, id: str) -> bytes:
        return bind("backup-segment", self.environment, tenant, id)


class _Reading:
    """The records of a segment while it is read."""

    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj()
        self._rest = b""

    @property
    def ended(self) -> bool:
        """Whether the last line was whole, and nothing was to follow."""
        return self._decompressor.eof and not self._rest

    def lines(self, piece: Buffer) -> Sequence[SegmentLine]:
        """The records that end with the next compressed piece.

        Raises:
            zlib.error, ValueError: It is not what was written.
        """
        *whole, rest = (self._rest + self._decompressor.decompress(piece)).split(b"\n")
        if len(rest) > _MAX_LINE:
            raise ValueError("no record is as long")
        self._rest = rest
        return [SegmentLine.from_json(line) for line in whole]


class _Writing:
    """What is known of a segment once it is written."""

    def __init__(self) -> None:
        self.records = 0
        self.digest = hashlib.sha256()

    async def compressed(
        self, lines: AsyncIterator[Sequence[SegmentLine]]
    ) -> AsyncIterator[Buffer]:
        compressor = zlib.compressobj()

        def compress(some: Sequence[SegmentLine]) -> bytes:
            return compressor.compress(b"".join([line.to_json() + b"\n" for line in some]))

        gathered: list[bytes] = []
        size = 0
        # The next records are read meanwhile.
        async for some in prefetch(lines):
            self.records += len(some)
            gathered.append(await asyncio.to_thread(compress, some))
            size += len(gathered[-1])
            if size >= _CHUNK:
                yield b"".join(gathered)
                gathered, size = [], 0
        yield b"".join([*gathered, compressor.flush()])
