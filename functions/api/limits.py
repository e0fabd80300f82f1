"""Limits of one process: token buckets by user and by address, in bounded memory; a budget of memory.

They keep one caller from crowding out the others here; limits over all processes are the gateway's.

Nor can one caller fill the audit log with refusals. Of a flood of them the first is an entry, the others
are counted, and the count is an entry once the flood has ended. A flood begins where a rate limit refuses a
caller, or with the refusal after ``LOGGED_PER_MINUTE`` of one without a valid token; it ends when a minute
has passed without another. A restart forgets the counts of the floods that are going on.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from functions.api.client_address import network_of
from functions.api.memory import MemoryBudget
from shared.access.principal import Origin, Principal
from shared.base.errors import RateLimited
from shared.journal.entries import Actor
from shared.ports.clock import Clock
from shared.wiring.settings import Settings

BUCKETS: Final = 50_000

PROBES_PER_MINUTE: Final = 10
"""So that nobody looks around in other networks through our connections."""


LOGGED_PER_MINUTE: Final = 60
"""So many refusals of one caller without a valid token are entries of their own; more are a flood."""

ENDED_AFTER: Final = timedelta(minutes=1)


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


@dataclass(frozen=True, slots=True)
class Caller:
    """Who was refused.

    Attributes:
        key: The id of the user, or the network of the address, where nobody is named.
        by: For the audit entries.
        tenant: Whose log they go to.
        origin: Where the first refused request came from.
        admitted: Whether they have a valid token.
    """

    key: str
    by: Principal | Actor
    tenant: str
    origin: Origin
    admitted: bool


@dataclass(slots=True)
class Flood:
    """Refusals of one caller.

    Attributes:
        caller: Who was refused.
        began_at: When the first one was.
        last_at: When the latest one was.
        refusals: How many there were, the first included.
    """

    caller: Caller
    began_at: datetime
    last_at: datetime
    refusals: int = 1


class Floods:
    """Decides which refusals are entries of their own.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._logged = RateLimit(LOGGED_PER_MINUTE, clock)
        # The one with the oldest refusal comes first.
        self._floods: OrderedDict[str, Flood] = OrderedDict()
        self._ended: deque[Flood] = deque()

    def count(self, caller: Caller, *, at_limit: bool) -> bool:
        """Count a refusal that belongs to a flood; return whether that is all there is to do.

        False: it gets an entry of its own.

        Args:
            caller: Who was refused.
            at_limit: Whether a rate limit refused them.
        """
        if caller.admitted and not at_limit:
            return False  # as many as the caller's own rate limit allows
        now = self._clock.now()
        flood = self._floods.pop(caller.key, None)
        if flood is not None and not _is_over(flood, now):
            flood.refusals += 1
            flood.last_at = now
            self._floods[caller.key] = flood
            return True
        if flood is not None:
            self._ended.append(flood)
        if at_limit or not self._may_be_logged(caller.key):
            self._floods[caller.key] = Flood(caller, now, now)
        if len(self._floods) > BUCKETS:
            self._ended.append(self._floods.popitem(last=False)[1])
        return False

    def forget(self, caller: Caller) -> None:
        """The entry of a flood's first refusal could not be made: the next refusal is the first."""
        self._floods.pop(caller.key, None)

    def take_ended(self) -> Flood | None:
        """A flood that has ended, once; None where there is none."""
        oldest = next(iter(self._floods.values()), None)
        if oldest is not None and _is_over(oldest, self._clock.now()):
            return self._floods.pop(oldest.caller.key)
        return self._ended.popleft() if self._ended else None

    def put_back(self, flood: Flood) -> None:
        """The count of an ended flood could not be logged: it is to be taken again."""
        self._ended.appendleft(flood)

    def _may_be_logged(self, key: str) -> bool:
        try:
            self._logged.take(key)
        except RateLimited:
            return False
        return True


def _is_over(flood: Flood, now: datetime) -> bool:
    # One from the future was seen before the clock was set back.
    return not timedelta() <= now - flood.last_at < ENDED_AFTER


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
        floods: Which refusals are audit entries of their own.
        memory: How much of it requests may hold at once.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.user = RateLimit(settings.requests_per_minute, clock)
        self.address = AddressLimit(settings.requests_per_minute, clock)
        self.sign_in = AddressLimit(settings.sign_ins_per_minute, clock)
        self.probe = RateLimit(PROBES_PER_MINUTE, clock)
        self.floods = Floods(clock)
        self.memory = MemoryBudget()
