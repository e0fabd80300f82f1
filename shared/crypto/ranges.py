"""Ranges of sealed content, opened as a stream."""

from __future__ import annotations

from typing import Final

from shared.base.buffers import Buffer
from shared.base.errors import Damaged
from shared.crypto.streaming import SEGMENT_SIZE, Opener, Segment, segments

_ANOTHER_SIZE: Final = "The sealed content does not have its size; read another copy of it."


class OpenedRange:
    """Opens a range of content; a ``Conversion`` of the range's sealed segments into its plaintext.

    The range is complete only once its last piece has been converted: a stream that ends early opens up
    to where it was cut.

    Args:
        opener: Of the content.
        plaintext_size: Of the whole content, bytes.
        start: Offset of the range in the plaintext.
        end: Offset after the range in the plaintext; None: the plaintext's end.

    Raises:
        ValueError: Not ``0 <= start <= end <= plaintext_size``.
    """

    __slots__ = ("_end", "_final", "_first", "_index", "_opener", "_out", "_start")

    later_size: Final = SEGMENT_SIZE

    def __init__(
        self, opener: Opener, plaintext_size: int, start: int = 0, end: int | None = None
    ) -> None:
        self._opener = opener
        self._start = start
        self._end = plaintext_size if end is None else end
        self._first: Segment | None = next(segments(plaintext_size, start, self._end), None)
        self._final = self._first
        if start < self._end:
            self._final = next(segments(plaintext_size, self._end - 1, self._end))
        self._index = self._first.index if self._first else 0
        self._out = memoryview(bytearray())

    @property
    def sealed_start(self) -> int:
        """Where the stream of sealed segments begins in the sealed content."""
        return self._first.sealed_start if self._first else 0

    @property
    def sealed_end(self) -> int:
        """Where it ends. The stream is empty if the range is, unless the whole content is, too."""
        return self._final.sealed_end if self._final else 0

    @property
    def first_size(self) -> int:
        """Bytes of the first sealed segment."""
        return self._first.sealed_end - self._first.sealed_start if self._first else SEGMENT_SIZE

    def convert(self, piece: Buffer, *, last: bool) -> memoryview:
        """Open the next segment; the result may change at the next call.

        Raises:
            Damaged: The content was changed, cut short, extended or reordered, or was sealed under another
                key or for other associated data.
        """
        if self._first is None or self._final is None:
            if piece or not last:
                raise Damaged(_ANOTHER_SIZE)
            return self._out
        final = self._index == self._final.index
        if last != final or self._index > self._final.index:
            raise Damaged(_ANOTHER_SIZE)
        if len(self._out) < len(piece):
            # The first segment is shorter than those that follow it.
            self._out = memoryview(bytearray(len(piece) if final else SEGMENT_SIZE))
        size = self._opener.open_segment(
            self._index, piece, self._out, last=final and self._final.last
        )
        opened = self._out[:size]
        if final:
            if size != self._final.plaintext_end - self._final.plaintext_start:
                raise Damaged(_ANOTHER_SIZE)
            opened = opened[: self._end - self._final.plaintext_start]
        if self._index == self._first.index:
            opened = opened[self._start - self._first.plaintext_start :]
        self._index += 1
        return opened
