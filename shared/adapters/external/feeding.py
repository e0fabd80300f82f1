"""Feed: a stream of content on its way into a client that asks for it from other threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Self

from shared.base.buffers import Buffer


class StoppedError(Exception):
    """The stream was stopped, so that whoever reads it gives up and tidies."""


class Feed:
    """Copies the chunks of a stream, which may change later, and compares their size with what it must be.

    Args:
        content: The stream.
        size: Its size, bytes.
    """

    def __init__(self, content: AsyncIterator[Buffer], size: int) -> None:
        self._content = content
        self._size = size
        self._fed = 0
        self._coming: asyncio.Task[Buffer | None] | None = None
        self._stopped = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next chunk.

        Raises:
            StoppedError: ``stop`` was called.
            ValueError: The stream ended early or goes on.
        """
        if self._stopped:
            raise StoppedError
        self._coming = asyncio.ensure_future(self._next())
        try:
            chunk = await self._coming
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            raise StoppedError from None
        self._fed += 0 if chunk is None else len(chunk)
        if self._fed > self._size or (chunk is None and self._fed < self._size):
            raise ValueError(f"The stream has not the {self._size} bytes that were announced.")
        if chunk is None:
            raise StopAsyncIteration
        return bytes(chunk)

    def stop(self) -> None:
        """Let the reader's next step, or the one that it waits in, raise ``StoppedError``."""
        self._stopped = True
        if self._coming is not None:
            self._coming.cancel()

    async def _next(self) -> Buffer | None:
        return await anext(self._content, None)
