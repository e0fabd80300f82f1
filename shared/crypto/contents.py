"""Whole contents in one pass: sealed and opened as their buffers come, in constant memory.

The format and its segments are those of ``shared.crypto.streaming``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from shared.base.buffers import Buffer, Rechunker
from shared.crypto.streaming import (
    FIRST_SEGMENT_PLAINTEXT,
    HEADER_SIZE,
    SEGMENT_PLAINTEXT,
    SEGMENT_SIZE,
    TAG_SIZE,
    Opener,
    Sealer,
)


class StreamSealer:
    """Seals one content that arrives in buffers of any size, in constant memory.

    Buffers of several MiB are best: only what lies across the border of two buffers is copied. The
    sealed content is everything that ``update`` yields and then what ``finalize`` returns. Each
    view is valid until the next is asked for: copy what must be kept.

    Args:
        key: The content's data key, 32 bytes, used for this content alone.
        associated_data: What the content is bound to; opening it takes the same bytes.
        entropy: Cryptographically secure random bytes.
    """

    __slots__ = ("_out", "_pieces", "_sealer", "_start")

    def __init__(self, key: bytes, associated_data: bytes, entropy: Callable[[int], bytes]) -> None:
        self._sealer = Sealer(key, associated_data, entropy)
        self._pieces = Rechunker(FIRST_SEGMENT_PLAINTEXT, SEGMENT_PLAINTEXT)
        self._out = memoryview(b"")
        self._start = HEADER_SIZE

    def update(self, plaintext: Buffer) -> Iterator[memoryview]:
        """Take a buffer, used up when the iterator is; yield views of ``SEGMENT_SIZE`` bytes.

        Raises:
            TooLarge: The content has more than ``MAX_SEGMENTS`` segments.
        """
        for piece in self._pieces.add(plaintext):
            yield self._seal(piece, last=False)

    def finalize(self) -> memoryview:
        """End the content.

        Raises:
            TooLarge: The content has more than ``MAX_SEGMENTS`` segments.
            ValueError: It was ended before.
        """
        return self._seal(self._pieces.last(), last=True)

    def _seal(self, piece: memoryview, *, last: bool) -> memoryview:
        if not self._out:
            # No later view is longer than the first. A small content does not pay for a whole MiB.
            self._out = memoryview(bytearray(HEADER_SIZE + len(piece) + TAG_SIZE))
            self._out[:HEADER_SIZE] = self._sealer.header
        end = self._start + self._sealer.seal_segment(piece, self._out[self._start :], last=last)
        self._start = 0
        return self._out[:end]


class StreamOpener:
    """Opens one sealed content that arrives in buffers of any size, in constant memory.

    The plaintext is everything that ``update`` yields and then what ``finalize`` returns, all of it
    checked; but only ``finalize`` tells that the content is whole: one that was cut short opens up
    to the cut. Each view is valid until the next is asked for: copy what must be kept.

    Args:
        key: The content's data key, 32 bytes.
        associated_data: What the content was bound to when it was sealed.
    """

    __slots__ = ("_associated_data", "_index", "_key", "_opener", "_out", "_pieces")

    def __init__(self, key: bytes, associated_data: bytes) -> None:
        self._key = key
        self._associated_data = associated_data
        self._pieces = Rechunker(SEGMENT_SIZE, SEGMENT_SIZE)
        self._opener: Opener | None = None
        self._out = memoryview(b"")
        self._index = 0

    def update(self, sealed: Buffer) -> Iterator[memoryview]:
        """Take a buffer, used up when the iterator is; yield the plaintext of segments.

        Raises:
            Damaged: The content was changed or reordered, or was sealed under another key or for
                other associated data.
        """
        for piece in self._pieces.add(sealed):
            yield self._open(piece, last=False)

    def finalize(self) -> memoryview:
        """End the content.

        Raises:
            Damaged: As for ``update``; or the content was cut short or extended.
        """
        return self._open(self._pieces.last(), last=True)

    def _open(self, piece: memoryview, *, last: bool) -> memoryview:
        if self._opener is None:
            self._opener = Opener(self._key, self._associated_data, piece[:HEADER_SIZE])
            self._out = memoryview(bytearray(len(piece)))
            piece = piece[HEADER_SIZE:]
        size = self._opener.open_segment(self._index, piece, self._out, last=last)
        self._index += 1
        return self._out[:size]


def seal(
    key: bytes,
    associated_data: bytes,
    plaintext: Iterable[Buffer],
    entropy: Callable[[int], bytes],
) -> Iterator[memoryview]:
    """Seal a whole stream, as ``StreamSealer`` does, whose arguments and errors these are.

    Each buffer of ``plaintext`` is used up before the next is asked for.
    """
    sealer = StreamSealer(key, associated_data, entropy)
    for buffer in plaintext:
        yield from sealer.update(buffer)
    yield sealer.finalize()


def open_sealed(
    key: bytes, associated_data: bytes, sealed: Iterable[Buffer]
) -> Iterator[memoryview]:
    """Open a whole stream, as ``StreamOpener`` does, whose arguments and errors these are.

    Each buffer of ``sealed`` is used up before the next is asked for. Only where this ends without
    an error is the content whole.
    """
    opener = StreamOpener(key, associated_data)
    for buffer in sealed:
        yield from opener.update(buffer)
    yield opener.finalize()
