"""Ranges of sealed content, opened as a stream."""

from __future__ import annotations

from typing import Final

from shared.base.buffers import Buffer
from shared.base.errors import Damaged
from shared.crypto.streaming import SEGMENT_SIZE, Opener, segments

_ANOTHER_SIZE: Final = "The sealed content does not have its size; read another copy of it."


class OpenedRange:
    """Opens a range of content; a ``Conversion`` of the range's sealed segments into its plaintext.

    The whole range has been read only when the last piece has been converted: a stream that ends early
    opens up to where it was cut.

    Args:
        opener: Of the content.
        plaintext_size: Of the whole content, bytes.
        start: Offset of the range in the plaintext.
        end: Offset after the range in the plaintext; None: the plaintext's end.

    Raises:
        ValueError: Not ``0 <= start <= end <= plaintext_size``.
    """

    __slots__ = ("_end", "_next", "_opener", "_out", "_spare", "_start", "_wanted")

    later_size: Final = SEGMENT_SIZE

    def __init__(
        self, opener: Opener, plaintext_size: int, start: int = 0, end: int | None = None
    ) -> None:
        self._opener = opener
        self._start = start
        self._end = plaintext_size if end is None else end
        self._wanted = list(segments(plaintext_size, start, self._end))
        self._next = 0
        self._out = self._spare = memoryview(b"")

    @property
    def sealed_start(self) -> int:
        """Where the stream of sealed segments begins in the sealed content."""
        return self._wanted[0].sealed_start if self._wanted else 0

    @property
    def sealed_end(self) -> int:
        """Where it ends. The stream is empty if the range is, unless the whole content is, too."""
        return self._wanted[-1].sealed_end if self._wanted else 0

    @property
    def first_size(self) -> int:
        """Bytes of the first sealed segment."""
        if not self._wanted:
            return SEGMENT_SIZE
        return self._wanted[0].sealed_end - self._wanted[0].sealed_start

    def convert(self, piece: Buffer, *, last: bool) -> memoryview:
        """Open the next segment.

        Raises:
            Damaged: The content was changed, cut short, extended or reordered, or was sealed under another
                key or for other associated data.
        """
        if not self._wanted and last and not piece:
            return memoryview(b"")
        if self._next == len(self._wanted) or last != (self._next == len(self._wanted) - 1):
            raise Damaged(_ANOTHER_SIZE)
        segment = self._wanted[self._next]
        self._next += 1
        self._out, self._spare = self._spare, self._out
        if len(self._out) < len(piece):
            self._out = memoryview(bytearray(len(piece)))
        size = self._opener.open_segment(segment.index, piece, self._out, last=segment.last)
        if size != segment.plaintext_end - segment.plaintext_start:
            raise Damaged(_ANOTHER_SIZE)
        return segment.cut(self._out[:size], self._start, self._end)
