"""The memory that requests hold while their clients are slow: a budget for each caller and one for all.

Content is sealed and opened a few segments at a time, so a client that stalls in the middle of an upload
or of a download holds these segments. Whoever would hold more than their share waits a moment for what
they hold already, and is then refused.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.api import problems
from shared.base.errors import RateLimited, Unavailable

MEBIBYTE: Final = 1_048_576

STREAM_BYTES: Final = 7 * MEBIBYTE
"""The most that one request holds: segments as they come, as they are converted, and on their way out.

Measured: a download from a store with pieces of 4 MiB holds such a piece, from one with pieces of 2 MiB two
of them, and three segments in clear.
"""

USER_BYTES: Final = 64 * MEBIBYTE
ADDRESS_BYTES: Final = 128 * MEBIBYTE
"""Many users may come from one address."""

ALL_BYTES: Final = 512 * MEBIBYTE

PATIENCE_SECONDS: Final = 5.0
"""How long a request waits for others of its caller to end."""

WHOLE_BYTES: Final = 65_536
"""A response that is no larger is handed to the connection and forgotten."""

CLAIM: Final = "strongroom.memory"
"""Where the scope has the claim of a request."""


@dataclass(frozen=True, slots=True)
class _Waiter:
    callers: Mapping[str, int]
    size: int
    admitted: asyncio.Future[None]


class MemoryBudget:
    """Says who may hold how much.

    Args:
        everyone: Bytes that all requests may hold.
        patience: Seconds that a request waits for room.
    """

    def __init__(
        self,
        everyone: int = ALL_BYTES,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._everyone = everyone
        self._patience = patience
        self._held: Counter[str] = Counter()
        self._all = 0
        self._waiting: list[_Waiter] = []

    async def hold(self, callers: Mapping[str, int], size: int) -> None:
        """Hold so many bytes, on the account of each of the callers.

        Args:
            callers: How many bytes each may hold in all.
            size: Bytes to hold.

        Raises:
            RateLimited: A caller holds too much already.
            Unavailable: All together do.
        """
        if not self._waiting and self._has_room(callers, size):
            self._take(callers, size)
            return
        waiter = _Waiter(dict(callers), size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._let_in()
        try:
            async with asyncio.timeout(self._patience):
                await waiter.admitted
        except TimeoutError:
            if waiter.admitted.done() and not waiter.admitted.cancelled():
                return
            if self._all + size > self._everyone:
                raise Unavailable("Too much content is on its way; try again shortly.") from None
            raise RateLimited(
                "Too much content of yours is on its way: finish transfers, or cancel them, first.",
                retry_after=10,
            ) from None
        except asyncio.CancelledError:
            if waiter.admitted.done() and not waiter.admitted.cancelled():
                self.free(waiter.callers, size)
            raise

    def free(self, callers: Iterable[str], size: int) -> None:
        """Give bytes back."""
        if not size:
            return
        for caller in callers:
            self._held[caller] -= size
            if not self._held[caller]:
                del self._held[caller]
        self._all -= size
        self._let_in()

    def _let_in(self) -> None:
        """Admit those who wait and have room, in their order; forget those who have left."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if waiter.admitted.done():
                continue
            if not self._has_room(waiter.callers, waiter.size):
                self._waiting.append(waiter)
                continue
            self._take(waiter.callers, waiter.size)
            waiter.admitted.set_result(None)

    def _take(self, callers: Iterable[str], size: int) -> None:
        for caller in callers:
            self._held[caller] += size
        self._all += size

    def _has_room(self, callers: Mapping[str, int], size: int) -> bool:
        return self._all + size <= self._everyone and all(
            self._held[caller] + size <= most for caller, most in callers.items()
        )


class Claim:
    """What one request holds.

    Attributes:
        callers: On whose account it is, as far as is known yet, and how much each may hold: the address,
            later the user.
    """

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._held = 0
        self._paying: dict[str, int] = {}
        self.callers: dict[str, int] = {}

    async def set(self, size: int) -> None:
        """Hold so many bytes from now on, ``STREAM_BYTES`` at most.

        Raises:
            RateLimited: A caller holds too much already.
            Unavailable: All together do.
        """
        size = min(size, STREAM_BYTES)
        if size > self._held:
            more = size - self._held
            paying = self._paying or dict(self.callers)
            await self._budget.hold(paying, more)
            self._paying = paying
        else:
            self._budget.free(self._paying, self._held - size)
        self._held = size

    def release(self) -> None:
        """Hold nothing any more."""
        self._budget.free(self._paying, self._held)
        self._held = 0


class HeldMemory:
    """ASGI middleware: gives each request its claim, and takes it back when the response was taken.

    Args:
        app: What it wraps.
        budget: Of this process.
    """

    def __init__(self, app: ASGIApp, budget: MemoryBudget) -> None:
        self._app = app
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        claim = scope[CLAIM] = Claim(self._budget)
        refused = False

        async def send_and_hold(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                try:
                    await claim.set(_size_to_send(scope["method"], message))
                except (RateLimited, Unavailable) as error:
                    refused = True
                    response = await problems.strongroom_error(Request(scope), error)
                    await response(scope, receive, send)
            if refused:
                return
            if len(message.get("body", b"")) > WHOLE_BYTES and not message.get("more_body"):
                # What follows is sent only when the client has taken this.
                await send({**message, "more_body": True})
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, send_and_hold)
        finally:
            claim.release()


def _size_to_send(method: str, start: Message) -> int:
    """How much of a response is on its way at once, where that is worth counting."""
    if method == "HEAD":
        return 0
    length = next((int(value) for name, value in start["headers"] if name == b"content-length"), 0)
    return length if length > WHOLE_BYTES else 0
