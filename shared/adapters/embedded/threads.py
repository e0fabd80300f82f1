"""Disk work beside the event loop, for code that owns file descriptors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from shared.base.errors import Unavailable

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def on_disk(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Like ``asyncio.to_thread``, but a cancelled caller leaves only when the call has ended.

    A thread cannot be stopped; were the caller to go on and close the descriptor that the thread
    still uses, the thread could write into whatever file is opened next.

    Raises:
        Unavailable: The operating system refused.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        while not call.done():
            try:
                await asyncio.wait([call])
            except asyncio.CancelledError:
                continue
        # Ask, so that a failure that nobody wants any more is not logged as forgotten.
        call.exception()
        raise
    except OSError as error:
        raise Unavailable("The disk did not accept the operation; try again shortly.") from error
