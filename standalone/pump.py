"""The message pump: hands the messages of each subscription to its function, under a lock.

A message is completed when its function returns, abandoned when it raises, and dead-lettered when
it raises ``InvalidEvent``, as no later try can succeed. What cannot be settled is delivered again
once its lock has expired, so functions must take effect once however often they run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from azure.functions.servicebus import ServiceBusMessage

from shared.base.activity import Activity
from shared.base.errors import Conflict, InvalidEvent
from shared.base.events import Event
from shared.ports.bus import Delivery, EventSource
from shared.ports.clock import Clock
from standalone.lifetime import Sleep, run_until_stopped, sleep_unless
from standalone.logs import describe_error
from standalone.triggers import MessageFunction

RECEIVE_WAIT_SECONDS: Final = 1.0
"""How long one receive waits for a message, and so how long an idle pump may take to stop."""

FIRST_BACK_OFF_SECONDS: Final = 1.0
LONGEST_BACK_OFF_SECONDS: Final = 30.0
"""The pauses after a receive that failed, each twice the one before."""

SHORTEST_RENEWAL_SECONDS: Final = 1.0
"""Where half of what is left of a lock is less, renewing would only add load."""

_logger = logging.getLogger("standalone.pump")


class MessagePump:
    """Pumps messages from a source into functions.

    Args:
        source: Where messages come from.
        functions: Who takes them, by subscription.
        clock: The time of day, by which locks expire.
        concurrency: Messages of one subscription in work at once.
        grace_seconds: How long a message may go on after the stop, before its function is cancelled
            and the message left for redelivery.
        activity: Counts the messages.
        gather_seconds: What comes to a subscription within this time of a receive is received together:
            messages that are handled together share their commits and what they wait for on a disk.
        sleep: How to wait.
    """

    def __init__(
        self,
        source: EventSource,
        functions: Sequence[MessageFunction],
        *,
        clock: Clock,
        concurrency: int,
        grace_seconds: float,
        activity: Activity,
        gather_seconds: float = 0.0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._source = source
        self._functions = functions
        self._clock = clock
        self._concurrency = concurrency
        self._grace_seconds = grace_seconds
        self._activity = activity
        self._gather_seconds = gather_seconds
        self._sleep = sleep
        self._locks: set[_Lock] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Pump until ``stopping`` is set, then finish what is in work."""
        renewals = asyncio.create_task(self._renew_locks())
        try:
            await run_until_stopped(
                (self._pump(function, stopping) for function in self._functions),
                stopping,
                grace_seconds=self._grace_seconds,
            )
        finally:
            renewals.cancel()

    async def _pump(self, function: MessageFunction, stopping: asyncio.Event) -> None:
        in_work: set[asyncio.Task[None]] = set()
        back_off = FIRST_BACK_OFF_SECONDS
        async with asyncio.TaskGroup() as group:
            while not stopping.is_set():
                free = self._concurrency - len(in_work)
                if not free:
                    await asyncio.wait(in_work, return_when=asyncio.FIRST_COMPLETED)
                    continue
                try:
                    deliveries = await self._source.receive(
                        function.subscription, limit=free, wait_seconds=RECEIVE_WAIT_SECONDS
                    )
                except Exception as error:
                    fields = {"subscription": function.subscription, **describe_error(error)}
                    _logger.error("receive failed", extra=fields)
                    await sleep_unless(stopping, back_off, self._sleep)
                    back_off = min(2 * back_off, LONGEST_BACK_OFF_SECONDS)
                    continue
                back_off = FIRST_BACK_OFF_SECONDS
                for delivery in deliveries:
                    task = group.create_task(self._handle(function, delivery))
                    in_work.add(task)
                    task.add_done_callback(in_work.discard)
                if deliveries and self._gather_seconds:
                    if len(deliveries) < free:
                        await self._sleep(self._gather_seconds)
                    else:  # more of them wait, and should find as many places free
                        await asyncio.wait(in_work, timeout=self._gather_seconds)

    async def _handle(self, function: MessageFunction, delivery: Delivery) -> None:
        started = time.perf_counter()
        fields: dict[str, object] = {
            "function": function.name,
            "subscription": delivery.subscription,
            "message_id": delivery.message_id,
            "event_type": _event_type(delivery.body),
            "delivery_count": delivery.delivery_count,
            "outcome": "cancelled",
        }
        settle: Callable[[Delivery], Awaitable[None]]
        lock = _Lock(delivery, self._half_time(delivery))
        self._locks.add(lock)
        try:
            with self._activity.working:
                try:
                    await function.handler(**{function.argument: _message(delivery)})
                except InvalidEvent as error:
                    outcome, settle = (
                        "dead-lettered",
                        partial(self._source.dead_letter, reason=error.slug),
                    )
                    fields |= describe_error(error)
                except Exception as error:
                    outcome, settle = "abandoned", self._source.abandon
                    fields |= describe_error(error)
                else:
                    outcome, settle = "completed", self._source.complete
                await settle(lock.delivery)
            fields["outcome"] = outcome
        except Conflict:
            fields["outcome"] = "lock-lost"
        except Exception as error:
            fields |= {"outcome": "unsettled", **describe_error(error)}
        finally:
            self._locks.discard(lock)
            fields["duration_ms"] = round((time.perf_counter() - started) * 1000, 1)
            level = logging.INFO if fields["outcome"] == "completed" else logging.WARNING
            _logger.log(level, "message", extra=fields)

    async def _renew_locks(self) -> None:
        """Renew each lock of a message in work whenever half of it is over."""
        # Each by a task of its own: no lock may run out while the source is slow with another.
        async with asyncio.TaskGroup() as group:
            while True:
                await self._sleep(SHORTEST_RENEWAL_SECONDS)
                now = self._clock.now()
                for lock in [lock for lock in self._locks if lock.renew_at <= now]:
                    lock.renew_at = _NEVER  # until this is done
                    group.create_task(self._renew(lock))

    async def _renew(self, lock: _Lock) -> None:
        fields = {
            "subscription": lock.delivery.subscription,
            "message_id": lock.delivery.message_id,
        }
        try:
            lock.delivery = await self._source.renew(lock.delivery)
        except Conflict:
            if lock in self._locks:  # otherwise its message was settled at the same time
                _logger.warning("lock lost", extra=fields)
            return
        except Exception as error:
            _logger.warning("renewal failed", extra=fields | describe_error(error))
        lock.renew_at = self._half_time(lock.delivery)

    def _half_time(self, delivery: Delivery) -> datetime:
        now = self._clock.now()
        left = (delivery.locked_until - now) / 2
        return now + max(left, timedelta(seconds=SHORTEST_RENEWAL_SECONDS))


@dataclass(slots=True, eq=False)
class _Lock:
    """The delivery as last renewed, and when half of what was left then is over."""

    delivery: Delivery
    renew_at: datetime


_NEVER: Final = datetime.max.replace(tzinfo=UTC)


def _event_type(body: bytes) -> str | None:
    try:
        return Event.from_json(body).type.value
    except InvalidEvent:
        return None


def _message(delivery: Delivery) -> ServiceBusMessage:
    return ServiceBusMessage(
        body=delivery.body,
        content_type="application/cloudevents+json",
        message_id=delivery.message_id,
        session_id=delivery.session_id,
        delivery_count=delivery.delivery_count,
        enqueued_time_utc=delivery.enqueued_at,
        locked_until=delivery.locked_until,
        lock_token=delivery.lock_token,
        application_properties={},
        user_properties={},
    )
