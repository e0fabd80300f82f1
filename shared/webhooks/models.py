"""Webhooks and how they fare, as they are kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from shared.base.models import Base64UrlBytes, Model, TaggedModel, UtcDatetime

MAX_WEBHOOKS: Final = 10
"""Of one tenant."""

MAX_NAME: Final = 64

OVERLAP: Final = timedelta(hours=24)
"""How long the secret before signs as well after a rotation."""

PAUSES: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
"""How long a webhook rests after its first failure, its second, ...; then it is paused."""

Kind = Literal["audit", "documents"]
State = Literal["active", "paused", "failed", "disabled"]

WebhookName = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_NAME, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")
]
"""What the administrators call a webhook: no control characters."""


class WebhookSecret(Model):
    """What signs messages.

    Attributes:
        key: Its bytes.
        until: When it ceases to sign; None: it is the newest.
    """

    key: Base64UrlBytes = Field(repr=False)
    until: UtcDatetime | None = None


class WebhookConfiguration(Model):
    """Where messages go, and what signs them; kept sealed, as URLs often hold secrets, too.

    Attributes:
        url: Of the collector, https.
        secrets: From the newest.
    """

    url: str = Field(repr=False)
    secrets: tuple[WebhookSecret, ...]

    def signing(self, now: datetime) -> list[bytes]:
        """The secrets that sign at a time."""
        return [each.key for each in self.secrets if each.until is None or now < each.until]

    def rotated(self, key: bytes, now: datetime) -> WebhookConfiguration:
        """With a new secret; the one before it signs for ``OVERLAP``, and earlier ones no more."""
        former = self.secrets[0].model_copy(update={"until": now + OVERLAP})
        return self.model_copy(update={"secrets": (WebhookSecret(key=key), former)})


class Webhook(TaggedModel):
    """A collector of a tenant's, and what is pushed there.

    Attributes:
        name: What the administrators call it.
        kinds: What is pushed: entries of the audit log, events of documents.
        epoch: The epoch whose key seals ``configuration``.
        configuration: A ``WebhookConfiguration``, sealed.
        state: *paused* by an administrator, *failed* after too many failures, *disabled* by the collector,
            which responded with 410. In these three nothing is pushed, until an administrator resumes it.
        created_by: The user.
    """

    id: str
    name: WebhookName
    kinds: tuple[Kind, ...]
    epoch: str
    configuration: Base64UrlBytes
    state: State = "active"
    created_at: UtcDatetime
    created_by: str


class TenantWebhooks(Model):
    """The webhooks of a tenant, from the oldest: one record.

    So there are never more than ``MAX_WEBHOOKS``, and a restore, which changes no record that exists,
    brings back none that was deleted.
    """

    webhooks: tuple[Webhook, ...] = ()


class WebhookStatus(Model):
    """How far a webhook is in the log, and how it fares.

    Attributes:
        id: The webhook's.
        position: Of the first entry of which not everything was taken.
        end: Where the batch ends that is being sent; 0: none is. A message that is sent again is the same.
        sent: How many messages of that batch were taken.
        attempts: Failures since the last success.
        failed_since: The first of them.
        next_at: Not before that time is anything sent.
        last_success_at: When a message was last taken.
        last_error: What was wrong with the last one that was not: a sentence of ours.
        last_error_at: When.
    """

    id: str
    position: int
    end: int = 0
    sent: int = 0
    attempts: int = 0
    failed_since: UtcDatetime | None = None
    next_at: UtcDatetime | None = None
    last_success_at: UtcDatetime | None = None
    last_error: str = ""
    last_error_at: UtcDatetime | None = None

    def moved(self, position: int) -> WebhookStatus:
        """Going on somewhere else in the log, at once."""
        return self.model_copy(update={"position": position, "end": 0, "sent": 0, **_WELL})

    def revived(self) -> WebhookStatus:
        """After an administrator has changed something: failures are forgotten, a batch begins anew."""
        return self.moved(self.position)

    def took(self, position: int, now: datetime | None) -> WebhookStatus:
        """After a batch was taken; without ``now``, it had no message."""
        taken = self.moved(position)
        return taken if now is None else taken.model_copy(update={"last_success_at": now})

    def failed(self, end: int, sent: int, error: str, now: datetime) -> WebhookStatus:
        """After a message of a batch was not taken."""
        rest = PAUSES[self.attempts] if self.attempts < len(PAUSES) else None
        return self.model_copy(
            update={
                "end": end,
                "sent": sent,
                "attempts": self.attempts + 1,
                "failed_since": self.failed_since or now,
                "next_at": now + rest if rest else None,
                "last_error": error,
                "last_error_at": now,
            }
        )


_WELL: Final = {"attempts": 0, "failed_since": None, "next_at": None}
