"""One call to an Azure service: its retries, its deadline, and what its errors mean to us.

The SDKs' own retries are off, because they follow a service's retry-after without any bound; those
that cannot be switched off, such as a credential's, end with the call. What a status means beyond
this module's table is decided by each adapter, in one function.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from shared.base.errors import InternalError, StrongroomError, Unavailable

T = TypeVar("T")

_WORTH_RETRYING: Final = frozenset({408, 410, 429, 449, 500, 502, 503, 504})
_THROTTLED: Final = 429
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 8.0
_spread = random.SystemRandom()
_RETRY_AFTER_HEADERS: Final = (
    ("retry-after-ms", 0.001),
    ("x-ms-retry-after-ms", 0.001),
    ("retry-after", 1.0),
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for Azure, in seconds.

    Attributes:
        connect: For a connection.
        response: For the next bytes of a response.
        poll: Between two looks at a link of the bus while waiting for it.
        total: For one call of a port with all of its retries and the pauses between them.
        sleep: Passes the pauses.
    """

    connect: float = 5.0
    response: float = 20.0
    poll: float = 0.2
    total: float = 30.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Classification:
    """What an SDK's error means.

    Attributes:
        error: What the caller of the port gets.
        again: Whether another attempt may succeed.
        wait: Seconds that the service asked us to wait; None: it did not say.
        untouched: Whether the attempt certainly had no effect.
    """

    error: StrongroomError
    again: bool = False
    wait: float | None = None
    untouched: bool = False


Classify = Callable[[Exception], Classification | None]


class Attempts:
    """What a call knows of its own retries.

    Attributes:
        uncertain: Whether an earlier attempt may have taken effect although it seemed to fail.
    """

    def __init__(self) -> None:
        self.uncertain = False


async def call(
    operation: Callable[[Attempts], Awaitable[T]],
    classify: Classify,
    timeouts: Timeouts,
    *,
    cut_off: bool = True,
) -> T:
    """The result of ``operation``, tried again as its errors advise, within ``timeouts.total``.

    Args:
        operation: The call, told what is known of the attempts before.
        classify: What its errors mean.
        timeouts: How long to wait.
        cut_off: Whether an attempt that is still under way at the deadline is cancelled. The bus's may
            not be: its SDK ends them by itself, and then closes the link that failed.

    Raises:
        StrongroomError: What ``classify`` made of the last error; an ``Unavailable`` carries the
            seconds that the service asked to wait.
    """
    loop = asyncio.get_running_loop()
    attempts = Attempts()
    budget = timeouts.total
    pause = _FIRST_PAUSE
    while True:
        began = loop.time()
        try:
            async with asyncio.timeout(budget if cut_off else None):
                return await operation(attempts)
        except Exception as error:
            classification = classify(error)
            if classification is None:
                raise
            wait = classification.wait
            if wait is None:
                wait = pause * _spread.uniform(0.5, 1.0)
            budget -= loop.time() - began + wait
            if not classification.again or budget <= 0:
                raise _final(classification) from error
            attempts.uncertain = attempts.uncertain or not classification.untouched
        await timeouts.sleep(wait)
        pause = min(pause * 2, _LONGEST_PAUSE)


def classify_http(service: str, error: Exception) -> Classification | None:
    """What an error of an SDK on azure-core means where its status has no other meaning.

    None: it is not an error of an SDK.
    """
    from azure.core.exceptions import AzureError, HttpResponseError

    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status in {401, 403}:
        return Classification(
            Unavailable(f"{service} refused this service's identity.", retry_after=60)
        )
    if isinstance(error, (AzureError, TimeoutError, ConnectionError)) and (
        status is None or status in _WORTH_RETRYING
    ):
        return Classification(
            Unavailable(f"{service} did not respond in time; try again."),
            again=True,
            wait=_retry_after(error),
            untouched=status == _THROTTLED,
        )
    if isinstance(error, AzureError):
        return Classification(
            InternalError(f"{service} refused a request that it should have taken.")
        )
    return None


def _final(classification: Classification) -> StrongroomError:
    error, wait = classification.error, classification.wait
    if isinstance(error, Unavailable) and wait is not None:
        return Unavailable(error.detail, retry_after=max(1, math.ceil(wait)))
    return error


def _retry_after(error: Exception) -> float | None:
    """The seconds that a response asks to wait; its headers may be on the error itself."""
    headers = getattr(error, "headers", None) or getattr(
        getattr(error, "response", None), "headers", {}
    )
    lowered = {str(name).lower(): value for name, value in headers.items()}
    for name, unit in _RETRY_AFTER_HEADERS:
        try:
            return max(0.0, float(lowered[name]) * unit)
        except (KeyError, TypeError, ValueError):
            continue
    return None
