"""Targets, how they fare, and what waits to be copied to them, as they are kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from shared.base.leases import lasts
from shared.base.models import Base64UrlBytes, JsonObject, Model, TaggedModel, UtcDatetime
from shared.ports.targets import TargetAddress, TargetCredentials
from shared.targets.format import TargetManifest

LONGEST_PAUSE: Final = timedelta(hours=6)
"""Between two tries of what fails."""

MAX_TARGETS: Final = 5
"""Of one tenant."""

MAX_NAME: Final = 64

TargetName = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_NAME, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")
]
"""What the administrators call a target: no control characters."""

State = Literal["active", "paused", "failing"]


class TargetConfiguration(Model):
    """What decides where copies go and who can open them.

    It is kept sealed, so that no one who can only write records changes either.

    Attributes:
        address: Where the target is.
        credentials: For it.
        recipients: What key files are encrypted to; none: the target has no key files.
        quorum: How many holders it takes to open them; 0 without recovery keys.
        holders: How many there are.
    """

    address: TargetAddress
    credentials: TargetCredentials
    recipients: tuple[str, ...] = ()
    quorum: int = 0
    holders: int = 0

    def with_secrets(self) -> JsonObject:
        """As JSON, the credentials in clear: to be sealed."""
        credentials = {
            name: secret.get_secret_value() for name, secret in self.credentials if secret
        }
        return self.model_dump(mode="json") | {"credentials": credentials}

    def manifest(self, environment: str, tenant: str) -> TargetManifest:
        """What ``strongroom.json`` says there."""
        shared = self.quorum > 1
        return TargetManifest(
            environment=environment,
            tenant=tenant,
            recipient=self.recipients[0] if shared else None,
            recipients=None if shared else self.recipients,
            quorum=self.quorum,
            holders=self.holders,
        )


class Target(TaggedModel):
    """External storage that a tenant owns and configured for its backups.

    Attributes:
        name: What the administrators call it.
        epoch: The epoch whose key seals ``configuration``.
        configuration: A ``TargetConfiguration``, sealed.
        bytes_per_second: The most to send; 0: no limit.
        state: *failing* once it has failed for a week; copies go on being tried.
        created_by: The user.
    """

    id: str
    name: TargetName
    epoch: str
    configuration: Base64UrlBytes
    bytes_per_second: int = Field(ge=0)
    state: State = "active"
    created_at: UtcDatetime
    created_by: str


_WELL: Final = {"attempts": 0, "failed_since": None, "next_at": None}


class TargetStatus(Model):
    """How copying to a target fares; changed by the timer alone.

    Attributes:
        id: The target's.
        backfill: Where the walk over the documents that were there before the target goes on; None: at
            the beginning, or ``backfilled``.
        backfilled: Whether that walk has ended.
        attempts: Failures since the last success.
        failed_since: The first of them.
        next_at: Not before that time is anything tried.
        revived_at: When an administrator last repaired or probed it: what failed before is tried again.
        last_success_at: When something was last copied or erased.
        last_error: The slug of the last failure.
        last_error_at: When.
    """

    id: str
    backfill: str | None = None
    backfilled: bool = False
    attempts: int = 0
    failed_since: UtcDatetime | None = None
    next_at: UtcDatetime | None = None
    revived_at: UtcDatetime | None = None
    last_success_at: UtcDatetime | None = None
    last_error: str = ""
    last_error_at: UtcDatetime | None = None

    def succeeded(self, now: datetime) -> TargetStatus:
        """After something was done."""
        return self.model_copy(update=_WELL | {"last_success_at": now})

    def revived(self, now: datetime) -> TargetStatus:
        """After an administrator has repaired the target."""
        return self.model_copy(update=_WELL | {"revived_at": now})

    def failed(self, now: datetime, error: str, next_at: datetime) -> TargetStatus:
        """After a failure of the target itself.

        Args:
            now: The time.
            error: The slug.
            next_at: When to try again.
        """
        return self.model_copy(
            update={
                "attempts": self.attempts + 1,
                "failed_since": self.failed_since or now,
                "next_at": next_at,
                "last_error": error,
                "last_error_at": now,
            }
        )


class WaitingCopy(Model):
    """One version that waits to be copied to one target, or one document that waits to be erased there.

    Attributes:
        version: The version's number; 0 for an erasure.
        since: When it began to wait.
        attempts: Failures so far.
        failed_since: The first of them.
        failed_at: The last of them.
        next_at: Not before that time is it tried again.
        reported: Whether the audit log has its failure.
    """

    target: str
    document: str
    version: int
    what: Literal["copy", "erase"]
    since: UtcDatetime
    attempts: int = 0
    failed_since: UtcDatetime | None = None
    failed_at: UtcDatetime | None = None
    next_at: UtcDatetime | None = None
    reported: bool = False

    def pause_until(self, now: datetime, revived_at: datetime | None) -> datetime | None:
        """When it is to be tried again; None: now.

        Args:
            now: The time.
            revived_at: Of the target.
        """
        if self.failed_at is None or not lasts(self.next_at, now, LONGEST_PAUSE):
            return None
        if revived_at is not None and revived_at >= self.failed_at:
            return None
        return self.next_at

    @property
    def id(self) -> str:
        """One of a version and a target; in the order of the documents' ids."""
        number = f"{self.version:06d}" if self.what == "copy" else "erase"
        return f"{self.document}.{number}.{self.target}"


class TargetPlace(Model):
    """That a place is taken by a target of the tenant.

    Attributes:
        place: SHA-256 of the address.
        until: While the target is being set up: when the place is free again if nothing comes of it.
    """

    target: str
    place: str
    until: UtcDatetime | None = None


class TargetPlaces(Model):
    """The places of all of a tenant's targets: one record, so that none is taken twice."""

    places: tuple[TargetPlace, ...] = ()
