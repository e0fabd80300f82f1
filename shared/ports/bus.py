"""EventBus: publish; EventSource: receive with peek-lock. Topics and subscriptions: topology.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.base.events import Event


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that a subscription gave up on.

    Attributes:
        subscription: Where it lies.
        event: What it said; None where the body is not an event.
        message_id: The message's id, which is the event's id.
        reason: Why it was given up: a slug, such as ``delivery-limit``.
        delivery_count: How many times it was tried.
        dead_lettered_at: When it was given up.
    """

    subscription: str
    event: Event | None
    message_id: str
    reason: str
    delivery_count: int
    dead_lettered_at: datetime


class EventBus(Protocol):
    """The sending side. At-least-once: a subscription may see an event twice, and late, but never not.

    Events of the same tenant carry it as their session, so that a subscription with sessions sees them
    one at a time and in order. An event id that was published within the duplicate detection window is
    accepted and dropped. Errors of the service behind it become ``Unavailable``.
    """

    async def publish(self, events: Sequence[Event]) -> None:
        """Hand events to every subscription whose filter matches; durable on return."""
        ...

    async def dead_letters(self, subscription: str, *, limit: int = 100) -> Sequence[DeadLetter]:
        """The oldest dead letters of a subscription, 1 to 1,000.

        Raises:
            NotFound: There is no such subscription.
            ValueError: The limit is out of range.
        """
        ...

    async def replay(self, subscription: str, message_ids: Sequence[str]) -> int:
        """Deliver these dead letters again to this subscription alone; return how many there were.

        A message that is replayed comes last in its session and has all of its tries again.

        Raises:
            NotFound: There is no such subscription.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is locked for one receiver.

    Attributes:
        subscription: Where it came from.
        body: The event as CloudEvents JSON, UTF-8.
        message_id: The event's id.
        session_id: The event's tenant.
        delivery_count: 1 at the first try.
        enqueued_at: When it was published.
        locked_until: When another receiver may have it.
        lock_token: Names this lock; one delivery has one.
    """

    subscription: str
    body: bytes
    message_id: str
    session_id: str
    delivery_count: int
    enqueued_at: datetime
    locked_until: datetime
    lock_token: str


class EventSource(Protocol):
    """The receiving side, for hosts that pump messages themselves."""

    async def receive(
        self, subscription: str, *, limit: int = 1, wait_seconds: float = 0.0
    ) -> Sequence[Delivery]:
        """Lock up to ``limit`` messages, waiting up to ``wait_seconds`` for the first.

        With sessions, at most one message of a session is locked at a time, the oldest first.

        Raises:
            NotFound: There is no such subscription.
            ValueError: The limit is not 1 to 100.
        """
        ...

    async def complete(self, delivery: Delivery) -> None:
        """The message took effect: forget it.

        Raises:
            Conflict: The lock was lost; the message will be or was delivered again.
        """
        ...

    async def abandon(self, delivery: Delivery) -> None:
        """The message did not take effect: deliver it again after a back-off, up to the limit.

        Raises:
            Conflict: The lock was lost.
        """
        ...

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """The message can never take effect: put it aside with a reason (a slug).

        Raises:
            Conflict: The lock was lost.
            ValueError: The reason is not a slug.
        """
        ...

    async def renew(self, delivery: Delivery) -> Delivery:
        """Hold the lock for another lock time, counted from now.

        Raises:
            Conflict: The lock was lost.
        """
        ...
