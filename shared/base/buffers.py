"""The types of bytes in memory."""

from __future__ import annotations

import mmap

Buffer = bytes | bytearray | memoryview
"""Contiguous bytes."""

WritableBuffer = bytearray | memoryview
"""Contiguous bytes that can be written to."""


def page_aligned(size: int) -> memoryview:
    """New memory that begins with a page, which the disk can read where it lies; bytes of value 0."""
    return memoryview(mmap.mmap(-1, size, access=mmap.ACCESS_COPY))


class Reused:
    """Memory that is used again once nobody refers to it any more; new memory costs a page fault for 4 KiB.

    Args:
        most: Pieces of memory that are kept, at least 1: the newest ones.
    """

    __slots__ = ("_kept", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[bytearray] = []

    def take(self, size: int) -> memoryview:
        """So many bytes of any value, which change only once no view of them is left."""
        for memory in self._kept:
            if len(memory) >= size and _is_free(memory):
                return memoryview(memory)[:size]
        if len(self._kept) == self._most:
            # One that is free is too small, and the oldest is the first that its users are done with.
            free = (at for at, memory in enumerate(self._kept) if _is_free(memory))
            del self._kept[next(free, 0)]
        memory = bytearray(size)
        self._kept.append(memory)
        return memoryview(memory)


def _is_free(memory: bytearray) -> bool:
    if not memory:
        return True
    try:
        last = memory.pop()  # which Python refuses while there is a view of it
    except BufferError:
        return False
    memory.append(last)  # in its place: appending first would take an eighth more memory
    return True
