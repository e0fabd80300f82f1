"""The timer of webhooks: several tenants side by side, and several webhooks of each."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.base.concurrency import at_once
from shared.base.errors import StrongroomError
from shared.base.partitions import Partition
from shared.journal.agenda import AgendaItem, Task
from shared.journal.collections import Stored
from shared.webhooks.store import WebhookRecords
from shared.webhooks.turns import WebhookTurns

TENANTS_AT_ONCE: Final = 8
WEBHOOKS_AT_ONCE: Final = 4
"""Of one tenant. Each sends one message at a time, so that they come in order."""

AFTER_FAILURE: Final = timedelta(minutes=1)
"""When a webhook is looked at again to which a part of the service kept from pushing."""

_log = logging.getLogger("strongroom.webhooks")


@dataclass(frozen=True, slots=True)
class WebhookTimer:
    """Pushes what there is.

    Attributes:
        store: Has the agenda.
        turns: Push to one webhook for a while.
    """

    store: WebhookRecords
    turns: WebhookTurns

    async def run(self) -> None:
        """Push to the webhooks of each tenant that is due. One that fails holds up no other."""
        items: dict[str, list[Stored[AgendaItem]]] = {}
        async for item in self.store.agenda.due(Task.PUSH_WEBHOOKS):
            items.setdefault(Partition.parse(item.value.partition).tenant, []).append(item)

        async def push(tenant: str) -> None:
            try:
                webhooks = await self.store.of_tenant(tenant)
                again = await at_once(
                    lambda webhook: self._take(tenant, webhook.id), webhooks, WEBHOOKS_AT_ONCE
                )
                times = [time for time in again if time is not None]
                if times:
                    await self.store.schedule(tenant, min(times))
                await self.store.agenda.remove(Task.PUSH_WEBHOOKS, items[tenant])
            except StrongroomError as error:  # it stays on the agenda
                _log.error("webhook.turn-failed in %s: %s", tenant, error.slug)

        await at_once(push, items, TENANTS_AT_ONCE)

    async def _take(self, tenant: str, webhook: str) -> datetime | None:
        try:
            return await self.turns.take(tenant, webhook)
        except StrongroomError as error:
            _log.error("webhook.turn-failed %s: %s", webhook, error.slug)
        except Exception as error:
            # Messages of unexpected errors may quote what they choked on.
            _log.error("webhook.turn-failed %s: %s", webhook, type(error).__qualname__)
        return self.store.runtime.now() + AFTER_FAILURE
