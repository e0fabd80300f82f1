"""Asynchronous streams: cut into pieces, worked on beside the event loop, one step ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

from shared.base.buffers import Buffer

T = TypeVar("T")
PieceT = TypeVar("PieceT", bound=Buffer)

# Below this, changing threads costs more than hashing or sealing.
INLINE_BYTES: Final = 65_536


async def run_in_thread(work: Callable[[PieceT], T], piece: PieceT) -> T:
    """``work(piece)``, in a thread of its own unless the piece is too small to be worth it."""
    if len(piece) < INLINE_BYTES:
        return work(piece)
    return await asyncio.to_thread(work, piece)


async def rechunk(
    chunks: AsyncIterator[Buffer], first: int, later: int
) -> AsyncIterator[tuple[bytearray, bool]]:
    """Cut a stream into pieces of ``first`` and then ``later`` bytes, and say which is the last.

    Every piece but the last is full; there is always a last one, empty only if the stream is.
    """
    piece, wanted = bytearray(), first
    async for chunk in chunks:
        rest = memoryview(chunk)
        while len(piece) + len(rest) > wanted:
            missing = wanted - len(piece)
            piece += rest[:missing]
            rest = rest[missing:]
            yield piece, False
            piece, wanted = bytearray(), later
        piece += rest
    yield piece, True


async def prefetch(items: AsyncIterator[T]) -> AsyncIterator[T]:
    """The same items, each made while the consumer works on the one before."""
    coming = asyncio.ensure_future(anext(items))
    try:
        while True:
            try:
                item = await coming
            except StopAsyncIteration:
                return
            coming = asyncio.ensure_future(anext(items))
            yield item
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
