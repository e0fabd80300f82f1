"""Time that a test owns, sleeps included, and a message source that a test looks into."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.base.errors import Conflict
from shared.ports.bus import Delivery
from tests.support.clock import FakeClock


async def settle() -> None:
    """Let every task run until all of them wait."""
    for _ in range(20):
        await asyncio.sleep(0)


class Timeline(FakeClock):
    """A clock whose sleepers wake when it has been advanced far enough."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: dict[asyncio.Future[None], datetime] = {}

    async def sleep(self, seconds: float) -> None:
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers[sleeper] = self.now() + timedelta(seconds=seconds)
        try:
            await sleeper
        finally:
            del self._sleepers[sleeper]

    def wake(self) -> None:
        """Let every sleeper wake now: it sleeps by another clock than the one that was set."""
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    async def pass_time(self, seconds: float) -> None:
        """Advance, stopping wherever a sleeper wakes, so that each sees the time it asked for."""
        end = self.now() + timedelta(seconds=seconds)
        await settle()
        while due := [at for at in self._sleepers.values() if at <= end]:
            self.advance((min(due) - self.now()).total_seconds())
            for sleeper, at in list(self._sleepers.items()):
                if at <= self.now() and not sleeper.done():
                    sleeper.set_result(None)
            await settle()
        self.advance((end - self.now()).total_seconds())
        await settle()


class MemorySource:
    """An ``EventSource`` of one subscription, without locks of its own: what became of each message
    is in ``settled``."""

    def __init__(self, clock: FakeClock, *, lock_seconds: float = 60) -> None:
        self._clock = clock
        self._lock_seconds = lock_seconds
        self._waiting: list[Delivery] = []
        self._arrived = asyncio.Event()
        self.limits: list[int] = []
        self.settled: list[tuple[str, str]] = []
        self.renewed: list[datetime] = []
        self.failures: list[Exception] = []
        self.lost: set[str] = set()

    def put(self, message_id: str, body: bytes = b"{}") -> None:
        now = self._clock.now()
        delivery = Delivery("audit", body, message_id, "ten_1", 1, now, now, "lock-" + message_id)
        self._waiting.append(delivery)
        self._arrived.set()

    async def receive(
        self, subscription: str, *, limit: int = 1, wait_seconds: float = 0.0
    ) -> Sequence[Delivery]:
        assert subscription == "audit"
        self.limits.append(limit)
        if self.failures:
            raise self.failures.pop(0)
        if not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        taken, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return [replace(delivery, locked_until=self._until()) for delivery in taken]

    def release(self) -> None:
        """End a receive that waits, empty-handed, as its wait time would."""
        self._arrived.set()

    async def complete(self, delivery: Delivery) -> None:
        self._settle("completed", delivery)

    async def abandon(self, delivery: Delivery) -> None:
        self._settle("abandoned", delivery)

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        self._settle("dead-lettered " + reason, delivery)

    async def renew(self, delivery: Delivery) -> Delivery:
        if delivery.message_id in self.lost:
            raise Conflict("The lock was lost.")
        if self.failures:
            raise self.failures.pop(0)
        self.renewed.append(self._clock.now())
        return replace(delivery, locked_until=self._until())

    def _until(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self._lock_seconds)

    def _settle(self, how: str, delivery: Delivery) -> None:
        if delivery.message_id in self.lost or delivery.locked_until <= self._clock.now():
            raise Conflict("The lock was lost.")
        self.settled.append((how, delivery.message_id))
