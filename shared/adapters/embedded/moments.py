"""Moments as integers: microseconds since 1970, which hold every ``datetime`` exactly and sort."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Microseconds from the beginning of 1970, UTC, to the moment."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(number: int) -> datetime:
    """The moment that ``to_microseconds`` gave this number, in UTC."""
    return _EPOCH + number * _MICROSECOND
