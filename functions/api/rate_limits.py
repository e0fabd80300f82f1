"""Rate limits: token buckets by user and by address, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Final

from functions.api.client_address import network_of
from shared.base.errors import RateLimited
from shared.ports.clock import Clock

BUCKETS: Final = 50_000
"""Callers that one limit remembers."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: datetime


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
            LimitReached: The bucket is empty.
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
            raise LimitReached("Too many requests; wait as long as Retry-After says.", wait)
        bucket.tokens -= 1


class AddressLimit(RateLimit):
    """A rate limit whose keys are network addresses, of which those of one network share a bucket."""

    def take(self, key: str) -> None:
        """Take one token of the bucket of an address; an unknown address is empty."""
        super().take(network_of(key))


class LimitReached(RateLimited):
    """A rate limit of this process refuses a request; no service knows of it."""
