"""MemoryBus: topics and subscriptions with peek-lock, in lists."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.adapters.checks import check_limit, check_reason
from shared.adapters.deliveries import (
    DELIVERY_LIMIT,
    MAX_DEAD_LETTERS,
    MAX_DELIVERIES,
    back_off,
    event_of,
    find_subscription,
)
from shared.base.errors import Conflict
from shared.base.events import Event
from shared.base.topology import Subscription, Topic, Topology
from shared.ports.bus import DeadLetter, Delivery
from shared.ports.clock import Clock, Entropy


@dataclass(slots=True)
class _Message:
    """A message; while it is locked, ``available_at`` is the end of its lock."""

    id: str
    session: str
    body: bytes
    enqueued_at: datetime
    available_at: datetime
    delivery_count: int = 0
    lock_token: str | None = None


@dataclass(slots=True)
class _Queue:
    """A subscription's messages and dead letters, each in the order in which they came."""

    subscription: Subscription
    messages: list[_Message] = field(default_factory=list)
    dead: list[tuple[_Message, DeadLetter]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def deliverable(self) -> list[_Message]:
        """The messages that may be delivered once they are available: with sessions, the heads."""
        if not self.subscription.sessions:
            return list(self.messages)
        heads: dict[str, _Message] = {}
        for message in self.messages:
            heads.setdefault(message.session, message)
        return list(heads.values())

    def dead_letter(self, message: _Message, reason: str, now: datetime) -> None:
        """Put a message aside."""
        self.messages.remove(message)
        letter = DeadLetter(
            subscription=self.subscription.name,
            event=event_of(message.body),
            message_id=message.id,
            reason=reason,
            delivery_count=message.delivery_count,
            dead_lettered_at=now,
        )
        self.dead.append((message, letter))

    def wake(self) -> None:
        """Let every receiver that waits look again."""
        self.changed.set()
        self.changed = asyncio.Event()


class MemoryBus:
    """An ``EventBus`` and ``EventSource`` whose messages are gone with the process.

    Args:
        topology: Topics and subscriptions.
        clock: Decides what is due.
        entropy: Makes lock tokens.
    """

    def __init__(self, topology: Topology, clock: Clock, entropy: Entropy) -> None:
        self._topology = topology
        self._clock = clock
        self._entropy = entropy
        self._queues = {part.name: _Queue(part) for part in topology.subscriptions}
        self._published: dict[tuple[str, str], datetime] = {}

    async def publish(self, events: Sequence[Event]) -> None:
        """See ``EventBus.publish``."""
        now = self._clock.now()
        for topic in self._topology.topics:
            for event in events:
                if not self._is_new(topic, event.id, now):
                    continue
                for part in topic.subscriptions:
                    if event.type in part.types:
                        message = _Message(event.id, event.tenant, event.to_json(), now, now)
                        self._queues[part.name].messages.append(message)
                        self._queues[part.name].wake()

    async def dead_letters(self, subscription: str, *, limit: int = 100) -> Sequence[DeadLetter]:
        """See ``EventBus.dead_letters``."""
        check_limit(limit, MAX_DEAD_LETTERS)
        return [letter for _, letter in self._queue(subscription).dead[:limit]]

    async def replay(self, subscription: str, message_ids: Sequence[str]) -> int:
        """See ``EventBus.replay``."""
        queue, now = self._queue(subscription), self._clock.now()
        wanted = [message for message, _ in queue.dead if message.id in message_ids]
        queue.dead = [pair for pair in queue.dead if pair[0].id not in message_ids]
        queue.messages += [
            replace(message, available_at=now, delivery_count=0, lock_token=None)
            for message in wanted
        ]
        queue.wake()
        return len(wanted)

    async def receive(
        self, subscription: str, *, limit: int = 1, wait_seconds: float = 0.0
    ) -> Sequence[Delivery]:
        """See ``EventSource.receive``."""
        check_limit(limit, MAX_DELIVERIES)
        queue = self._queue(subscription)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        await asyncio.sleep(0)  # as a real bus, it lets others go first
        while True:
            changed = queue.changed
            deliveries = self._lock_due(queue, limit)
            pause = deadline - loop.time()
            if deliveries or pause <= 0:
                return deliveries
            now = self._clock.now()
            for message in queue.deliverable():
                pause = min(pause, max(0.0, (message.available_at - now).total_seconds()))
            try:
                await asyncio.wait_for(changed.wait(), pause)
            except TimeoutError:
                continue

    async def complete(self, delivery: Delivery) -> None:
        """See ``EventSource.complete``."""
        queue, message = self._queue(delivery.subscription), self._locked(delivery)
        queue.messages.remove(message)
        queue.wake()

    async def abandon(self, delivery: Delivery) -> None:
        """See ``EventSource.abandon``. The back-off is 1 s, 2 s, 4 s, ... 5 minutes."""
        queue, message = self._queue(delivery.subscription), self._locked(delivery)
        now = self._clock.now()
        if message.delivery_count >= queue.subscription.max_delivery_count:
            queue.dead_letter(message, DELIVERY_LIMIT, now)
        else:
            message.lock_token = None
            message.available_at = now + back_off(message.delivery_count)
        queue.wake()

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """See ``EventSource.dead_letter``."""
        check_reason(reason)
        queue, message = self._queue(delivery.subscription), self._locked(delivery)
        queue.dead_letter(message, reason, self._clock.now())
        queue.wake()

    async def renew(self, delivery: Delivery) -> Delivery:
        """See ``EventSource.renew``."""
        message = self._locked(delivery)
        message.available_at = self._lock_end(self._queue(delivery.subscription))
        return replace(delivery, locked_until=message.available_at)

    def _is_new(self, topic: Topic, event_id: str, now: datetime) -> bool:
        """Whether the id was not published within the duplicate window; from now on it was."""
        window = timedelta(minutes=topic.duplicate_detection_minutes)
        before = self._published.get((topic.name, event_id))
        if before is not None and now - before < window:
            return False
        self._published[topic.name, event_id] = now
        return True

    def _lock_due(self, queue: _Queue, limit: int) -> list[Delivery]:
        """Lock what is due; what was tried often enough becomes a dead letter instead."""
        now = self._clock.now()
        deliveries: list[Delivery] = []
        while len(deliveries) < limit:
            due = [message for message in queue.deliverable() if message.available_at <= now]
            if not due:
                break
            message = min(due, key=lambda message: message.available_at)
            if message.delivery_count >= queue.subscription.max_delivery_count:
                queue.dead_letter(message, DELIVERY_LIMIT, now)
                continue
            message.delivery_count += 1
            message.available_at = self._lock_end(queue)
            message.lock_token = token = self._entropy(16).hex()
            deliveries.append(
                Delivery(
                    subscription=queue.subscription.name,
                    body=message.body,
                    message_id=message.id,
                    session_id=message.session,
                    delivery_count=message.delivery_count,
                    enqueued_at=message.enqueued_at,
                    locked_until=message.available_at,
                    lock_token=token,
                )
            )
        return deliveries

    def _lock_end(self, queue: _Queue) -> datetime:
        return self._clock.now() + timedelta(seconds=queue.subscription.lock_seconds)

    def _locked(self, delivery: Delivery) -> _Message:
        """The message that this delivery locks.

        Raises:
            Conflict: The lock was lost.
        """
        now = self._clock.now()
        for message in self._queue(delivery.subscription).messages:
            if message.lock_token == delivery.lock_token and message.available_at > now:
                return message
        raise Conflict("The lock on the message was lost; it is delivered again.")

    def _queue(self, name: str) -> _Queue:
        return self._queues[find_subscription(self._topology, name).name]
