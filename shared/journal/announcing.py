"""Announcements of entries: the audit function is told that entries wait in a partition, not of each.

An entry that waits is durable by itself. What is committed to a partition within ``PAUSE_SECONDS`` gets one
``audit.recorded`` of this process; where the process dies before, the relay of the outbox finds the entry.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.base import telemetry
from shared.base.errors import StrongroomError
from shared.base.events import Event, EventType
from shared.base.partitions import Partition
from shared.ports.bus import EventBus
from shared.ports.clock import Runtime

PAUSE_SECONDS: Final = 0.2
"""Within this time what is committed to a partition is announced together."""

_BATCH: Final = 100
"""Announcements that are published together."""

_log = logging.getLogger("strongroom.outbox")


@dataclass(frozen=True, slots=True)
class _Announcement:
    """An entry that stands for all that wait in its partition, and the trace of what made it."""

    entry: str
    traceparent: str | None


@dataclass(slots=True)
class EntryAnnouncements:
    """Tells the audit function where entries wait.

    Attributes:
        bus: Where announcements go.
        environment: Bound into every event.
        runtime: Time, randomness for ids, and the waiting.
        left: Learns the partitions of what could not be announced.
    """

    bus: EventBus
    environment: str
    runtime: Runtime
    left: set[Partition]
    _waiting: dict[Partition, _Announcement] = field(init=False, default_factory=dict)
    _announcing: asyncio.Task[None] | None = field(init=False, default=None)
    _pause: asyncio.Future[None] | None = field(init=False, default=None)
    _flushing: bool = field(init=False, default=False)

    def schedule(self, partition: Partition, entry: str) -> None:
        """Announce, in the background, that an entry which was just committed waits.

        Args:
            partition: Where it waits.
            entry: Its id.
        """
        self._waiting[partition] = _Announcement(entry, telemetry.current_traceparent())
        if self._announcing is None or self._announcing.done():
            self._announcing = asyncio.create_task(self._announce_waiting())

    async def announce(self, waiting: Mapping[Partition, str]) -> None:
        """Announce at once that entries wait.

        Args:
            waiting: The id of an entry that waits, by its partition.

        Raises:
            Unavailable: The bus does not respond.
        """
        traceparent = telemetry.current_traceparent()
        await self._publish(
            {each: _Announcement(entry, traceparent) for each, entry in waiting.items()}
        )

    async def flush(self) -> None:
        """Wait until what is scheduled is announced or left to the relay; nothing pauses for it."""
        self._flushing = True
        try:
            if self._pause is not None:
                self._pause.cancel()
            if self._announcing is not None:
                await asyncio.wait([self._announcing])
        finally:
            self._flushing = False

    async def _announce_waiting(self) -> None:
        while self._waiting:
            if not self._flushing:
                self._pause = asyncio.ensure_future(self.runtime.sleep(PAUSE_SECONDS))
                await asyncio.wait([self._pause])  # it ends early where it is cancelled
                self._pause = None
            announced, self._waiting = self._waiting, {}
            try:
                await self._publish(announced)
            except Exception as error:
                what = error.slug if isinstance(error, StrongroomError) else type(error).__name__
                _log.warning("left entries of %d partitions to the relay: %s", len(announced), what)
                self.left.update(announced)

    async def _publish(self, announced: Mapping[Partition, _Announcement]) -> None:
        now = self.runtime.now()
        events = [
            Event(
                id=self.runtime.new_id("evt", now),
                type=EventType.AUDIT_RECORDED,
                environment=self.environment,
                partition=partition,
                subject=each.entry,
                time=now,
                traceparent=each.traceparent,
            )
            for partition, each in announced.items()
        ]
        for start in range(0, len(events), _BATCH):
            await self.bus.publish(events[start : start + _BATCH])
