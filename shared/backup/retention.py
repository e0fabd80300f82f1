"""How long sets are retained: the first of each hour, day, month and year, as the tenant's policy says.

All times are UTC. A set is never retained for less than until after the next one that is made in any case,
so that there is always one that nobody can remove.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.backup.models import SetKind
from shared.journal.agenda import end_of_window
from shared.policy.models import TenantPolicy

RANKS: Final[tuple[SetKind, ...]] = ("recent", "hourly", "daily", "monthly", "yearly")

MARGIN: Final = timedelta(days=1)
"""How late the set that is made in any case may be."""

SLACK: Final = timedelta(days=31)
"""What sets share is retained for so much longer: it is extended once a month, not with each set."""

LOOK: Final = timedelta(hours=6)
"""How often the timer looks whether a tenant's verification is due: policies go down to a day."""

HELD: Final = timedelta(days=366)
"""A set that is made under a legal hold is retained for so long at least."""


def kind_of(made_at: datetime, before: datetime | None) -> SetKind:
    """What a set counts as.

    Args:
        made_at: Its point in time.
        before: That of the set before; None: there is none.
    """
    if before is None or made_at.year != before.year:
        return "yearly"
    if made_at.month != before.month:
        return "monthly"
    if made_at.day != before.day:
        return "daily"
    return "hourly" if made_at.hour != before.hour else "recent"


def retained_until(kind: SetKind, made_at: datetime, policy: TenantPolicy) -> datetime:
    """Until when a set is retained."""
    kept = policy.retention
    periods = (
        timedelta(),
        timedelta(hours=kept.hourly),
        timedelta(days=kept.daily),
        timedelta(days=31 * kept.monthly),
        timedelta(days=366 * kept.yearly),
    )
    # The first set of a year is the first of its month, day and hour as well.
    until = made_at + max(periods[: RANKS.index(kind) + 1])
    if policy.legal_hold:
        until = max(until, made_at + HELD)
    return max(until, next_due(kind, made_at) + MARGIN)


def objects_until(set_until: datetime, made_at: datetime, policy: TenantPolicy) -> datetime:
    """Until when what a new set shares with later ones is retained at first."""
    return max(set_until, made_at + timedelta(days=policy.retention.daily)) + SLACK


def next_due(kind: SetKind, made_at: datetime) -> datetime:
    """When a set is made next even if nothing changes: a day, then a month, then each year later."""
    day = made_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if kind in {"recent", "hourly"}:
        return day + timedelta(days=1)
    if kind == "daily":
        return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return day.replace(year=day.year + 1, month=1, day=1)


def look_due(tenant: str, now: datetime) -> datetime:
    """When to look next whether a tenant's verification is due: tenants are spread over the time."""
    digest = hashlib.sha256(tenant.encode()).digest()
    share = int.from_bytes(digest[:4], "big") / (1 << 32)
    return end_of_window(now, LOOK) + timedelta(seconds=int(share * LOOK.total_seconds()))
