"""Memory that requests have used goes back to the operating system.

The C library keeps what was freed, in pieces between what is still used; and a request that was cut off
leaves cycles: an error, its traceback, the frames in it, the content that these were working on.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from typing import Final

from standalone.lifetime import Sleep, sleep_unless

EVERY_SECONDS: Final = 2.0

M_ARENA_MAX: Final = -8
"""Of ``malloc.h`` of the GNU C library."""


async def reclaim_memory(stopping: asyncio.Event, *, sleep: Sleep = asyncio.sleep) -> None:
    """Give memory back from time to time, until told to stop."""
    gc.collect()
    known = _keep()
    while not await sleep_unless(stopping, EVERY_SECONDS, sleep):
        gc.collect()
        if len(sys.modules) != known:
            known = _keep()
        await asyncio.to_thread(trim)
    gc.unfreeze()


def _keep() -> int:
    """Never again look through what exists: modules stay to the end, and to go through them takes long.

    Many are imported by the first request that needs them, so there is more to keep after a while.

    Returns:
        How many modules there are.
    """
    gc.freeze()
    return len(sys.modules)


def share_memory() -> None:
    """Have the threads that are yet to come use one pool of the C library: mallopt(3), where there is one.

    Each would have a pool of its own, and of that trimming gives back what lies between, not the end of it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def trim() -> None:
    """Have the C library give back the pages that it does not use: malloc_trim(3), where there is one."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
