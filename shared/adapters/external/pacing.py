"""Pacer: lets so many bytes a second pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from shared.base.buffers import Buffer
from shared.ports.clock import Runtime


class Pacer:
    """A token bucket for all streams that share it. Who is behind waits before going on.

    Args:
        bytes_per_second: The most on average; 0: no limit.
        runtime: Time.
    """

    def __init__(self, bytes_per_second: int, runtime: Runtime) -> None:
        self._rate = bytes_per_second
        self._runtime = runtime
        self._paid_until: datetime | None = None

    async def paced(self, content: AsyncIterator[Buffer]) -> AsyncIterator[Buffer]:
        """The same chunks, each when the bytes before it have had their time."""
        async for chunk in content:
            if self._rate:
                await self._wait_for(len(chunk))
            yield chunk

    async def _wait_for(self, size: int) -> None:
        now = self._runtime.now()
        start = now if self._paid_until is None else max(now, self._paid_until)
        self._paid_until = start + timedelta(seconds=size / self._rate)
        if start > now:
            await self._runtime.sleep((start - now).total_seconds())
