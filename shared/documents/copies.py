"""The copies of content, read as one: each segment comes from a copy in which it is authentic."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from shared.base.buffers import Reused
from shared.base.errors import Damaged, NotFound, StrongroomError, Unavailable
from shared.base.pipelines import Lane, Result
from shared.base.streams import Source
from shared.crypto.streaming import HEADER_SIZE, SEGMENT_SIZE, TAG_SIZE, Opener, Segment
from shared.documents.models import Place
from shared.ports.blobs import BlobStore

KEPT_SEGMENTS: Final = 3
"""In clear: while one is sent the next one waits, and the one after it is opened."""

AHEAD_BYTES: Final = 2 * SEGMENT_SIZE
"""After a piece that is no larger one more is read ahead; a larger one serves the next segments, too."""

DamageReport = Callable[[Place, str], Awaitable[str]]
"""Called with a place and the object there that is damaged or missing; returns the object that the record
names there now. If that is another one, the first was replaced, which is no damage."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An authentic segment as it was sealed, and in clear."""

    sealed: memoryview
    plaintext: memoryview


class Copies:
    """The copies of content, read as one.

    Args:
        copies: In the order in which to read them.
        data_key: Of the content.
        bound_to: The content's associated data.
        on_damage: Called whenever a copy is damaged or missing; if its object was replaced, the new one
            is read.
    """

    def __init__(
        self,
        copies: list[Copy],
        data_key: bytes,
        bound_to: bytes,
        on_damage: DamageReport,
    ) -> None:
        self._copies = copies
        self._data_key = data_key
        self._bound_to = bound_to
        self._on_damage = on_damage
        self._opener: Opener | None = None
        self._memory = Reused(KEPT_SEGMENTS)

    @property
    def header(self) -> bytes:
        """The content's header, once it has opened a segment.

        Raises:
            ValueError: No segment was opened yet.
        """
        if self._opener is None:
            raise ValueError("no segment was opened yet")
        return self._opener.header

    async def open(self, segment: Segment) -> Opened:
        """The segment from the first copy that has it; that copy is read first from then on.

        Raises:
            Damaged: It is authentic in no copy.
            NotFound: The document was concurrently deleted.
            Unavailable: It is authentic in no copy that can be read, and a store does not respond.
        """
        unavailable: Unavailable | None = None
        waiting = list(self._copies)
        while waiting:
            copy = waiting.pop(0)
            try:
                return await self._open(copy, segment)
            except (Damaged, NotFound):
                if await self._replaced(copy):
                    waiting.insert(0, copy)
                    continue
            except Unavailable as error:
                unavailable = error
            await copy.close()
            self._copies.remove(copy)
            self._copies.append(copy)
        if unavailable is not None:
            raise unavailable
        raise Damaged("Every copy of this content is damaged; the operator has been notified.")

    async def open_all(
        self, wanted: Iterable[Segment]
    ) -> AsyncGenerator[tuple[Segment, memoryview]]:
        """Segments in clear, in their order; while one is used the next is opened in a thread.

        Raises:
            Damaged: As ``open``.
            NotFound: As ``open``.
            Unavailable: As ``open``.
        """
        lane = Lane()
        coming: deque[tuple[Segment, asyncio.Future[memoryview] | None]] = deque()
        try:
            for segment in wanted:
                if not self._copies[0].has(segment):
                    # Another piece is read, and what uses the one before lets go of it first.
                    begun = [opening for _, opening in coming if opening is not None]
                    await asyncio.gather(*begun, return_exceptions=True)
                coming.append((segment, await self._begin(lane, segment)))
                if len(coming) > 1:
                    yield await self._ended(*coming.popleft())
            while coming:
                yield await self._ended(*coming.popleft())
        finally:
            lane.close()

    async def close(self) -> None:
        """Stop reading from the stores."""
        for copy in self._copies:
            await copy.close()

    async def _begin(self, lane: Lane, segment: Segment) -> asyncio.Future[memoryview] | None:
        """Have a segment opened as the first copy has it; None: that cannot even begin."""
        if self._opener is None:
            return None
        try:
            sealed = await self._copies[0].read(segment)
        except StrongroomError:
            return None  # ``open`` finds out what is to be done about it
        result = Result(1)
        lane.start(self._opening(self._opener, segment, sealed), result)
        return result.future

    async def _ended(
        self, segment: Segment, begun: asyncio.Future[memoryview] | None
    ) -> tuple[Segment, memoryview]:
        """A segment in clear, from wherever it is authentic if what was begun has not succeeded."""
        if begun is not None:
            with suppress(Damaged):
                plaintext = await begun
                self._copies[0].read_ahead()  # the piece that it lay in may be free now
                return segment, plaintext
        return segment, (await self.open(segment)).plaintext

    async def _open(self, copy: Copy, segment: Segment) -> Opened:
        """The segment as this copy has it.

        A header that an authentic segment has proven right serves for every copy. Until then the
        copy's own is tried, then those of the others: its segments may be good where it is not.
        """
        if self._opener is not None:
            sealed = await copy.read(segment)
            copy.read_ahead()
            return Opened(sealed, self._opening(self._opener, segment, sealed)())
        await copy.read_header(segment)
        sealed = await copy.read(segment)
        copy.read_ahead()
        for source in (copy, *(each for each in self._copies if each is not copy)):
            try:
                header = await source.read_header(segment)
                opener = Opener(self._data_key, self._bound_to, header)
                opened = Opened(sealed, self._opening(opener, segment, sealed)())
            except (Damaged, NotFound, Unavailable):
                continue
            if source is not copy:
                await self._replaced(copy)
            self._opener = opener
            return opened
        raise Damaged("The segment is authentic under no copy's header.")

    def _opening(
        self, opener: Opener, segment: Segment, sealed: memoryview
    ) -> Callable[[], memoryview]:
        """What opens a segment, in any thread: it returns the plaintext, or raises ``Damaged``."""
        # Not the same memory each time: the connection holds what it has not sent yet.
        plaintext = self._memory.take(len(sealed) - TAG_SIZE)
        return partial(_in_clear, opener, segment, sealed, plaintext)

    async def _replaced(self, copy: Copy) -> bool:
        """Whether the object of a copy that failed was replaced; the new one is read from then on."""
        name = await self._on_damage(copy.place, copy.name)
        if name == copy.name:
            return False
        await copy.follow(name)
        return True


@dataclass(slots=True)
class Copy:
    """Reads one copy, in one request as long as each segment follows the one before.

    Attributes:
        place: Which copy it is.
        store: Where it is.
        name: Its name there.
        until: Offset in the sealed content after the last byte that will be needed.
    """

    place: Place
    store: BlobStore
    name: str
    until: int
    _header: bytes | None = None
    _stream: Source[bytes] | None = None
    _position: int = 0
    _piece_size: int = 0
    _rest: memoryview = field(default_factory=lambda: memoryview(b""))

    async def read_header(self, before: Segment) -> bytes:
        """Its header, in one request with the segment that will be read next, if that follows.

        Raises:
            Damaged: The copy is shorter than a header.
            NotFound: The object does not exist.
            Unavailable: The store does not respond.
        """
        if self._header is None:
            until = self.until if before.index == 0 else HEADER_SIZE
            self._header = bytes(await self._read(0, HEADER_SIZE, until))
        return self._header

    async def read(self, segment: Segment) -> memoryview:
        """A segment as it is stored.

        Raises:
            Damaged: The copy ends before the segment does.
            NotFound: The object does not exist.
            Unavailable: The store does not respond.
        """
        return await self._read(segment.sealed_start, segment.sealed_end, self.until)

    def has(self, segment: Segment) -> bool:
        """Whether a segment lies in the piece that was read last, or in the one that is read ahead."""
        if self._stream is None or self._position != segment.sealed_start:
            return False
        return self._stream.begun or len(self._rest) >= segment.sealed_end - segment.sealed_start

    def read_ahead(self) -> None:
        """Have the next piece read, if there is one and the last was not larger than ``AHEAD_BYTES``."""
        more = self._position + len(self._rest) < self.until
        if self._stream is not None and more and self._piece_size <= AHEAD_BYTES:
            self._stream.begin()

    async def follow(self, name: str) -> None:
        """Read another object from now on."""
        await self.close()
        self.name = name
        self._header = None

    async def close(self) -> None:
        """Stop reading from the store; the next read begins anew."""
        stream, self._stream, self._rest = self._stream, None, memoryview(b"")
        if stream is not None:
            await stream.close()

    async def _read(self, start: int, end: int, until: int) -> memoryview:
        if self._stream is None or self._position != start:
            await self.close()
            self._stream = Source(self.store.get(self.name, start=start, end=until))
        size = end - start
        gathered = self._rest
        try:
            while len(gathered) < size:
                piece = await self._stream.next()
                self._piece_size = len(piece)
                gathered = memoryview(b"".join((gathered, piece)) if gathered else piece)
        except StopAsyncIteration:
            await self.close()
            raise Damaged("The copy is shorter than what was sealed.") from None
        except StrongroomError:
            await self.close()
            raise
        # An empty slice would hold the whole piece.
        self._rest = gathered[size:] if len(gathered) > size else memoryview(b"")
        self._position = end
        return gathered[:size]


def _in_clear(
    opener: Opener, segment: Segment, sealed: memoryview, plaintext: memoryview
) -> memoryview:
    opener.open_segment(segment.index, sealed, plaintext, last=segment.last)
    return plaintext
