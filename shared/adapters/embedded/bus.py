"""SqliteBus: topics and subscriptions with peek-lock, in one SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.adapters.checks import check_limit, check_reason
from shared.adapters.deliveries import (
    MAX_DEAD_LETTERS,
    MAX_DELIVERIES,
    event_of,
    find_subscription,
)
from shared.adapters.embedded import messages
from shared.adapters.embedded.moments import from_microseconds, to_microseconds
from shared.adapters.embedded.sqlite import Database
from shared.base.activity import Activity
from shared.base.errors import Conflict
from shared.base.events import Event
from shared.base.topology import Topology
from shared.ports.bus import DeadLetter, Delivery
from shared.ports.clock import Clock, Entropy


class SqliteBus:
    """An ``EventBus`` and ``EventSource`` in the SQLite file at ``path``, opened when first used.

    Receivers that wait are woken by what happens through this object, so one object serves all of a
    process; to another process it announces what it publishes, and ``wake`` wakes the receivers there.
    What is published is durable; a lock, or its end, that a power failure takes back means one more
    delivery, which every receiver must expect anyway.

    Args:
        path: The file; it and its folder are made if missing, with modes 0600 and 0700.
        topology: Topics and subscriptions.
        clock: Decides what is due.
        entropy: Makes lock tokens.
        activity: See ``Database``.
    """

    def __init__(
        self,
        path: Path,
        topology: Topology,
        clock: Clock,
        entropy: Entropy,
        activity: Activity | None = None,
    ) -> None:
        self._activity = activity or Activity()
        self._database = Database(path, messages.SCHEMA, activity=self._activity)
        self._topology = topology
        self._clock = clock
        self._entropy = entropy
        self._changed = {part.name: asyncio.Event() for part in topology.subscriptions}
        self._announce: Callable[[str], None] | None = None
        self._with_sessions = {part.name for part in topology.subscriptions if part.sessions}
        # The tokens of the locks of messages that are being completed, and where that is awaited.
        self._completing: list[tuple[str, asyncio.Future[None]]] = []
        self._forgetting: set[asyncio.Task[None]] = set()

    def announce_to(self, announce: Callable[[str], None] | None) -> None:
        """Call this with the name of each subscription that gets messages from now on; None: nobody."""
        self._announce = announce

    def wake(self, subscription: str) -> None:
        """Let every receiver that waits for a message of this subscription look again."""
        self._changed[subscription].set()
        self._changed[subscription] = asyncio.Event()

    async def close(self) -> None:
        """Finish the work that waits and close the file."""
        await self._database.close()

    async def publish(self, events: Sequence[Event]) -> None:
        """See ``EventBus.publish``."""
        bodies = [(event, event.to_json()) for event in events]

        def work(writer: sqlite3.Connection) -> set[str]:
            now = self._now()
            reached: set[str] = set()
            for topic in self._topology.topics:
                count = messages.FORGOTTEN_EACH * len(bodies)
                messages.forget_published(writer, topic, now, count)
                for event, body in bodies:
                    if not messages.is_new(writer, topic, event.id, now):
                        continue
                    for subscription in topic.subscriptions:
                        if event.type in subscription.types:
                            message = (event.id, event.tenant, body, now)
                            messages.enqueue(writer, subscription, message, now)
                            reached.add(subscription.name)
            return reached

        for name in await self._database.write(work):
            self._arrived(name)

    async def dead_letters(self, subscription: str, *, limit: int = 100) -> Sequence[DeadLetter]:
        """See ``EventBus.dead_letters``."""
        find_subscription(self._topology, subscription)
        check_limit(limit, MAX_DEAD_LETTERS)
        sql = (
            "SELECT subscription, body, message_id, reason, delivery_count, dead_lettered_at"
            " FROM dead_letters WHERE subscription = ? ORDER BY sequence LIMIT ?"
        )

        def fetch(reader: sqlite3.Connection) -> list[DeadLetter]:
            return [_dead_letter(row) for row in reader.execute(sql, (subscription, limit))]

        return await self._database.read(fetch)

    async def replay(self, subscription: str, message_ids: Sequence[str]) -> int:
        """See ``EventBus.replay``."""
        target = find_subscription(self._topology, subscription)
        replayed = await self._database.write(
            lambda writer: messages.replay(writer, target, message_ids, self._now())
        )
        self._arrived(subscription)
        return replayed

    async def receive(
        self, subscription: str, *, limit: int = 1, wait_seconds: float = 0.0
    ) -> Sequence[Delivery]:
        """See ``EventSource.receive``."""
        source = find_subscription(self._topology, subscription)
        check_limit(limit, MAX_DELIVERIES)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        while True:
            # Taken before looking, so that what happens after the look is not missed.
            changed = self._changed[subscription]
            locked = await self._database.read(
                lambda reader: messages.none_due(reader, source, self._now())
            )
            if locked is None:
                locked = await self._database.write(
                    lambda writer: messages.lock_due(
                        writer, source, limit, self._now(), self._entropy
                    ),
                    durable=False,
                )
            pause = deadline - loop.time()
            if locked.deliveries or pause <= 0:
                return locked.deliveries
            if locked.next_due is not None:
                pause = min(pause, max(0.0, (locked.next_due - self._now()) / messages.SECOND))
            try:
                await asyncio.wait_for(changed.wait(), pause)
            except TimeoutError:
                continue

    async def complete(self, delivery: Delivery) -> None:
        """See ``EventSource.complete``. What is completed at the same time is forgotten together."""
        if delivery.subscription in self._with_sessions:
            await self._settle(delivery, messages.forget)
            return
        loop = asyncio.get_running_loop()
        if not self._completing:
            self._activity.when_idle(self._start_forgetting)
        done = loop.create_future()
        self._completing.append((delivery.lock_token, done))
        with self._activity.waiting:
            await done

    async def abandon(self, delivery: Delivery) -> None:
        """See ``EventSource.abandon``. The back-off is 1 s, 2 s, 4 s, ... 5 minutes."""
        source = find_subscription(self._topology, delivery.subscription)
        await self._settle(
            delivery, lambda writer, row, now: messages.back_off(writer, row, source, now)
        )

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """See ``EventSource.dead_letter``."""
        check_reason(reason)
        await self._settle(
            delivery, lambda writer, row, now: messages.dead_letter(writer, row, reason, now)
        )

    async def renew(self, delivery: Delivery) -> Delivery:
        """See ``EventSource.renew``."""
        source = find_subscription(self._topology, delivery.subscription)
        until = self._now() + source.lock_seconds * messages.SECOND
        await self._settle(delivery, lambda writer, row, _now: messages.extend(writer, row, until))
        return replace(delivery, locked_until=from_microseconds(until))

    def _start_forgetting(self) -> None:
        completing, self._completing = self._completing, []
        task = asyncio.create_task(self._forget(completing))
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def _forget(self, completing: Sequence[tuple[str, asyncio.Future[None]]]) -> None:
        """Forget the messages of locks, and tell who waits for each what became of it."""
        tokens = [token for token, _ in completing]

        def work(writer: sqlite3.Connection) -> set[str]:
            return messages.forget_locked(writer, tokens, self._now())

        failure: Exception | None = None
        forgotten: set[str] = set()
        try:
            forgotten = await self._database.write(work, durable=False)
        except Exception as error:
            failure = error
        for token, done in completing:
            if done.done():
                continue  # its caller was cancelled
            if token in forgotten:
                done.set_result(None)
            else:
                done.set_exception(failure or Conflict(messages.LOCK_LOST))

    async def _settle(
        self, delivery: Delivery, settle: Callable[[sqlite3.Connection, sqlite3.Row, int], None]
    ) -> None:
        """Change a message that is still locked.

        Raises:
            Conflict: The lock was lost.
        """

        def work(writer: sqlite3.Connection) -> None:
            now = self._now()
            settle(writer, messages.locked(writer, delivery.lock_token, now), now)

        await self._database.write(work, durable=False)
        self.wake(delivery.subscription)

    def _now(self) -> int:
        return to_microseconds(self._clock.now())

    def _arrived(self, subscription: str) -> None:
        self.wake(subscription)
        if self._announce is not None:
            self._announce(subscription)


def _dead_letter(row: Sequence[Any]) -> DeadLetter:
    subscription, body, message_id, reason, delivery_count, dead_lettered_at = row
    return DeadLetter(
        subscription=subscription,
        event=event_of(body),
        message_id=message_id,
        reason=reason,
        delivery_count=delivery_count,
        dead_lettered_at=from_microseconds(dead_lettered_at),
    )
