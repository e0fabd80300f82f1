"""A turn: one webhook gets what is new in the log, message by message, until it fails or time is over."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.audit.reading import LogReader
from shared.audit.sequence import ReadEntry, read_in_order
from shared.audit.tree import StoredTree
from shared.base.errors import Conflict, NotFound
from shared.base.leases import lasts
from shared.base.partitions import Partition
from shared.crypto.tiles import WIDTH
from shared.journal.collections import Stored
from shared.journal.entries import Action
from shared.webhooks.messages import messages_of
from shared.webhooks.models import PAUSES, State, Webhook, WebhookStatus
from shared.webhooks.sending import GONE, Answer, Sender
from shared.webhooks.store import WebhookRecords

TURN: Final = timedelta(seconds=20)
"""No batch is begun later in a turn, and no message: others wait."""

BATCH_ENTRIES: Final = 100
BATCH_BYTES: Final = 262_144
"""Of the leaves in a batch, but for the last one: collectors take bodies of a megabyte."""

_log = logging.getLogger("strongroom.webhooks")


@dataclass(frozen=True, slots=True)
class WebhookTurns:
    """Pushes to one webhook for a while.

    Attributes:
        store: Knows how far it is.
        reader: Reads the log.
        sender: Sends.
    """

    store: WebhookRecords
    reader: LogReader
    sender: Sender

    async def take(self, tenant: str, webhook: str) -> datetime | None:
        """Push what is new; return when to look at the webhook again, None: when there is more.

        Raises:
            StrongroomError: A part of the service failed.
        """
        until = self.store.runtime.now() + TURN
        newest = await self.reader.checkpoints.newest(tenant)
        if newest is None:
            return None
        tree = self.reader.tree(tenant, newest.tree.size)
        try:
            while True:
                now = self.store.runtime.now()
                # What an administrator changes counts from the next batch on.
                found = await self.store.get(tenant, webhook)
                status = await self.store.status(tenant, webhook)
                next_at = status.value.next_at
                if found.state != "active":
                    return None
                if next_at is not None and lasts(next_at, now, PAUSES[-1]):
                    return next_at
                if status.value.position >= tree.size:
                    return None
                if now >= until:
                    return now
                again = await self._push(tree, found, status, until)
                if again is not None:
                    return again
        except NotFound:
            return None  # it was deleted
        except Conflict:
            return self.store.runtime.now()  # changed, or pushed to by another process

    async def _push(
        self, tree: StoredTree, webhook: Webhook, status: Stored[WebhookStatus], until: datetime
    ) -> datetime | None:
        """Push one batch; return when to go on, if that is not at once."""
        known = status.value
        entries = await self._batch(tree, known)
        end = entries[-1].position + 1
        messages = messages_of(webhook.kinds, entries)
        configuration = await self.sender.open(tree.tenant, webhook)
        now = None
        for sent, message in enumerate(messages[known.sent :], start=known.sent):
            now = self.store.runtime.now()
            if now >= until:
                paused = known.model_copy(update={"end": end, "sent": sent})
                await self._save(status, paused)
                return now
            answer = await self.sender.send(configuration, message)
            if not answer.taken:
                return await self._failed(webhook, status, answer, end, sent)
        await self._save(status, known.took(end, now))
        return None

    async def _batch(self, tree: StoredTree, status: WebhookStatus) -> Sequence[ReadEntry]:
        """The entries of the batch that is being sent, or else of the next one."""
        start, size = status.position, 0
        end = status.end or min(tree.size, start + BATCH_ENTRIES)
        # A batch lies within a bundle.
        end = min(end, (start // WIDTH + 1) * WIDTH)
        [found] = [each async for each in read_in_order(tree, self.reader.log.sealer, start, end)]
        if status.end:
            return found
        for number, entry in enumerate(found):
            size += len(entry.leaf)
            if size > BATCH_BYTES:
                return found[: max(1, number)]
        return found

    async def _failed(
        self,
        webhook: Webhook,
        status: Stored[WebhookStatus],
        answer: Answer,
        end: int,
        sent: int,
    ) -> datetime:
        now = self.store.runtime.now()
        failed = status.value.failed(end, sent, answer.detail, now)
        state: State = "active"
        if answer.status == GONE:
            state = "disabled"
        elif failed.next_at is None:
            state = "failed"
        _log.warning("webhook.unavailable %s: status %d", webhook.id, answer.status)
        if state == "active":
            await self._save(status, failed)
            return failed.next_at or now
        _log.warning("webhook.failed %s: %s", webhook.id, state)
        tenant = status.partition.tenant
        entry = self.reader.journal.entry(
            Action.WEBHOOK_FAIL,
            webhook.id,
            tenant=tenant,
            failed="unavailable",
            details={"state": state, "attempts": failed.attempts, "status": answer.status},
        )
        ended = webhook.model_copy(update={"state": state})
        await self.reader.journal.commit(
            entry,
            [
                await self.store.replaced(tenant, webhook, ended),
                self.store.statuses.replace(status, failed),
            ],
        )
        return now

    async def _save(self, status: Stored[WebhookStatus], value: WebhookStatus) -> None:
        partition = Partition(status.partition.tenant)
        await self.store.records.commit(partition, [self.store.statuses.replace(status, value)])
