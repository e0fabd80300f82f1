"""Sending: one message to one collector, signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from shared.base.errors import Damaged, Unavailable
from shared.crypto.webhooks import webhook_headers
from shared.keys.sealing import ConfigurationSealer, SealedConfiguration
from shared.ports.clock import Runtime
from shared.ports.collectors import Collectors
from shared.webhooks.messages import PROBE_TYPE, Message, message
from shared.webhooks.models import Webhook, WebhookConfiguration

GONE: Final = 410
"""The collector wants nothing any more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of sending a message.

    Attributes:
        status: Of the response; 0: there was none.
        detail: What was wrong, a sentence of ours; empty: nothing, the message was taken.
    """

    status: int
    detail: str

    @property
    def taken(self) -> bool:
        """Whether the collector has taken the message."""
        return not self.detail


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends messages.

    Attributes:
        collectors: Where they go.
        sealer: Knows the configurations of webhooks.
        runtime: Time.
    """

    collectors: Collectors
    sealer: ConfigurationSealer
    runtime: Runtime

    async def open(self, tenant: str, webhook: Webhook) -> WebhookConfiguration:
        """The configuration of a webhook.

        Raises:
            Damaged: It is not what was sealed, or the tenant's keys are gone.
            Unavailable: The key vault or the record store does not respond.
        """
        sealed = SealedConfiguration(webhook.epoch, webhook.configuration)
        try:
            return WebhookConfiguration.model_validate(
                await self.sealer.open(tenant, webhook.id, sealed)
            )
        except ValidationError:
            # Not chained: its message quotes the secrets.
            raise Damaged("The configuration of a webhook is damaged.") from None

    async def probe(self, tenant: str, webhook: Webhook) -> Answer:
        """Send a message that says nothing, whatever the webhook's state.

        Raises:
            StrongroomError: As for ``open``.
        """
        now = self.runtime.now()
        id_of_message = self.runtime.new_id("msg", now)
        probe = message(id_of_message, PROBE_TYPE, now, {"webhook": webhook.id})
        return await self.send(await self.open(tenant, webhook), probe)

    async def send(self, configuration: WebhookConfiguration, message: Message) -> Answer:
        """Send a message."""
        now = self.runtime.now()
        headers = webhook_headers(
            configuration.signing(now), message.id, int(now.timestamp()), message.payload
        )
        headers |= {"content-type": "application/json", "user-agent": "Strongroom-Webhooks/1"}
        try:
            status = await self.collectors.post(configuration.url, headers, message.payload)
        except Unavailable as error:
            return Answer(0, error.detail)
        if 200 <= status < 300:
            return Answer(status, "")
        return Answer(status, f"The collector responded with the status {status}.")
