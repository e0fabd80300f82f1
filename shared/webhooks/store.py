"""Where webhooks and how they fare are kept as records, and how the timer learns of work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.base.errors import Conflict, NotFound
from shared.base.partitions import Partition
from shared.journal.agenda import Agenda, Task, end_of_window
from shared.journal.collections import Collection, Stored
from shared.ports.clock import Runtime
from shared.ports.records import Change, RecordStore
from shared.webhooks.models import TenantWebhooks, Webhook, WebhookStatus

WEBHOOKS_KIND: Final = "webhooks"
STATUS_KIND: Final = "webhook-status"
MISSING: Final = "There is no such webhook in your tenant."

_ID: Final = "current"
_SECOND: Final = timedelta(seconds=1)


@dataclass(slots=True)
class WebhookRecords:
    """Finds and changes webhooks.

    Attributes:
        records: Where they are kept.
        agenda: Says when a tenant's webhooks have something to push.
        runtime: Time.
    """

    records: RecordStore
    agenda: Agenda
    runtime: Runtime
    statuses: Collection[WebhookStatus] = field(init=False)
    _tenants: Collection[TenantWebhooks] = field(init=False)

    def __post_init__(self) -> None:
        self.statuses = Collection(
            self.records, WebhookStatus, STATUS_KIND, lambda status: status.id, missing=MISSING
        )
        self._tenants = Collection(self.records, TenantWebhooks, WEBHOOKS_KIND, lambda _: _ID)

    async def of_tenant(self, tenant: str) -> tuple[Webhook, ...]:
        """A tenant's webhooks, from the oldest."""
        found = await self._tenants.find(Partition(tenant), _ID)
        return found.value.webhooks if found else ()

    async def get(self, tenant: str, webhook: str) -> Webhook:
        """A webhook.

        Raises:
            NotFound: There is none.
        """
        for each in await self.of_tenant(tenant):
            if each.id == webhook:
                return each
        raise NotFound(MISSING)

    async def status(self, tenant: str, webhook: str) -> Stored[WebhookStatus]:
        """How a webhook fares.

        Raises:
            NotFound: There is no such webhook.
        """
        return await self.statuses.get(Partition(tenant), webhook)

    async def changed(
        self, tenant: str, change: Callable[[tuple[Webhook, ...]], tuple[Webhook, ...]]
    ) -> Change:
        """The change to the webhooks of a tenant, to be committed: a conflict if they changed since.

        Raises:
            StrongroomError: What ``change`` raises.
        """
        partition = Partition(tenant)
        found = await self._tenants.find(partition, _ID)
        after = TenantWebhooks(webhooks=change(found.value.webhooks if found else ()))
        if found is None:
            return self._tenants.create(partition, after, _ID)
        return self._tenants.replace(found, after)

    async def replaced(self, tenant: str, webhook: Webhook, by: Webhook) -> Change:
        """The change of one webhook as it was read, to be committed; a conflict if it changed since.

        Raises:
            Conflict: It is not as it was read.
        """

        def change(webhooks: tuple[Webhook, ...]) -> tuple[Webhook, ...]:
            if webhook not in webhooks:
                raise Conflict("The webhook was changed concurrently.")
            return tuple(by if each == webhook else each for each in webhooks)

        return await self.changed(tenant, change)

    async def announce(self, tenant: str) -> None:
        """Before a commit that makes work for the webhooks of a tenant, if there are any."""
        if any(each.state == "active" for each in await self.of_tenant(tenant)):
            await self.prepare(tenant)

    async def prepare(self, tenant: str) -> None:
        """Before a commit that makes work for a webhook."""
        await self.agenda.announce(Task.PUSH_WEBHOOKS, Partition(tenant))

    async def schedule(self, tenant: str, at: datetime) -> None:
        """Let the timer look at a tenant's webhooks at a time, or soon, where that has passed."""
        # In whole seconds, as items are named: one that is about to be taken off is another.
        due = end_of_window(max(at, self.runtime.now()), _SECOND)
        await self.agenda.add(Task.PUSH_WEBHOOKS, Partition(tenant), due)
