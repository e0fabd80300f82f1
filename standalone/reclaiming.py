"""Memory that requests have used goes back to the operating system.

The C library keeps what was freed, in pieces between what is still used; and a request that was cut off
leaves cycles: an error, its traceback, the frames in it, the content that these were working on.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from typing import Final

from standalone.lifetime import Sleep, sleep_unless

EVERY_SECONDS: Final = 2.0


async def reclaim_memory(stopping: asyncio.Event, *, sleep: Sleep = asyncio.sleep) -> None:
    """Give memory back from time to time, until told to stop."""
    # What exists at the start stays to the end: to look through it every time would cost most of the time.
    gc.collect()
    gc.freeze()
    while not await sleep_unless(stopping, EVERY_SECONDS, sleep):
        gc.collect()
        await asyncio.to_thread(trim)
    gc.unfreeze()


def trim() -> None:
    """Have the C library give back the pages that it does not use: malloc_trim(3), where there is one."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
