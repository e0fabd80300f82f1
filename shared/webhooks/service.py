"""Webhooks, as a tenant's administrators see them: set up, described, changed, replayed, deleted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from shared.access.principal import Principal
from shared.audit.periods import Period, Periods
from shared.audit.reading import LogReader
from shared.base.errors import Conflict, Damaged, InvalidInput, PreconditionFailed
from shared.base.listing import Listing
from shared.base.partitions import Partition
from shared.crypto.webhooks import SECRET_BYTES, secret_text
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Action, Entry
from shared.journal.idempotency import Idempotency, IdempotencyKey, Outcome
from shared.webhooks.created import facts_of, from_facts
from shared.webhooks.models import (
    MAX_WEBHOOKS,
    Webhook,
    WebhookConfiguration,
    WebhookSecret,
    WebhookStatus,
)
from shared.webhooks.requests import DescribedWebhook, NewWebhook, WebhookChange
from shared.webhooks.sending import Answer, Sender
from shared.webhooks.store import WebhookRecords

_log = logging.getLogger("strongroom.webhooks")


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The webhooks of the tenants.

    Attributes:
        store: Finds and changes them.
        reader: Reads the logs, and commits changes with their audit entries.
        periods: Find positions by time.
        sender: Sends what is to be tried, and knows configurations.
        idempotency: Remembers outcomes of POSTs.
    """

    store: WebhookRecords
    reader: LogReader
    periods: Periods
    sender: Sender
    idempotency: Idempotency

    async def create(
        self, principal: Principal, new: NewWebhook, key: IdempotencyKey | None
    ) -> DescribedWebhook:
        """Set up a webhook, which gets what happens from now on.

        A repeated request returns the webhook as it was created, without the secret.

        Raises:
            Conflict: There are ``MAX_WEBHOOKS``.
            IdempotencyKeyReused: The key belongs to a different request.
            InvalidInput: The URL cannot be a collector's.
        """
        tenant, runtime = principal.tenant, self.store.runtime
        self.sender.collectors.check(new.url)
        new_id, secret = runtime.new_id("whk"), runtime.random(SECRET_BYTES)
        configuration = WebhookConfiguration(url=new.url, secrets=(WebhookSecret(key=secret),))
        sealed = await self.sender.sealer.seal(
            tenant, new_id, configuration.model_dump(mode="json")
        )
        webhook = Webhook(
            id=new_id,
            name=new.name,
            kinds=new.kinds,
            epoch=sealed.epoch,
            configuration=sealed.sealed,
            created_at=runtime.now(),
            created_by=principal.user,
        )
        newest = await self.reader.checkpoints.newest(tenant)
        status = WebhookStatus(id=new_id, position=newest.tree.size if newest else 0)
        await self.store.prepare(tenant)

        def added(webhooks: tuple[Webhook, ...]) -> tuple[Webhook, ...]:
            if len(webhooks) >= MAX_WEBHOOKS:
                raise Conflict("Others were added at the same time.")
            return (*webhooks, webhook)

        async def attempt() -> DescribedWebhook | None:
            partition = Partition(tenant)
            outcome = await self.idempotency.outcome(key, new.request(), partition)
            if outcome is not None:
                return await self._repeated(principal, new, outcome)
            if len(await self.store.of_tenant(tenant)) >= MAX_WEBHOOKS:
                return None
            await self.reader.journal.commit(
                self.reader.journal.entry(
                    Action.WEBHOOK_CREATE, new_id, by=principal, details={"kinds": list(new.kinds)}
                ),
                [
                    await self.store.changed(tenant, added),
                    self.store.statuses.create(partition, status),
                    *self.idempotency.remember(
                        key, new.request(), new_id, partition, facts_of(webhook, status)
                    ),
                ],
            )
            return DescribedWebhook(
                webhook, webhook.tag, configuration, status, secret_text(secret)
            )

        created = await retry_conflicts(attempt, runtime)
        if created is None:
            raise Conflict(f"There are {MAX_WEBHOOKS} webhooks, which is the most; delete one.")
        return created

    async def all(self, principal: Principal) -> Listing[DescribedWebhook]:
        """The webhooks of the caller's tenant, oldest first."""
        webhooks = await self.store.of_tenant(principal.tenant)
        await self.reader.journal.commit(
            self.reader.journal.entry(Action.WEBHOOK_LIST, by=principal)
        )
        items, damaged = [], []
        for webhook in webhooks:
            try:
                items.append(await self._described(principal.tenant, webhook))
            except Damaged:
                _log.error("record.damaged kind=webhook id=%s", webhook.id)
                damaged.append(webhook.id)
        return Listing(items, None, damaged)

    async def read(self, principal: Principal, webhook: str) -> DescribedWebhook:
        """A webhook of the caller's tenant.

        Raises:
            NotFound: There is no such webhook, and so for the others.
        """
        found = await self.store.get(principal.tenant, webhook)
        entry = self.reader.journal.entry(Action.WEBHOOK_READ, webhook, by=principal)
        await self.reader.journal.commit(entry)
        return await self._described(principal.tenant, found)

    async def change(
        self, principal: Principal, webhook: str, change: WebhookChange, if_match: str | None
    ) -> DescribedWebhook:
        """Change a webhook; failures before are forgotten, and what was not taken is sent again.

        Raises:
            InvalidInput: The URL cannot be a collector's.
            PreconditionFailed: The webhook's etag is not ``if_match``.
        """
        if change.url is not None:
            self.sender.collectors.check(change.url)

        async def changed(found: Webhook) -> Webhook:
            if if_match is not None and if_match != found.tag:
                raise PreconditionFailed(
                    "The webhook was changed since you read it; read it again."
                )
            if change.url is not None:
                former = await self.sender.open(principal.tenant, found)
                found = await self._resealed(
                    principal.tenant, found, former.model_copy(update={"url": change.url})
                )
            return change.applied_to(found)

        entry = self.reader.journal.entry(
            Action.WEBHOOK_CHANGE, webhook, by=principal, details={"changed": change.changed}
        )
        return await self._change(principal, entry, changed, WebhookStatus.revived)

    async def rotate(self, principal: Principal, webhook: str) -> DescribedWebhook:
        """Give a webhook a new secret; the one before signs as well for 24 hours."""
        secret = self.store.runtime.random(SECRET_BYTES)

        async def rotated(found: Webhook) -> Webhook:
            former = await self.sender.open(principal.tenant, found)
            configuration = former.rotated(secret, self.store.runtime.now())
            return await self._resealed(principal.tenant, found, configuration)

        entry = self.reader.journal.entry(Action.WEBHOOK_ROTATE, webhook, by=principal)
        described = await self._change(principal, entry, rotated, lambda status: status)
        return replace(described, secret=secret_text(secret))

    async def replay(
        self, principal: Principal, webhook: str, start: int | datetime
    ) -> DescribedWebhook:
        """Send again what was sent before.

        Args:
            principal: Who asks.
            webhook: Which.
            start: The position of the first entry, or when it was made at the earliest.

        Raises:
            InvalidInput: The log's newest checkpoint does not reach as far.
            NotFound: There is no such webhook, or no checkpoint yet.
        """
        size = (await self.reader.checkpoint(principal.tenant)).tree.size
        if isinstance(start, datetime):
            tree = self.reader.tree(principal.tenant, size)
            found = await self.periods.positions(tree, Period(since=start))
            position = found.start if found else size
        else:
            position = start
        if position > size:
            raise InvalidInput(f"The newest checkpoint is of {size} entries; send no more.")

        async def same(found: Webhook) -> Webhook:
            return found

        entry = self.reader.journal.entry(
            Action.WEBHOOK_REPLAY, webhook, by=principal, details={"position": position}
        )
        return await self._change(principal, entry, same, lambda status: status.moved(position))

    async def probe(self, principal: Principal, webhook: str) -> Answer:
        """Send a message of the type ``webhook.probe`` now, whatever the webhook's state."""
        found = await self.store.get(principal.tenant, webhook)
        answer = await self.sender.probe(principal.tenant, found)
        await self.reader.journal.commit(
            self.reader.journal.entry(
                Action.WEBHOOK_PROBE,
                webhook,
                by=principal,
                failed="" if answer.taken else "unavailable",
                details={"status": answer.status},
            )
        )
        return answer

    async def delete(self, principal: Principal, webhook: str) -> None:
        """Delete a webhook and its secrets."""
        await self.store.get(principal.tenant, webhook)

        async def attempt() -> None:
            status = await self.store.status(principal.tenant, webhook)
            await self.reader.journal.commit(
                self.reader.journal.entry(Action.WEBHOOK_DELETE, webhook, by=principal),
                [
                    await self.store.changed(
                        principal.tenant,
                        lambda found: tuple(each for each in found if each.id != webhook),
                    ),
                    self.store.statuses.delete(status),
                ],
            )

        await retry_conflicts(attempt, self.store.runtime)

    async def _change(
        self,
        principal: Principal,
        entry: Entry,
        change: Callable[[Webhook], Awaitable[Webhook]],
        move: Callable[[WebhookStatus], WebhookStatus],
    ) -> DescribedWebhook:
        """Change what an entry names and where it is in the log, and let the timer look at it."""
        tenant, webhook = principal.tenant, entry.resource
        await self.store.get(tenant, webhook)
        await self.store.prepare(tenant)

        async def attempt() -> Webhook:
            found = await self.store.get(tenant, webhook)
            status = await self.store.status(tenant, webhook)
            changed = await change(found)
            await self.reader.journal.commit(
                entry,
                [
                    await self.store.replaced(tenant, found, changed),
                    self.store.statuses.replace(status, move(status.value)),
                ],
            )
            return changed

        changed = await retry_conflicts(attempt, self.store.runtime)
        return await self._described(tenant, changed)

    async def _resealed(
        self, tenant: str, webhook: Webhook, configuration: WebhookConfiguration
    ) -> Webhook:
        sealed = await self.sender.sealer.seal(
            tenant, webhook.id, configuration.model_dump(mode="json")
        )
        return webhook.model_copy(update={"epoch": sealed.epoch, "configuration": sealed.sealed})

    async def _repeated(
        self, principal: Principal, new: NewWebhook, outcome: Outcome
    ) -> DescribedWebhook:
        """The webhook as the first request under a key made it, without its secret."""
        entry = self.reader.journal.entry(Action.WEBHOOK_READ, outcome.made, by=principal)
        await self.reader.journal.commit(entry)
        return from_facts(principal, new, outcome)

    async def _described(self, tenant: str, webhook: Webhook) -> DescribedWebhook:
        return DescribedWebhook(
            webhook,
            webhook.tag,
            await self.sender.open(tenant, webhook),
            (await self.store.status(tenant, webhook.id)).value,
        )
