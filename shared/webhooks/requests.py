"""What administrators ask of webhooks, and how these are described to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

from shared.base.texts import normalized_text
from shared.webhooks.models import (
    MAX_NAME,
    Kind,
    Webhook,
    WebhookConfiguration,
    WebhookName,
    WebhookStatus,
)


def _normalized_name(name: str) -> str:
    return normalized_text(name, "The name", MAX_NAME)


NewWebhookName = Annotated[WebhookName, AfterValidator(_normalized_name)]
"""What an administrator is about to call a webhook."""


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook to set up."""

    name: str
    url: str
    kinds: tuple[Kind, ...]

    def request(self) -> dict[str, Any]:
        """What makes two requests the same."""
        return {"name": self.name, "url": self.url, "kinds": list(self.kinds)}


@dataclass(frozen=True, slots=True)
class WebhookChange:
    """What to change about a webhook; None: it stays."""

    name: str | None = None
    url: str | None = None
    kinds: tuple[Kind, ...] | None = None
    paused: bool | None = None

    @property
    def changed(self) -> list[str]:
        """The names of what changes."""
        return [name for name in self.__slots__ if getattr(self, name) is not None]

    def applied_to(self, webhook: Webhook) -> Webhook:
        """A webhook after the change, but for its URL."""
        update: dict[str, object] = {}
        if self.name is not None:
            update["name"] = self.name
        if self.kinds is not None:
            update["kinds"] = self.kinds
        if self.paused is not None:
            update["state"] = "paused" if self.paused else "active"
        return webhook.model_copy(update=update)


@dataclass(frozen=True, slots=True)
class DescribedWebhook:
    """A webhook, where it leads to, and how it fares.

    Attributes:
        webhook: It.
        tag: Its entity tag.
        configuration: Opened: its secrets are never shown.
        status: How it fares.
        secret: Where the request made one: as its owner gets it, this once.
    """

    webhook: Webhook
    tag: str
    configuration: WebhookConfiguration
    status: WebhookStatus
    secret: str | None = None
