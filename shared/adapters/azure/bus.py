"""AzureBus: the EventBus port on Azure Service Bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from shared.adapters.azure.calls import Attempts, call
from shared.adapters.azure.clients import AzureClients
from shared.adapters.azure.messages import (
    classify,
    event_id,
    to_dead_letter,
    to_message,
    to_replay,
)
from shared.adapters.checks import check_limit
from shared.adapters.deliveries import MAX_DEAD_LETTERS, find_topic
from shared.base.events import Event
from shared.base.topology import Topic, Topology
from shared.ports.bus import DeadLetter

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusReceiver, ServiceBusSender

_AT_ONCE: Final = 100
_WAIT_SECONDS: Final = 2.0


class AzureBus:
    """An ``EventBus`` in a Service Bus namespace, whose topics the deployment made.

    Args:
        clients: The process's clients.
        namespace: Its host name; for an emulator a connection string.
        topology: Topics and subscriptions.
    """

    def __init__(self, clients: AzureClients, namespace: str, topology: Topology) -> None:
        self._clients = clients
        self._namespace = namespace
        self._topology = topology
        self._senders: dict[str, ServiceBusSender] = {}
        # A sender of the SDK serves one caller at a time.
        self._sending = asyncio.Lock()

    async def close(self) -> None:
        """Close the links; the client is closed with all others."""
        while self._senders:
            await self._senders.popitem()[1].close()

    async def publish(self, events: Sequence[Event]) -> None:
        """See ``EventBus.publish``.

        Batches are sent one after the other. A failure half-way leaves some sent; publishing all
        again is safe, because the topic drops the ids that it has seen.
        """
        for topic in self._topology.topics:
            wanted = {type_ for part in topic.subscriptions for type_ in part.types}
            messages = [to_message(event) for event in events if event.type in wanted]
            if messages:
                await self._send(topic, messages)

    async def dead_letters(self, subscription: str, *, limit: int = 100) -> Sequence[DeadLetter]:
        """See ``EventBus.dead_letters``.

        Where the bus itself gave a message up, ``dead_lettered_at`` is when it was published.
        """
        check_limit(limit, MAX_DEAD_LETTERS)

        async def read(_attempts: Attempts) -> list[DeadLetter]:
            async with self._dead_letter_queue(subscription) as queue:
                return [
                    to_dead_letter(letter, subscription) async for letter in _peek(queue, limit)
                ]

        return await call(read, classify, self._clients.timeouts, cut_off=False)

    async def replay(self, subscription: str, message_ids: Sequence[str]) -> int:
        """See ``EventBus.replay``.

        A letter leaves the dead letters only after it was sent again, so none is lost; sent twice,
        it is dropped as a duplicate.
        """
        topic = find_topic(self._topology, subscription)
        wanted = set(message_ids)

        async def work(_attempts: Attempts) -> int:
            async with self._dead_letter_queue(subscription) as queue:
                found = [event_id(letter) async for letter in _peek(queue, None)]
                return await self._replay(queue, topic, subscription, wanted.intersection(found))

        return await call(work, classify, self._clients.timeouts, cut_off=False)

    async def _replay(
        self, queue: ServiceBusReceiver, topic: Topic, subscription: str, wanted: set[str]
    ) -> int:
        """Lock letters until all that are wanted were met; unlock the others afterwards."""
        missing = set(wanted)
        others: list[ServiceBusReceivedMessage] = []
        replayed = 0
        while missing:
            letters = await queue.receive_messages(_AT_ONCE, max_wait_time=_WAIT_SECONDS)
            for letter in letters:
                if event_id(letter) not in wanted:
                    others.append(letter)
                    continue
                await self._send(topic, [to_replay(letter, subscription)])
                await self._complete(queue, letter)
                missing.discard(event_id(letter))
                replayed += 1
            if not letters:
                break
        for letter in others:
            await queue.abandon_message(letter)
        return replayed

    async def _complete(self, queue: ServiceBusReceiver, letter: ServiceBusReceivedMessage) -> None:
        async def complete(_attempts: Attempts) -> None:
            # A lock outlives the link it was given on.
            await queue.__aenter__()
            await queue.complete_message(letter)

        await call(complete, classify, self._clients.timeouts, cut_off=False)

    async def _send(self, topic: Topic, messages: Sequence[ServiceBusMessage]) -> None:
        async def send(_attempts: Attempts) -> None:
            async with self._sending:
                sender = self._senders.get(topic.name)
                if sender is None:
                    client = self._clients.service_bus(self._namespace)
                    sender = client.get_topic_sender(
                        topic.name, socket_timeout=self._clients.timeouts.poll
                    )
                    self._senders[topic.name] = sender
                await _send_in_batches(sender, messages)

        await call(send, classify, self._clients.timeouts, cut_off=False)

    @asynccontextmanager
    async def _dead_letter_queue(self, subscription: str) -> AsyncIterator[ServiceBusReceiver]:
        from azure.servicebus import ServiceBusSubQueue

        topic = find_topic(self._topology, subscription)
        client = self._clients.service_bus(self._namespace)
        async with client.get_subscription_receiver(
            topic.name,
            subscription,
            sub_queue=ServiceBusSubQueue.DEAD_LETTER,
            socket_timeout=self._clients.timeouts.poll,
        ) as queue:
            yield queue


async def _send_in_batches(sender: ServiceBusSender, messages: Sequence[ServiceBusMessage]) -> None:
    """Send in as few batches as the service's limit on their size allows.

    Raises:
        MessageSizeExceededError: One message alone is too large.
    """
    from azure.servicebus.exceptions import MessageSizeExceededError

    batch = await sender.create_message_batch()
    for message in messages:
        try:
            batch.add_message(message)
        except MessageSizeExceededError:
            if len(batch) == 0:
                raise
            await sender.send_messages(batch)
            batch = await sender.create_message_batch()
            batch.add_message(message)
    await sender.send_messages(batch)


async def _peek(
    queue: ServiceBusReceiver, limit: int | None
) -> AsyncIterator[ServiceBusReceivedMessage]:
    """Look at the messages of a queue in their order, locking none."""
    seen = 0
    after = 0
    while limit is None or seen < limit:
        count = _AT_ONCE if limit is None else min(_AT_ONCE, limit - seen)
        found = await queue.peek_messages(count, sequence_number=after + 1)
        for message in found:
            yield message
            after = message.sequence_number or after
        seen += len(found)
        if not found:
            return
