"""AzureSource: the EventSource port on Service Bus, for hosts that pump messages themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from shared.adapters.azure.calls import Attempts, call
from shared.adapters.azure.clients import AzureClients
from shared.adapters.azure.messages import body_of, event_id, find_subscription, judge
from shared.adapters.checks import check_limit, check_reason
from shared.base.errors import Conflict
from shared.base.topology import Subscription, Topology
from shared.ports.bus import Delivery
from shared.ports.clock import Clock

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusReceiver

MAX_DELIVERIES: Final = 100
_SHORTEST_WAIT: Final = 0.2
"""Seconds: the SDK returns at once, with nothing, when told to wait less than a round trip."""

_LONGEST_SESSION_WAIT: Final = 15.0
"""Seconds: shorter than the timeouts of the SDK, which takes a longer wait for a broken link."""

_FIRST_MESSAGE_SECONDS: Final = 5.0
"""A session that was given to us has a message; it arrives within this time."""

_MOST_IDLE: Final = 16
_MOST_RESTING: Final = 64
_LOCK_MARGIN: Final = 5.0


@dataclass
class _Link:
    """A receiver of the SDK, which serves one caller at a time, and its unsettled messages."""

    receiver: ServiceBusReceiver
    subscription: Subscription
    reusable: bool = False
    unsettled: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True)
class _Held:
    link: _Link
    message: ServiceBusReceivedMessage


class AzureSource:
    """An ``EventSource`` in a Service Bus namespace.

    A link that received messages belongs to them until all are settled. One without sessions then
    serves the next call; one with a session is closed, which frees the session.

    Service Bus has no back-off of its own: what is abandoned comes back at once. So ``abandon``
    keeps the lock for the back-off, 1, 2, 4, ... seconds up to the lock time, and gives it up then.
    Where the process ends before, the lock runs out and the message comes back all the same.

    Args:
        clients: The process's clients.
        namespace: Its host name; for an emulator a connection string.
        topology: Topics and subscriptions.
        clock: Dates dead letters.
        rest: Passes the back-offs, in seconds.
    """

    def __init__(
        self,
        clients: AzureClients,
        namespace: str,
        topology: Topology,
        clock: Clock,
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clients = clients
        self._namespace = namespace
        self._topology = topology
        self._clock = clock
        self._rest = rest
        self._held: dict[str, _Held] = {}
        self._idle: dict[str, list[_Link]] = {}
        self._resting: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Let go of every lock and close the links."""
        for task in self._resting:
            task.cancel()
        await asyncio.gather(*self._resting, return_exceptions=True)
        links = [link for idle in self._idle.values() for link in idle]
        links += [held.link for held in self._held.values()]
        self._held.clear()
        self._idle.clear()
        for link in {id(link): link for link in links}.values():
            self._close(link)
        await asyncio.gather(*self._closing)

    async def receive(
        self, subscription: str, *, limit: int = 1, wait_seconds: float = 0.0
    ) -> Sequence[Delivery]:
        """See ``EventSource.receive``. With sessions, one message at a time, after 15 s at most.

        Raises:
            NotFound: There is no such subscription.
            InvalidInput: The limit is not 1 to 100.
        """
        _, source = find_subscription(self._topology, subscription)
        check_limit(limit, MAX_DELIVERIES)
        wait = max(wait_seconds, _SHORTEST_WAIT)

        async def receive(_attempts: Attempts) -> Sequence[Delivery]:
            if source.sessions:
                return await self._receive_of_session(source, wait)
            return await self._receive_of_any(source, limit, wait)

        return await call(receive, judge, self._clients.timeouts, cut_off=False)

    async def complete(self, delivery: Delivery) -> None:
        """See ``EventSource.complete``."""
        held = self._take(delivery)
        await self._settle(held, lambda: held.link.receiver.complete_message(held.message))

    async def abandon(self, delivery: Delivery) -> None:
        """See ``EventSource.abandon``."""
        held = self._take(delivery)
        try:
            locked_until = await self._renew(held)
        except BaseException:
            self._release(held.link)
            raise
        pause = min(
            2.0 ** (delivery.delivery_count - 1),
            (locked_until - self._clock.now()).total_seconds() - _LOCK_MARGIN,
        )
        last = delivery.delivery_count >= held.link.subscription.max_delivery_count
        if last or len(self._resting) >= _MOST_RESTING:
            await self._give_up(held)
            return
        task = asyncio.create_task(self._give_up_after(held, pause))
        self._resting.add(task)
        task.add_done_callback(self._resting.discard)

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """See ``EventSource.dead_letter``.

        Raises:
            InvalidInput: The reason is not a slug.
        """
        check_reason(reason)
        held = self._take(delivery)
        now = self._clock.now().isoformat()
        await self._settle(
            held,
            lambda: held.link.receiver.dead_letter_message(
                held.message, reason=reason, error_description=now
            ),
        )

    async def renew(self, delivery: Delivery) -> Delivery:
        """See ``EventSource.renew``."""
        held = self._held.get(delivery.lock_token)
        if held is None:
            raise Conflict("The message was settled, or its lock was lost.")
        return replace(delivery, locked_until=await self._renew(held))

    async def _receive_of_any(
        self, source: Subscription, limit: int, wait: float
    ) -> Sequence[Delivery]:
        idle = self._idle.setdefault(source.name, [])
        link = idle.pop() if idle else self._link(source)
        try:
            # Opening takes round trips of its own, which the wait for a message does not include.
            await link.receiver.__aenter__()
            messages = await link.receiver.receive_messages(limit, max_wait_time=wait)
        except BaseException:
            self._close(link)
            raise
        # A link that asked for more than it got goes on being sent messages that nobody reads.
        link.reusable = len(messages) == limit
        return self._deliveries(link, messages)

    async def _receive_of_session(self, source: Subscription, wait: float) -> Sequence[Delivery]:
        from azure.servicebus import NEXT_AVAILABLE_SESSION
        from azure.servicebus.exceptions import OperationTimeoutError

        link = self._link(
            source,
            session_id=NEXT_AVAILABLE_SESSION,
            max_wait_time=min(wait, _LONGEST_SESSION_WAIT),
        )
        try:
            await link.receiver.__aenter__()
        except OperationTimeoutError:
            self._close(link)
            return []
        except BaseException:
            self._close(link)
            raise
        try:
            messages = await link.receiver.receive_messages(1, max_wait_time=_FIRST_MESSAGE_SECONDS)
        except BaseException:
            self._close(link)
            raise
        return self._deliveries(link, messages)

    def _link(self, source: Subscription, **options: Any) -> _Link:
        topic, _ = find_subscription(self._topology, source.name)
        client = self._clients.service_bus(self._namespace)
        receiver = client.get_subscription_receiver(
            topic.name, source.name, socket_timeout=self._clients.timeouts.poll, **options
        )
        return _Link(receiver, source)

    def _deliveries(
        self, link: _Link, messages: Sequence[ServiceBusReceivedMessage]
    ) -> Sequence[Delivery]:
        if not messages:
            self._close(link)
        link.unsettled = len(messages)
        deliveries = []
        for message in messages:
            delivery = self._delivery(link, message)
            self._held[delivery.lock_token] = _Held(link, message)
            deliveries.append(delivery)
        return deliveries

    def _delivery(self, link: _Link, message: ServiceBusReceivedMessage) -> Delivery:
        now = self._clock.now()
        session = link.receiver.session
        until = session.locked_until_utc if session else message.locked_until_utc
        return Delivery(
            subscription=link.subscription.name,
            body=body_of(message),
            message_id=event_id(message),
            session_id=message.session_id or "",
            # The header counts the tries that failed.
            delivery_count=(message.delivery_count or 0) + 1,
            enqueued_at=message.enqueued_time_utc or now,
            locked_until=until or now,
            lock_token=str(message.lock_token),
        )

    def _take(self, delivery: Delivery) -> _Held:
        """The message under this lock, which is settled from now on."""
        held = self._held.pop(delivery.lock_token, None)
        if held is None:
            raise Conflict("The message was settled, or its lock was lost.")
        return held

    async def _settle(self, held: _Held, settle: Callable[[], Awaitable[None]]) -> None:
        async def work(_attempts: Attempts) -> None:
            async with held.link.turn:
                if not held.link.receiver.session:
                    # A lock outlives the link it was given on; a session does not.
                    await held.link.receiver.__aenter__()
                try:
                    await settle()
                except ValueError as error:
                    raise Conflict("The message was settled, or its lock was lost.") from error

        try:
            await call(work, judge, self._clients.timeouts, cut_off=False)
        finally:
            self._release(held.link)

    async def _renew(self, held: _Held) -> datetime:
        async def work(_attempts: Attempts) -> datetime:
            async with held.link.turn:
                receiver = held.link.receiver
                if receiver.session:
                    return await receiver.session.renew_lock()
                return await receiver.renew_message_lock(held.message)

        return await call(work, judge, self._clients.timeouts, cut_off=False)

    async def _give_up(self, held: _Held) -> None:
        await self._settle(held, lambda: held.link.receiver.abandon_message(held.message))

    async def _give_up_after(self, held: _Held, pause: float) -> None:
        """The end of a back-off; if it goes wrong, the lock runs out and the message comes back."""
        try:
            await self._rest(max(0.0, pause))
        except asyncio.CancelledError:
            self._release(held.link)
            raise
        with suppress(Exception):
            await self._give_up(held)

    def _release(self, link: _Link) -> None:
        """One message less; when it was the last, the link is free."""
        link.unsettled -= 1
        if link.unsettled > 0:
            return
        idle = self._idle.setdefault(link.subscription.name, [])
        if link.reusable and len(idle) < _MOST_IDLE:
            idle.append(link)
        else:
            self._close(link)

    def _close(self, link: _Link) -> None:
        """Close a link while others work: at its end the SDK waits for its keep-alive, up to 1 s.

        Where the connection is gone, there is nothing left to close.
        """

        async def close() -> None:
            with suppress(Exception):
                await link.receiver.close()

        task = asyncio.create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
