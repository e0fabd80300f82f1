"""AzureSource: the EventSource port on Service Bus, for hosts that pump messages themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from shared.adapters.azure.calls import Attempts, call
from shared.adapters.azure.clients import AzureClients
from shared.adapters.azure.links import Link, Links
from shared.adapters.azure.messages import body_of, classify, event_id
from shared.adapters.checks import check_limit, check_reason
from shared.adapters.deliveries import MAX_DELIVERIES, find_subscription
from shared.base.errors import Conflict
from shared.base.topology import Subscription, Topology
from shared.ports.bus import Delivery
from shared.ports.clock import Clock

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage

_SHORTEST_WAIT: Final = 0.2
"""Seconds: the SDK returns at once, with nothing, when told to wait less than a round trip."""

_LONGEST_SESSION_WAIT: Final = 15.0
"""Seconds: shorter than the timeouts of the SDK, which takes a longer wait for a broken link."""

_FIRST_MESSAGE_SECONDS: Final = 5.0
"""A session that was given to us has a message; it arrives within this time."""

_MOST_RESTING: Final = 64
_LOCK_MARGIN: Final = 5.0


@dataclass(frozen=True)
class _Held:
    link: Link
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
        self._timeouts = clients.timeouts
        self._links = Links(clients, namespace, topology)
        self._topology = topology
        self._clock = clock
        self._rest = rest
        self._held: dict[str, _Held] = {}
        self._resting: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Give up every lock and close the links."""
        for task in self._resting:
            task.cancel()
        await asyncio.gather(*self._resting, return_exceptions=True)
        for link in {held.link for held in self._held.values()}:
            self._links.close(link)
        self._held.clear()
        await self._links.close_all()

    async def receive(
        self, subscription: str, *, limit: int = 1, wait_seconds: float = 0.0
    ) -> Sequence[Delivery]:
        """See ``EventSource.receive``. With sessions, one message at a time, after 15 s at most."""
        source = find_subscription(self._topology, subscription)
        check_limit(limit, MAX_DELIVERIES)
        wait = max(wait_seconds, _SHORTEST_WAIT)

        async def receive(_attempts: Attempts) -> Sequence[Delivery]:
            if source.sessions:
                return await self._receive_of_session(source, wait)
            return await self._receive_of_any(source, limit, wait)

        return await call(receive, classify, self._timeouts, cut_off=False)

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
            self._links.settled(held.link)
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
        """See ``EventSource.dead_letter``."""
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
        link = self._links.take(source)
        try:
            # Opening takes round trips of its own, which the wait for a message does not include.
            await link.receiver.__aenter__()
            messages = await link.receiver.receive_messages(limit, max_wait_time=wait)
        except BaseException:
            self._links.close(link)
            raise
        # A link that asked for more than it got goes on being sent messages that no call reads.
        link.reusable = len(messages) == limit
        return self._deliveries(link, messages)

    async def _receive_of_session(self, source: Subscription, wait: float) -> Sequence[Delivery]:
        from azure.servicebus import NEXT_AVAILABLE_SESSION
        from azure.servicebus.exceptions import OperationTimeoutError

        link = self._links.new(
            source,
            session_id=NEXT_AVAILABLE_SESSION,
            max_wait_time=min(wait, _LONGEST_SESSION_WAIT),
        )
        try:
            await link.receiver.__aenter__()
        except OperationTimeoutError:
            self._links.close(link)
            return []
        except BaseException:
            self._links.close(link)
            raise
        try:
            messages = await link.receiver.receive_messages(1, max_wait_time=_FIRST_MESSAGE_SECONDS)
        except BaseException:
            self._links.close(link)
            raise
        return self._deliveries(link, messages)

    def _deliveries(
        self, link: Link, messages: Sequence[ServiceBusReceivedMessage]
    ) -> Sequence[Delivery]:
        if not messages:
            self._links.close(link)
        link.unsettled = len(messages)
        deliveries = []
        for message in messages:
            delivery = self._delivery(link, message)
            self._held[delivery.lock_token] = _Held(link, message)
            deliveries.append(delivery)
        return deliveries

    def _delivery(self, link: Link, message: ServiceBusReceivedMessage) -> Delivery:
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
            await call(work, classify, self._timeouts, cut_off=False)
        finally:
            self._links.settled(held.link)

    async def _renew(self, held: _Held) -> datetime:
        async def work(_attempts: Attempts) -> datetime:
            async with held.link.turn:
                receiver = held.link.receiver
                if receiver.session:
                    return await receiver.session.renew_lock()
                return await receiver.renew_message_lock(held.message)

        return await call(work, classify, self._timeouts, cut_off=False)

    async def _give_up(self, held: _Held) -> None:
        await self._settle(held, lambda: held.link.receiver.abandon_message(held.message))

    async def _give_up_after(self, held: _Held, pause: float) -> None:
        """The end of a back-off; if it goes wrong, the lock runs out and the message comes back."""
        try:
            await self._rest(max(0.0, pause))
        except asyncio.CancelledError:
            self._links.settled(held.link)
            raise
        with suppress(Exception):
            await self._give_up(held)
