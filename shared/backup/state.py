"""How far the backups of a tenant are, and where they keep each version: as records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.backup.models import PrecedingSet, version_id
from shared.base.leases import lasts
from shared.base.models import Model, UtcDatetime
from shared.journal.collections import Collection
from shared.keys.models import IntermediateKey
from shared.ports.records import RecordStore

STATE_KIND: Final = "backup-state"
LEASE: Final = timedelta(minutes=10)
"""For so long an attempt that does not say that it goes on is left alone."""

STATE_ID: Final = "state"
LOCATION_KIND: Final = "backup-location"


class Location(Model):
    """Where the backup keeps a version; a record in the partition of its document.

    Attributes:
        document: The document.
        number: Of the version.
        pack: Names the pack.
        offset: Where its sealed content begins there.
        size: Of the sealed content, bytes.
        page: Names the key page.
    """

    document: str
    number: int
    pack: str
    offset: int
    size: int
    page: str

    @property
    def id(self) -> str:
        """Of the record."""
        return version_id(self.document, self.number)


class BackupState(Model):
    """How far the backups of a tenant are; one record in its main partition.

    Attributes:
        id: Always the same.
        sequence: Of the newest set; 0 before the first.
        last: The newest set.
        made_at: Its point in time.
        attempt: The id of the set that is being made; None: none is.
        attempt_until: When others may take over, unless it is moved.
        whole: Whether the next set reads all records anew, because the feed's positions are lost.
        restored_at: When the tenant last went back in time.
        anew: Partitions that the next set makes anew, because what the last one has of them is damaged.
        unfinished: Attempts that ended without a set; what they wrote of key pages is to be looked through.
    """

    id: str = STATE_ID
    sequence: int = 0
    last: PrecedingSet | None = None
    made_at: UtcDatetime | None = None
    attempt: str | None = None
    attempt_until: UtcDatetime | None = None
    whole: bool = False
    restored_at: UtcDatetime | None = None
    anew: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()

    def under_way(self, now: datetime) -> bool:
        """Whether a set is being made."""
        return lasts(self.attempt_until, now, LEASE)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One set that is being made.

    Attributes:
        id: Of the set.
        tenant: Whose.
        under: Wraps the keys of its segments.
        retain_until: Until when what is written for it is retained.
        search: Whether the backup may have versions that no index names yet.
        renew: Tells others that it is still being made.
    """

    id: str
    tenant: str
    under: IntermediateKey
    retain_until: datetime
    search: bool
    renew: Callable[[], Awaitable[None]]


def states_of(records: RecordStore) -> Collection[BackupState]:
    """The state of each tenant's backups, in its main partition."""
    return Collection(records, BackupState, STATE_KIND, lambda state: state.id)


def locations_of(records: RecordStore) -> Collection[Location]:
    """Where the backup keeps versions, in the partitions of their documents."""
    return Collection(
        records,
        Location,
        LOCATION_KIND,
        lambda location: location.id,
        index_of=lambda location: {"document": location.document},
    )
