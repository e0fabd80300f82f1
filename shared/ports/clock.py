"""Clock, Entropy, Runtime: time and randomness, passed in so that tests own them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from shared.base.ids import new_id


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


@dataclass(frozen=True, slots=True)
class Runtime:
    """The time and the randomness of a process; it makes ids.

    Attributes:
        clock: Time.
        entropy: Randomness fit for keys.
        sleep: Waits for seconds.
    """

    clock: Clock
    entropy: Entropy
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def now(self) -> datetime:
        """The present time, UTC."""
        return self.clock.now()

    def random(self, size: int) -> bytes:
        """``size`` unpredictable bytes."""
        return self.entropy(size)

    def fraction(self) -> float:
        """A uniform random number, 0 included and 1 excluded."""
        return (int.from_bytes(self.entropy(7), "big") >> 3) / (1 << 53)

    def new_id(self, prefix: str, at: datetime | None = None) -> str:
        """A fresh id such as ``doc_01jd3v...``, made now or at a given time."""
        return new_id(prefix, at or self.now(), self.entropy)
