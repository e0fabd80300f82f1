"""What every adapter of the bus agrees on: limits, back-offs, and where a subscription lies."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from shared.base.errors import InvalidEvent, NotFound
from shared.base.events import Event
from shared.base.topology import Subscription, Topic, Topology

MAX_DEAD_LETTERS: Final = 1_000
"""Dead letters in one list."""

MAX_DELIVERIES: Final = 100
"""Messages that one call receives."""

DELIVERY_LIMIT: Final = "delivery-limit"
"""The reason of a message that was tried as often as its subscription allows."""

LONGEST_BACK_OFF: Final = timedelta(minutes=5)


def back_off(delivery_count: int) -> timedelta:
    """The pause after a failed try: 1 s after the first, then 2 s, 4 s, ... up to 5 minutes."""
    return min(timedelta(seconds=2 ** min(delivery_count - 1, 16)), LONGEST_BACK_OFF)


def event_of(body: bytes) -> Event | None:
    """The event in a message's body; None where the body is not an event."""
    try:
        return Event.from_json(body)
    except InvalidEvent:
        return None


def find_subscription(topology: Topology, name: str) -> Subscription:
    """The subscription of this name.

    Raises:
        NotFound: The topology has none.
    """
    for subscription in topology.subscriptions:
        if subscription.name == name:
            return subscription
    raise NotFound("There is no such subscription in infra/topology.json.")


def find_topic(topology: Topology, subscription: str) -> Topic:
    """The topic of the subscription of this name.

    Raises:
        NotFound: The topology has no such subscription.
    """
    for topic in topology.topics:
        if any(part.name == subscription for part in topic.subscriptions):
            return topic
    raise NotFound("There is no such subscription in infra/topology.json.")
