"""Whole content sealed and opened in one go, by the code that uploads and staged content run through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import TypeVar

from shared.base.buffers import Buffer
from shared.base.streams import convert_stream
from shared.crypto.ranges import OpenedRange
from shared.crypto.streaming import HEADER_SIZE, Opener, Sealer, plaintext_size

T = TypeVar("T")

_runner = asyncio.Runner()


def run(work: Coroutine[object, object, T]) -> T:
    """Run it in one event loop that all synchronous tests share."""
    return _runner.run(work)


async def stream(buffers: Iterable[Buffer]) -> AsyncIterator[Buffer]:
    """The buffers, as they arrive."""
    for buffer in buffers:
        yield buffer


def seal(
    key: bytes, bound_to: bytes, plaintext: Iterable[Buffer], entropy: Callable[[int], bytes]
) -> bytes:
    """The sealed form of content that arrives in buffers."""
    return run(_joined(convert_stream(Sealer(key, bound_to, entropy), stream(plaintext))))


def open_sealed(key: bytes, bound_to: bytes, sealed: Buffer, cut: int | None = None) -> bytes:
    """The plaintext of sealed content that arrives in chunks of ``cut`` bytes, or in one.

    Raises:
        Damaged: It is not what was sealed under this key for this associated data.
    """
    return run(_joined(opened(key, bound_to, sealed, cut)))


async def opened(
    key: bytes, bound_to: bytes, sealed: Buffer, cut: int | None = None
) -> AsyncIterator[memoryview]:
    """The same, piece by piece."""
    size = plaintext_size(len(sealed))
    whole = OpenedRange(Opener(key, bound_to, sealed[:HEADER_SIZE]), size)
    view = memoryview(sealed)[HEADER_SIZE:]
    step = cut or max(1, len(view))
    chunks = (view[start : start + step] for start in range(0, len(view), step))
    async for piece in convert_stream(whole, stream(chunks)):
        yield piece


async def _joined(pieces: AsyncIterator[Buffer]) -> bytes:
    return b"".join([bytes(piece) async for piece in pieces])
