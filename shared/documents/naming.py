"""Names of objects: whose, when made, of what. The hour lets the sweep list one hour's objects alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from shared.base.partitions import Partition
from shared.journal.agenda import end_of_window
from shared.ports.clock import Runtime

SWEEP_WINDOW: Final = timedelta(hours=1)

GRACE: Final = timedelta(hours=6)
"""An upload of the largest size on a slow line has ended by then."""

_FORMER_DAY: Final = "former-"


def object_name(tenant: str, document: str, number: int, at: datetime, runtime: Runtime) -> str:
    """A name for an object that is sealed at a time; random, so that no two are the same."""
    return f"{hour_prefix(tenant, at)}{document}.{number}.{runtime.random(8).hex()}"


def staged_name(tenant: str, at: datetime, upload: str) -> str:
    """The name of a staged object whose upload was granted at a time."""
    return f"{hour_prefix(tenant, at)}{upload}"


def hour_prefix(tenant: str, at: datetime) -> str:
    """What the names of a tenant's objects begin with that were made in the hour of a time, UTC."""
    hour = at.isoformat()[:13].replace("T", "-")  # strftime takes five times as long
    return f"{tenant}/{hour}/"


def sweep_due(at: datetime) -> datetime:
    """When the sweep looks at the objects that are made at a time."""
    return end_of_window(at, SWEEP_WINDOW) + GRACE


def swept_prefix(partition: Partition, due: datetime) -> str:
    """The prefix of the objects that an agenda item of the sweep is about.

    Args:
        partition: The item's.
        due: As ``sweep_due`` gave it; without meaning for ``former_day``.
    """
    if partition.part.startswith(_FORMER_DAY):
        return f"{partition.tenant}/{partition.part.removeprefix(_FORMER_DAY)}/"
    return hour_prefix(partition.tenant, due - GRACE - SWEEP_WINDOW)


def former_day(tenant: str, day: datetime) -> Partition:
    """Stands on the agenda for a day's objects of a release before 0.2, whose names begin with the day."""
    return Partition(tenant, f"{_FORMER_DAY}{day:%Y-%m-%d}")
