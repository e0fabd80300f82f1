"""When the timers look at uploads that expire and at documents that leave the trash.

What ends in the same window shares an item on the agenda, and is looked at when the window is over.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from shared.journal.agenda import end_of_window

GRANT_LIFETIME: Final = timedelta(hours=1)
"""How long an upload takes content."""

EXPIRY_WINDOW: Final = timedelta(minutes=1)
ERASURE_WINDOW: Final = timedelta(minutes=10)


def expiry_due(expires_at: datetime) -> datetime:
    """When the sweep looks for uploads whose grants expire at a time: then, or up to a minute later."""
    return _end(expires_at, EXPIRY_WINDOW)


def erasure_due(erase_at: datetime) -> datetime:
    """When the timer erases what is to leave the trash at a time: then, or up to 10 minutes later."""
    return _end(erase_at, ERASURE_WINDOW)


def _end(at: datetime, window: timedelta) -> datetime:
    """The end of the window that a moment is in, or ends."""
    return end_of_window(at - timedelta(microseconds=1), window)
