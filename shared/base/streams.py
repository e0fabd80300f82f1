"""Asynchronous streams: cut into pieces, converted piece by piece, prefetched."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from shared.base.buffers import Buffer

T = TypeVar("T")
BufferT = TypeVar("BufferT", bound=Buffer)

# Below this, changing threads costs more than hashing or sealing.
INLINE_BYTES: Final = 65_536


CHUNK_BYTES: Final = 262_144
"""What a stream of known size gives at a time, where it is iterated."""


async def run_in_thread(work: Callable[[BufferT], T], data: BufferT) -> T:
    """``work(data)``, in a thread of its own unless the data is too small to be worth it."""
    if len(data) < INLINE_BYTES:
        return work(data)
    return await asyncio.to_thread(work, data)


class SizedStream(AsyncIterator[Buffer], ABC):
    """A stream of which it is known how much is to come: whoever takes it has it put into memory of theirs.

    Iterated, it gives the same bytes, in chunks that stay as they are.
    """

    @property
    @abstractmethod
    def left(self) -> int:
        """Bytes that are to come."""

    @abstractmethod
    async def read_into(self, memory: memoryview) -> None:
        """Fill memory with the next bytes.

        Raises:
            Interrupted: The stream ends early.
            ValueError: The memory is larger than what is to come.
        """

    async def __anext__(self) -> Buffer:
        if not self.left:
            raise StopAsyncIteration
        chunk = bytearray(min(self.left, CHUNK_BYTES))
        await self.read_into(memoryview(chunk))
        return chunk


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a stream that was cut anew, and whether the stream ends with it."""

    data: Buffer
    last: bool


def rechunk(
    chunks: AsyncIterator[Buffer], first: int, later: int, *, kept: int = 1
) -> AsyncGenerator[Piece]:
    """Cut a stream into pieces of ``first`` and then ``later`` bytes.

    Every piece but the last is full; there is always a last one, empty only if the stream is. A chunk
    may change once the next one is asked for, unless it is ``bytes``: what lies whole in such a chunk is
    not copied, and nothing is of a ``SizedStream``.

    Args:
        chunks: The stream.
        first: Bytes of the first piece.
        later: Bytes of each later piece.
        kept: How many pieces stay as they are when more are asked for: 2 if the next is prefetched.
    """
    if isinstance(chunks, SizedStream):
        return _fill(chunks, first, later, kept)
    return _cut(chunks, first, later, kept)


async def _fill(stream: SizedStream, first: int, later: int, kept: int) -> AsyncGenerator[Piece]:
    memories = deque([memoryview(bytearray())] * kept)
    wanted = first
    last = False
    while not last:
        size = min(wanted, stream.left)
        if len(memories[0]) < size:
            memories[0] = memoryview(bytearray(min(max(first, later), stream.left)))
        piece = memories[0][:size]
        memories.rotate()
        await stream.read_into(piece)
        last = not stream.left
        wanted = later
        yield Piece(piece, last)


async def _cut(
    chunks: AsyncIterator[Buffer], first: int, later: int, kept: int
) -> AsyncGenerator[Piece]:
    buffers = deque(_PieceBuffer(max(first, later)) for _ in range(kept))
    wanted = first
    async for chunk in chunks:
        rest = memoryview(chunk).cast("B")
        while buffers[0].filled + len(rest) > wanted:
            part = rest[: wanted - buffers[0].filled]
            rest = rest[len(part) :]
            # A read-only view may show memory that changes.
            if buffers[0].filled or not isinstance(chunk, bytes):
                buffers[0].add(part)
                part = buffers[0].take()
                buffers.rotate()
            wanted = later
            yield Piece(part, last=False)
        buffers[0].add(rest)
    yield Piece(buffers[0].take(), last=True)


class _PieceBuffer:
    """Gathers one piece after the other in the same memory."""

    __slots__ = ("_limit", "_memory", "filled")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._memory = memoryview(bytearray())
        self.filled = 0

    def add(self, part: memoryview) -> None:
        end = self.filled + len(part)
        if end > len(self._memory):
            # A small stream does not pay for a whole piece, and a large one does not pay twice.
            size = self._limit if end > self._limit // 4 else max(end, 2 * len(self._memory))
            grown = memoryview(bytearray(size))
            grown[: self.filled] = self._memory[: self.filled]
            self._memory = grown
        self._memory[self.filled : end] = part
        self.filled = end

    def take(self) -> memoryview:
        piece = self._memory[: self.filled]
        self.filled = 0
        return piece


async def prefetch(items: AsyncIterator[T]) -> AsyncGenerator[T]:
    """The same items, each made while the consumer works on the one before. Closes the source, too."""
    source = Source(items)
    try:
        while True:
            try:
                made = [await source.next()]
            except StopAsyncIteration:
                return
            source.begin()
            yield made.pop()  # no name here holds it while the consumer has it
    finally:
        await source.close()


class Source(Generic[T]):
    """A stream whose next item can be made ahead of its use.

    Args:
        items: The stream.
    """

    __slots__ = ("_coming", "_items")

    def __init__(self, items: AsyncIterator[T]) -> None:
        self._items = items
        self._coming: asyncio.Future[T] | None = None

    @property
    def begun(self) -> bool:
        """Whether the next item is being made, or was made."""
        return self._coming is not None

    def begin(self) -> None:
        """Have the next item made."""
        if self._coming is None:
            self._coming = asyncio.ensure_future(anext(self._items))
            # Where the consumer has gone, nobody asks for the error any more, and it is no defect.
            self._coming.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def next(self) -> T:
        """The next item.

        Raises:
            StopAsyncIteration: There is none.
        """
        coming, self._coming = self._coming, None
        try:
            return await (anext(self._items) if coming is None else coming)
        finally:
            del coming  # an error leads here: a cycle, which would hold items until it is collected

    async def close(self) -> None:
        """End what was begun, and the stream."""
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        if isinstance(self._items, AsyncGenerator):
            await self._items.aclose()


class Conversion(Protocol):
    """Turns a stream's pieces, in their order, into others."""

    @property
    def first_size(self) -> int:
        """Bytes of the first piece that it takes."""
        ...

    @property
    def later_size(self) -> int:
        """Bytes of each later piece; the last may be shorter."""
        ...

    def convert(self, piece: Buffer, *, last: bool) -> memoryview:
        """Convert the next piece. The result may change at the next call, unless said otherwise."""
        ...


async def convert_stream(
    conversion: Conversion, chunks: AsyncIterator[Buffer]
) -> AsyncIterator[memoryview]:
    """Convert a whole stream.

    What this yields may change once the next item is asked for, unless ``conversion`` says otherwise.

    Args:
        conversion: A ``Sealer`` or an ``OpenedRange``. It runs on the event loop, because a segment is
            converted in about the time that it takes to change threads.
        chunks: The stream, in chunks of any size.
    """
    async for piece in rechunk(chunks, conversion.first_size, conversion.later_size):
        yield conversion.convert(piece.data, last=piece.last)


async def single(data: Buffer) -> AsyncIterator[Buffer]:
    """A stream of one chunk."""
    yield data


async def hashing(
    chunks: AsyncIterator[BufferT], update: Callable[[BufferT], object]
) -> AsyncIterator[BufferT]:
    """The same chunks, each given to a digest on its way."""
    async for chunk in chunks:
        await run_in_thread(update, chunk)
        yield chunk
