"""Lock-out: how often a sign-in may fail in a row before its username has to wait.

Every attempt is counted, durably, before its password is looked at, so trying in parallel gains nothing;
and it is counted for usernames that do not exist just the same, so the responses do not tell which do.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.base.errors import Conflict, RateLimited, Unavailable
from shared.base.leases import lasts
from shared.base.partitions import Partition
from shared.identity.models import SignInAttempts
from shared.journal.collections import Collection
from shared.journal.contention import retry_conflicts
from shared.ports.clock import Runtime
from shared.ports.records import Delete, RecordStore

ATTEMPTS_KIND: Final = "sign-in-attempts"
FREE_ATTEMPTS: Final = 10
FIRST_LOCK: Final = timedelta(minutes=1)
LONGEST_LOCK: Final = timedelta(minutes=30)
ATTEMPTS_KEPT: Final = timedelta(days=1)


@dataclass(slots=True)
class Lockout:
    """Counts attempts and refuses them while a username is locked."""

    records: RecordStore
    runtime: Runtime
    _attempts: Collection[SignInAttempts] = field(init=False)

    def __post_init__(self) -> None:
        self._attempts = Collection(
            self.records,
            SignInAttempts,
            ATTEMPTS_KIND,
            expires_at=lambda attempts: attempts.forgotten_at,
        )

    async def count(self, partition: Partition, attempts_id: str) -> None:
        """Count one more attempt.

        Raises:
            RateLimited: Too many failed in a row; nothing was counted.
        """

        async def attempt() -> None:
            now = self.runtime.now()
            stored = await self._attempts.find(partition, attempts_id)
            locked_until = stored.value.locked_until if stored else None
            if locked_until is not None and lasts(locked_until, now, LONGEST_LOCK):
                wait = int((locked_until - now).total_seconds()) + 1
                raise RateLimited("Too many failed attempts in a row; try again later.", wait)
            count = (stored.value.count if stored else 0) + 1
            counted = SignInAttempts(
                count=count,
                locked_until=_locked_until(count, now),
                forgotten_at=now + ATTEMPTS_KEPT,
            )
            change = self._attempts.put(partition, stored, counted, attempts_id)
            await self.records.commit(partition, [change])

        try:
            await retry_conflicts(attempt, self.runtime)
        except Unavailable:
            raise RateLimited("Too many attempts at once; try again later.", 1) from None

    async def forget(self, partition: Partition, attempts_id: str) -> None:
        """Begin to count anew, once the right password was sent."""
        with suppress(Conflict):  # another sign-in of the same user has done it
            await self.records.commit(partition, [Delete(ATTEMPTS_KIND, attempts_id)])


def _locked_until(count: int, now: datetime) -> datetime | None:
    if count < FREE_ATTEMPTS:
        return None
    doublings = min(count - FREE_ATTEMPTS, 10)
    return now + min(FIRST_LOCK * (1 << doublings), LONGEST_LOCK)
