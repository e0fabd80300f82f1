"""Cutting a stream of buffers of any size into pieces of a fixed size, with few copies."""

from __future__ import annotations

from collections.abc import Iterator

Buffer = bytes | bytearray | memoryview
"""Contiguous bytes."""


class Rechunker:
    """Collects buffers and gives them back as pieces.

    A piece that lies whole in one buffer, with more after it, is a view of that buffer; only what
    lies across the border of two buffers is copied. It is valid until the next piece or buffer.

    Args:
        first: The size of the first piece, bytes.
        later: The size of each later piece, bytes.
    """

    __slots__ = ("_filled", "_held", "_later", "_wanted")

    def __init__(self, first: int, later: int) -> None:
        self._held = memoryview(bytearray())
        self._filled = 0
        self._wanted = first
        self._later = later

    def add(self, buffer: Buffer) -> Iterator[memoryview]:
        """Take a buffer; yield the full pieces that are known not to be the last.

        The buffer counts as taken only once the iterator is exhausted, and must stay until then.
        """
        rest = memoryview(buffer).cast("B")
        while self._filled + len(rest) > self._wanted:
            missing = self._wanted - self._filled
            if self._filled:
                self._hold(rest[:missing])
                yield self._held[: self._wanted]
            else:
                yield rest[:missing]
            rest = rest[missing:]
            self._filled, self._wanted = 0, self._later
        self._hold(rest)

    def last(self) -> memoryview:
        """What is left at the end of the stream: the last piece, full or shorter or empty."""
        return self._held[: self._filled]

    def _hold(self, part: memoryview) -> None:
        filled = self._filled + len(part)
        if filled > len(self._held):
            # It doubles, so that a small stream does not pay for a whole piece. Views of the
            # smaller one may still be in use, which rules out resizing it.
            grown = memoryview(bytearray(max(filled, min(2 * len(self._held), self._later))))
            grown[: self._filled] = self._held[: self._filled]
            self._held = grown
        self._held[self._filled : filled] = part
        self._filled = filled
