"""The entities of the Service Bus emulator: topics, subscriptions, locks, sessions, dead letters.

No network and no clock of its own in here: every method that depends on time is told the moment.
Rules: https://learn.microsoft.com/azure/service-bus-messaging/message-transfers-locks-settlement,
.../message-sessions, .../duplicate-detection and .../service-bus-dead-letter-queues.
"""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from shared.base.topology import Topology

DELIVERY_LIMIT = "MaxDeliveryCountExceeded"
DEAD_LETTER_QUEUE = "$deadletterqueue"


class LockLostError(Exception):
    """The lock that a settlement or a renewal names is not held."""


@dataclass
class StoredMessage:
    """One message in one queue; ``failures`` counts the deliveries that were tried and failed."""

    message: Any
    sequence: int
    message_id: str
    session: str | None
    enqueued_at: datetime
    failures: int = 0
    reason: str | None = None
    description: str | None = None
    lock: uuid.UUID | None = None
    locked_until: datetime | None = None


@dataclass
class SessionLock:
    owner: object
    until: datetime


class Queue:
    """A subscription or a dead letter queue: messages in order, each free or locked."""

    def __init__(
        self,
        lock_seconds: int,
        max_delivery_count: int | None,
        sessions: bool,
        dead_letters: Queue | None,
        counts: Counter[str],
    ) -> None:
        self.messages: dict[int, StoredMessage] = {}
        self.sessions: dict[str, SessionLock] = {}
        self.lock_time = timedelta(seconds=lock_seconds)
        self.max_delivery_count = max_delivery_count
        self.has_sessions = sessions
        self.dead_letters = dead_letters
        self.counts = counts

    def add(self, message: StoredMessage) -> None:
        self.messages[message.sequence] = message

    def free_session(self) -> str | None:
        """The session of the oldest message that nobody holds."""
        return next(
            (m.session for m in self.messages.values() if m.session not in self.sessions), None
        )

    def lock_session(self, session: str, owner: object, now: datetime) -> datetime | None:
        if session in self.sessions:
            return None
        self.sessions[session] = SessionLock(owner, now + self.lock_time)
        return now + self.lock_time

    def renew_session(self, session: str, now: datetime) -> datetime:
        if session not in self.sessions:
            raise LockLostError
        self.sessions[session].until = now + self.lock_time
        return now + self.lock_time

    def release_session(self, session: str, owner: object) -> None:
        """The holder left: its unsettled messages are free again, and no delivery is counted."""
        held = self.sessions.get(session)
        if held is not None and held.owner == owner:
            del self.sessions[session]
            self._unlock(m for m in self.messages.values() if m.session == session)

    def lock_next(self, now: datetime, session: str | None = None) -> StoredMessage | None:
        """Lock the oldest free message, of one session where the queue has sessions."""
        for message in self.messages.values():
            if message.lock is None and (session is None or message.session == session):
                message.lock = uuid.uuid4()
                message.locked_until = now + self.lock_time
                return message
        return None

    def renew(self, lock: uuid.UUID, now: datetime) -> datetime:
        message = self._locked(lock)
        message.locked_until = now + self.lock_time
        return message.locked_until

    def complete(self, lock: uuid.UUID) -> None:
        del self.messages[self._locked(lock).sequence]

    def abandon(self, lock: uuid.UUID) -> None:
        self._failed(self._locked(lock))

    def release(self, lock: uuid.UUID) -> None:
        """The receiver never looked at it: free, and no delivery is counted."""
        self._unlock([self._locked(lock)])

    def dead_letter(self, lock: uuid.UUID, reason: str | None, description: str | None) -> None:
        message = self._locked(lock)
        message.failures += 1
        self._bury(message, reason, description)

    def expire(self, now: datetime) -> None:
        """Let the locks lapse whose time is over."""
        for session in [s for s, held in self.sessions.items() if held.until <= now]:
            del self.sessions[session]
            for message in list(self.messages.values()):
                if message.session == session and message.lock is not None:
                    self._failed(message)
        if not self.has_sessions:
            for message in list(self.messages.values()):
                if message.locked_until is not None and message.locked_until <= now:
                    self._failed(message)

    def _locked(self, lock: uuid.UUID) -> StoredMessage:
        for message in self.messages.values():
            if message.lock == lock:
                return message
        raise LockLostError

    def _failed(self, message: StoredMessage) -> None:
        message.failures += 1
        self._unlock([message])
        if self.max_delivery_count is not None and message.failures >= self.max_delivery_count:
            self._bury(message, DELIVERY_LIMIT, None)

    def _bury(self, message: StoredMessage, reason: str | None, description: str | None) -> None:
        del self.messages[message.sequence]
        self.counts["dead-lettered"] += 1
        if self.dead_letters is not None:
            message.reason, message.description = reason, description
            self._unlock([message])
            self.dead_letters.add(message)

    def _unlock(self, messages: list[StoredMessage] | Iterator[StoredMessage]) -> None:
        for message in messages:
            message.lock = message.locked_until = None


@dataclass
class Subscription:
    name: str
    types: frozenset[str]
    queue: Queue

    def matches(self, properties: Mapping[str, Any]) -> bool:
        """The filter that the deployment gives each subscription."""
        replay_to = properties.get("replay_to")
        if replay_to is None:
            return properties.get("type") in self.types
        return bool(replay_to == self.name)


@dataclass
class Topic:
    subscriptions: dict[str, Subscription]
    window: timedelta
    seen: dict[str, datetime] = field(default_factory=dict)


class Namespace:
    """All topics of a topology. Entity names are matched without regard to case."""

    def __init__(self, topology: Topology) -> None:
        self.counts: Counter[str] = Counter()
        self.topics: dict[str, Topic] = {}
        self._sequence = itertools.count(1)
        for topic in topology.topics:
            subscriptions = {}
            for each in topic.subscriptions:
                dead = Queue(each.lock_seconds, None, False, None, self.counts)
                queue = Queue(
                    each.lock_seconds, each.max_delivery_count, each.sessions, dead, self.counts
                )
                subscriptions[each.name.lower()] = Subscription(each.name, each.types, queue)
            window = timedelta(minutes=topic.duplicate_detection_minutes)
            self.topics[topic.name.lower()] = Topic(subscriptions, window)

    def topic(self, address: str) -> Topic | None:
        return self.topics.get(address.lower())

    def queue(self, address: str) -> Queue | None:
        """The queue under ``topic/Subscriptions/name`` or its ``/$deadletterqueue``."""
        parts = address.lower().split("/")
        if len(parts) not in (3, 4) or parts[1] != "subscriptions":
            return None
        topic = self.topics.get(parts[0])
        subscription = topic.subscriptions.get(parts[2]) if topic else None
        if subscription is None:
            return None
        if len(parts) == 4:
            return subscription.queue.dead_letters if parts[3] == DEAD_LETTER_QUEUE else None
        return subscription.queue

    def queues(self) -> Iterator[Queue]:
        for topic in self.topics.values():
            for subscription in topic.subscriptions.values():
                yield subscription.queue
                if subscription.queue.dead_letters is not None:
                    yield subscription.queue.dead_letters

    def publish(self, topic: Topic, message: Any, now: datetime) -> None:
        """Give a copy to every subscription that matches, unless the id was seen in the window."""
        topic.seen = {id_: at for id_, at in topic.seen.items() if now - at < topic.window}
        message_id = str(message.id)
        if message_id in topic.seen:
            self.counts["duplicate"] += 1
            return
        topic.seen[message_id] = now
        stored = StoredMessage(message, 0, message_id, message.group_id, now)
        for subscription in topic.subscriptions.values():
            if subscription.matches(message.properties or {}):
                subscription.queue.add(replace(stored, sequence=next(self._sequence)))
