"""What a Service Bus function does before it fails.

The Functions host gives the message of a function that failed back at once, and Service Bus delivers it
again at once: an outage of seconds would use up every try. So the function pauses first, while the host
renews the message's lock. ``standalone`` gives failed messages back later by itself, and sets no pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import azure.functions as func

from shared.base.errors import InvalidEvent


@asynccontextmanager
async def backing_off(
    message: func.ServiceBusMessage, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> AsyncIterator[None]:
    """Work on a message; a failure is let out after 1, 2, 4, ... seconds, twice as many at each delivery.

    A message that no later try can help (``InvalidEvent``) fails at once.

    Args:
        message: Tells how often it has been delivered.
        sleep: How to wait.

    Raises:
        Exception: What the work raised.
    """
    try:
        yield
    except InvalidEvent:
        raise
    except Exception:
        from shared.wiring.settings import get_settings  # not needed to be indexed

        pause = 2 ** ((message.delivery_count or 1) - 1)
        await sleep(min(pause, get_settings().longest_delivery_pause_seconds))
        raise
