"""Disk work beside the event loop, for code that owns file descriptors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Final, ParamSpec, TypeVar

from shared.base.errors import Unavailable

_P = ParamSpec("_P")
_T = TypeVar("_T")

DISK_SECONDS: Final = 120.0
"""More than a busy disk takes. What takes longer hangs, such as a network file system that is gone."""


class DiskHangs(Unavailable):
    """A thread works on the operation still, and what it works with must stay open for it."""


async def on_disk(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Like ``asyncio.to_thread``, but a cancelled caller leaves only when the call has ended.

    A thread cannot be stopped; were the caller to go on and close the descriptor that the thread
    still uses, the thread could write into whatever file is opened next.

    Raises:
        Unavailable: The operating system refused.
        DiskHangs: The call has not ended within ``DISK_SECONDS``, and is left to itself.
    """
    loop = asyncio.get_running_loop()
    # As ``to_thread`` does it, but without a task for the coroutine that this is already.
    work = partial(copy_context().run, function, *args, **kwargs)
    call: asyncio.Future[_T] = loop.run_in_executor(None, work)
    deadline = loop.time() + DISK_SECONDS
    cancelled = False
    while not call.done():
        left = deadline - loop.time()
        try:
            await asyncio.wait([call], timeout=max(0.0, left))
        except asyncio.CancelledError:
            cancelled = True
            continue
        if not call.done() and left <= 0:
            call.add_done_callback(_forget)
            raise DiskHangs("The disk does not respond; try again shortly.")
    if cancelled:
        _forget(call)
        raise asyncio.CancelledError
    try:
        return call.result()
    except OSError as error:
        raise refused(error) from error


def refused(error: OSError) -> Unavailable:
    """What callers get where the operating system refused."""
    unavailable = Unavailable("The disk did not accept the operation; try again shortly.")
    unavailable.__cause__ = error
    return unavailable


class _Briefly:
    # No generator: entering and leaving it would take as long as what is done in between.
    __slots__ = ()

    def __enter__(self) -> None:
        return

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            raise refused(error) from error


briefly: Final = _Briefly()
"""A context for calls of the operating system that run on the event loop, as they wait for no disk. It
raises ``Unavailable`` where the operating system refused."""


def _forget(call: asyncio.Future[_T]) -> None:
    """Ask for a failure that nobody wants any more, so that it is not logged as forgotten."""
    if not call.cancelled():
        call.exception()
