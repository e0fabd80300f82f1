"""Waiting for what happens beside a test, at some moment soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return as soon as something holds; fail if it does not within the time."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - it may come about in a thread
            await asyncio.sleep(0.005)
