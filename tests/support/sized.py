"""Streams of known size, from memory."""

from __future__ import annotations

from shared.base.streams import SizedStream


class Sized(SizedStream):
    """Gives bytes that somebody has."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)

    @property
    def left(self) -> int:
        return len(self._content)

    async def read_into(self, memory: memoryview) -> None:
        memory[:] = self._content[: len(memory)]
        self._content = self._content[len(memory) :]
