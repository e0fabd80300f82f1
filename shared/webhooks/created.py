"""A new webhook as the response to a repeated request shows it: as it was made, without its secret."""

from __future__ import annotations

from shared.access.principal import Principal
from shared.journal.idempotency import Outcome
from shared.webhooks.models import Webhook, WebhookConfiguration, WebhookStatus
from shared.webhooks.requests import DescribedWebhook, NewWebhook


def facts_of(webhook: Webhook, status: WebhookStatus) -> dict[str, str]:
    """What a response says of a new webhook and its request does not, for ``from_facts``."""
    return {
        "created_at": webhook.created_at.isoformat(),
        "position": str(status.position),
        "tag": webhook.tag,
    }


def from_facts(principal: Principal, new: NewWebhook, outcome: Outcome) -> DescribedWebhook:
    """The webhook that an earlier request like this one made, as it was then.

    Args:
        principal: Who made it.
        new: What the request says.
        outcome: What came of the first one.
    """
    webhook = Webhook.model_validate(
        {
            "id": outcome.made,
            "name": new.name,
            "kinds": new.kinds,
            "epoch": "",
            "configuration": b"",
            "created_at": outcome.facts["created_at"],
            "created_by": principal.user,
        }
    )
    return DescribedWebhook(
        webhook,
        outcome.facts["tag"],
        WebhookConfiguration(url=new.url, secrets=()),
        WebhookStatus(id=outcome.made, position=int(outcome.facts["position"])),
    )
