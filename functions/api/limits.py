"""Limits of one process: token buckets by user and by address, in bounded memory; a budget of memory.

They keep one caller from crowding out the others here; limits over all processes are the gateway's.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Final

from functions.api.client_address import network_of
from functions.api.memory import MemoryBudget
from shared.base.errors import RateLimited
from shared.ports.clock import Clock
from shared.wiring.settings import Settings

BUCKETS: Final = 50_000

PROBES_PER_MINUTE: Final = 10
"""So that nobody looks around in other networks through our connections."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: datetime
    refused: bool = False


class RateLimit:
    """Lets each key through ``per_minute`` times a minute, and as many at once after a quiet minute.

    Args:
        per_minute: The rate, and the size of each bucket.
        clock: Time.
    """

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: str) -> None:
        """Take one token of the key's bucket.

        Raises:
            RateLimited: The bucket is empty.
            FirstRefusal: The same, for the first time since it was last full enough.
        """
        now = self._clock.now()
        bucket = self._buckets.pop(key, None) or _Bucket(self._per_minute, now)
        self._buckets[key] = bucket
        if len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)
        elapsed = max(0.0, (now - bucket.at).total_seconds())
        bucket.at = now
        bucket.tokens = min(self._per_minute, bucket.tokens + elapsed * self._per_minute / 60)
        if bucket.tokens < 1:
            wait = ceil((1 - bucket.tokens) * 60 / self._per_minute)
            first, bucket.refused = not bucket.refused, True
            detail = "Too many requests; wait as long as Retry-After says."
            raise (FirstRefusal if first else RateLimited)(detail, wait)
        bucket.tokens -= 1
        bucket.refused = False


class AddressLimit(RateLimit):
    """A rate limit whose keys are network addresses, of which those of one network share a bucket."""

    def take(self, key: str) -> None:
        """Take one token of the bucket of an address; an unknown address is empty."""
        super().take(network_of(key))


class FirstRefusal(RateLimited):
    """The first refusal of a flood: the one that is audited, so that a flood cannot fill the log."""


class Limits:
    """The limits of one process.

    Args:
        settings: The rates.
        clock: Time.

    Attributes:
        user: What one user may ask.
        address: What one address may ask without being signed in, refused tokens included.
        sign_in: How often one address may try to sign in.
        probe: How often the storage of one tenant may be probed.
        memory: How much of it requests may hold at once.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.user = RateLimit(settings.requests_per_minute, clock)
        self.address = AddressLimit(settings.requests_per_minute, clock)
        self.sign_in = AddressLimit(settings.sign_ins_per_minute, clock)
        self.probe = RateLimit(PROBES_PER_MINUTE, clock)
        self.memory = MemoryBudget()
