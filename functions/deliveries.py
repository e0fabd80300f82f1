"""What a Service Bus function does before it fails.

The Functions host gives the message of a function that failed back at once, and Service Bus delivers it
again at once: an outage of seconds would use up every try. So the function pauses first, while the host
renews the message's lock. ``standalone`` gives failed messages back later by itself, and sets no pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

import azure.functions as func

from shared.base.errors import InvalidEvent


class backing_off:  # noqa: N801 - a context manager; of a generator it would cost every message more
    """Work on a message; a failure is let out after 1, 2, 4, ... seconds, twice as many at each delivery.

    A message that no later try can help (``InvalidEvent``) fails at once.

    Args:
        message: Tells how often it has been delivered.
        sleep: How to wait.

    Raises:
        Exception: What the work raised.
    """

    def __init__(
        self,
        message: func.ServiceBusMessage,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._message = message
        self._sleep = sleep

    async def __aenter__(self) -> None:
        return

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, InvalidEvent):
            from shared.wiring.settings import get_settings  # not needed to be indexed

            pause = 2 ** ((self._message.delivery_count or 1) - 1)
            await self._sleep(min(pause, get_settings().longest_delivery_pause_seconds))
