"""Floods of refusals, which must not fill the audit log.

Of a flood the first refusal is an entry, the others are counted, and the count is an entry once the flood
has ended. A flood begins where a rate limit refuses a caller, or with the refusal after
``LOGGED_PER_MINUTE`` of one without a valid token; it ends when a minute has passed without another. A
restart forgets the counts of the floods that are going on.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from functions.api.rate_limits import BUCKETS, RateLimit
from shared.access.principal import Origin, Principal
from shared.base.errors import RateLimited
from shared.journal.entries import Actor
from shared.ports.clock import Clock

LOGGED_PER_MINUTE: Final = 60
"""So many refusals of one caller without a valid token are entries of their own; more are a flood."""

ENDED_AFTER: Final = timedelta(minutes=1)


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
