"""Clock and Entropy: time and randomness, passed in so that tests own them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The time of day."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...


class Entropy(Protocol):
    """A source of randomness fit for keys."""

    def __call__(self, size: int, /) -> bytes:
        """``size`` unpredictable bytes."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        return datetime.now(UTC)


system_entropy: Entropy = os.urandom
"""The operating system's generator."""
