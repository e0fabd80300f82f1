"""The dates of retained objects, as every store of them takes and refuses them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from shared.base.errors import Retained

_LONGEST: Final = timedelta(days=146_000)
"""Azure's limit, for all stores: a date that was too late by mistake cannot be moved back."""


def retention_date(retain_until: datetime, now: datetime) -> datetime:
    """The date as a store keeps it: in UTC and whole seconds, never earlier than asked.

    Raises:
        ValueError: It has no time zone, or is more than 146,000 days ahead.
    """
    if retain_until.tzinfo is None:
        raise ValueError("A retention date must be one with a time zone.")
    if retain_until - now > _LONGEST:
        raise ValueError(f"A retention date must be within {_LONGEST.days:,} days.")
    whole = retain_until.astimezone(UTC).replace(microsecond=0)
    return whole if whole >= retain_until else whole + timedelta(seconds=1)


def first_retention_date(retain_until: datetime, now: datetime) -> datetime:
    """``retention_date`` of a new object.

    Raises:
        ValueError: It has no time zone, has passed, or is more than 146,000 days ahead.
    """
    date = retention_date(retain_until, now)
    if date <= now:
        raise ValueError("A retention date must be later than now.")
    return date


def retained(date: datetime) -> Retained:
    """What a store raises instead of deleting an object before its date."""
    return Retained(
        f"The object is retained until {date:%Y-%m-%dT%H:%M:%SZ}; delete it after that."
    )
