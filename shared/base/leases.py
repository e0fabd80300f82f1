"""What lasts for a bounded time, on a clock that may have been set back."""

from __future__ import annotations

from datetime import datetime, timedelta


def lasts(until: datetime | None, now: datetime, longest: timedelta) -> bool:
    """Whether a lease, a lock or a pause goes on.

    One that ends later than any that begins now was begun while the clock was ahead: it is over, or it
    would last for as long as the clock was wrong.

    Args:
        until: Its end; None: there is none.
        now: The time.
        longest: How long one can last.
    """
    return until is not None and now < until <= now + longest
