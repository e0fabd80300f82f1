"""The links on which messages of Service Bus are received: opened, used again, closed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shared.adapters.azure.clients import AzureClients
from shared.adapters.deliveries import find_topic
from shared.base.topology import Subscription, Topology

if TYPE_CHECKING:
    from azure.servicebus.aio import ServiceBusReceiver

_MOST_IDLE: Final = 16


@dataclass(slots=True, eq=False)
class Link:
    """A receiver of the SDK, which serves one caller at a time, and its unsettled messages.

    Attributes:
        receiver: The SDK's end.
        subscription: Where its messages come from.
        reusable: Whether it may serve another call once its messages are settled.
        unsettled: How many messages are not settled.
        turn: Held by the caller that uses the receiver.
    """

    receiver: ServiceBusReceiver
    subscription: Subscription
    reusable: bool = False
    unsettled: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Links:
    """Opens links, and keeps a few idle ones for the next call.

    Args:
        clients: The process's clients.
        namespace: The bus's host name; for an emulator a connection string.
        topology: Topics and subscriptions.
    """

    def __init__(self, clients: AzureClients, namespace: str, topology: Topology) -> None:
        self._clients = clients
        self._namespace = namespace
        self._topology = topology
        self._idle: dict[str, list[Link]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def take(self, source: Subscription) -> Link:
        """An idle link of the subscription, or a new one where none is idle."""
        idle = self._idle.get(source.name)
        return idle.pop() if idle else self.new(source)

    def new(self, source: Subscription, **options: Any) -> Link:
        """A link that is not open yet.

        Args:
            source: The subscription.
            options: For ``ServiceBusClient.get_subscription_receiver``.
        """
        client = self._clients.service_bus(self._namespace)
        receiver = client.get_subscription_receiver(
            find_topic(self._topology, source.name).name,
            source.name,
            socket_timeout=self._clients.timeouts.poll,
            **options,
        )
        return Link(receiver, source)

    def settled(self, link: Link) -> None:
        """Count one message less; after the last one the link is idle, or closed."""
        link.unsettled -= 1
        if link.unsettled > 0:
            return
        idle = self._idle.setdefault(link.subscription.name, [])
        if link.reusable and len(idle) < _MOST_IDLE:
            idle.append(link)
        else:
            self.close(link)

    def close(self, link: Link) -> None:
        """Close a link in the background: at its end the SDK waits for its keep-alive, up to 1 s.

        Where the connection is gone, there is nothing left to close.
        """

        async def close() -> None:
            with suppress(Exception):
                await link.receiver.close()

        task = asyncio.create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close_all(self) -> None:
        """Close the idle links, and wait until all that were to be closed are."""
        for idle in self._idle.values():
            for link in idle:
                self.close(link)
        self._idle.clear()
        await asyncio.gather(*self._closing)
