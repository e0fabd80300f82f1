"""The services of webhooks, put together."""

from __future__ import annotations

from dataclasses import dataclass

from shared.audit.periods import Periods
from shared.journal.idempotency import Idempotency
from shared.keys.epochs import EpochKeys
from shared.keys.sealing import ConfigurationSealer
from shared.ports.collectors import Collectors
from shared.webhooks.sending import Sender
from shared.webhooks.service import Webhooks
from shared.webhooks.store import WebhookRecords
from shared.webhooks.timer import WebhookTimer
from shared.webhooks.turns import WebhookTurns
from shared.wiring.audit import Audit


@dataclass(frozen=True, slots=True)
class WebhookServices:
    """What entry points call.

    Attributes:
        webhooks: For administrators.
        timer: Pushes what there is.
    """

    webhooks: Webhooks
    timer: WebhookTimer


def build_webhooks(
    store: WebhookRecords,
    audit: Audit,
    epochs: EpochKeys,
    idempotency: Idempotency,
    collectors: Collectors,
    environment: str,
) -> WebhookServices:
    """Put the services of webhooks together."""
    runtime = store.runtime
    sealer = ConfigurationSealer(epochs, environment, "webhook", runtime)
    sender = Sender(collectors, sealer, runtime)
    return WebhookServices(
        Webhooks(store, audit.reader, Periods(audit.log), sender, idempotency),
        WebhookTimer(store, WebhookTurns(store, audit.reader, sender)),
    )
