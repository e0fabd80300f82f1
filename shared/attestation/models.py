"""What others stated about a log, as records hold it: one record of each kind a tenant."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Self

from shared.base.leases import lasts
from shared.base.models import Base64UrlBytes, Model, UtcDatetime
from shared.journal.collections import Collection
from shared.ports.records import RecordStore

WITNESSED_KIND: Final = "audit-witnessed"
WITNESSED_ID: Final = "witnessed"
TIMESTAMP_KIND: Final = "audit-timestamp"
TIMESTAMP_ID: Final = "timestamp"

PAUSES: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))
"""How long a service that failed is left alone, the first time and each time after; the last for good."""


class Attempts(Model):
    """How asking a service about a log fares.

    Attributes:
        failures: In a row.
        next_at: When it may be asked again; None: now.
    """

    failures: int = 0
    next_at: UtcDatetime | None = None

    def failed(self, now: datetime) -> Self:
        """The same after one more failure."""
        pause = PAUSES[min(self.failures, len(PAUSES) - 1)]
        return self.model_copy(update={"failures": self.failures + 1, "next_at": now + pause})

    def waits(self, now: datetime) -> bool:
        """Whether it must not be asked yet."""
        return self.next_at is not None and lasts(self.next_at, now, PAUSES[-1])


class WitnessStatus(Attempts):
    """How a witness fares with a log.

    Attributes:
        key: Of the witness, a vkey.
        size: Of the checkpoint that it cosigned last, as far as is known.
        root: Of that checkpoint, hexadecimal; empty: the witness alone knows, or there is none.
    """

    key: str
    size: int = 0
    root: str = ""


class WitnessedLog(Model):
    """What witnesses cosigned of a log.

    Attributes:
        size: Entries of the newest checkpoint that a quorum cosigned.
        note: That checkpoint, with the log's signatures and the cosignatures; empty: there is none yet.
        pending: The checkpoint after it, with the cosignatures so far; empty: none has been asked for.
        witnesses: How each fares.
    """

    size: int = 0
    note: str = ""
    pending: str = ""
    witnesses: tuple[WitnessStatus, ...] = ()


class StampedLog(Attempts):
    """The newest time stamp of a log.

    Attributes:
        size: Entries of the checkpoint that was stamped.
        note: That checkpoint; empty: there is none yet.
        reply: The ``TimeStampResp`` of the SHA-256 of the note, DER.
        stamped_at: When it was asked for.
    """

    size: int = 0
    note: str = ""
    reply: Base64UrlBytes = b""
    stamped_at: UtcDatetime | None = None


def witnessed_logs(records: RecordStore) -> Collection[WitnessedLog]:
    """What witnesses cosigned of each log, in its tenant's main partition."""
    return Collection(records, WitnessedLog, WITNESSED_KIND, lambda _: WITNESSED_ID)


def stamped_logs(records: RecordStore) -> Collection[StampedLog]:
    """The newest time stamp of each log, in its tenant's main partition."""
    return Collection(records, StampedLog, TIMESTAMP_KIND, lambda _: TIMESTAMP_ID)
