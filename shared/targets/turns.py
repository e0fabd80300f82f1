"""A turn: one target is worked at for a while, copy by copy, until it fails or its time is over.

Failures are of three kinds. The target itself fails: nothing more is sent to it for a pause that doubles
from a minute to six hours. One copy fails, because its content cannot be read here, or the target refuses
to delete one object: it alone waits, in the same rhythm. A part of the service fails: the turn ends, and
the next run tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.base.errors import Forbidden, InternalError, StrongroomError, Unavailable
from shared.base.leases import lasts
from shared.base.partitions import MAIN
from shared.documents.models import Version
from shared.journal.collections import Stored
from shared.targets.backfill import Backfill
from shared.targets.connections import TargetConnections
from shared.targets.copying import Destination, TargetCopier
from shared.targets.errors import TargetFailedError
from shared.targets.health import TargetHealth
from shared.targets.models import LONGEST_PAUSE, WaitingCopy
from shared.targets.store import Backlog, TargetKey, TargetRecords
from shared.targets.waits import Waits

TURN: Final = timedelta(minutes=1)
"""No copy is begun later in a turn."""

COPY_SECONDS: Final = 1_200.0
"""The longest that one copy may take."""

COPIES_AT_ONCE: Final = 4
"""To one target; one at a time where the bandwidth is limited, so that each ends in time."""

LATE: Final = timedelta(minutes=15)
"""What waits for so long is late; the operators' alert looks for the line."""

_log = logging.getLogger("strongroom.targets")


@dataclass(slots=True)
class _Turn:
    """How a turn goes.

    Attributes:
        until: When no more copies are begun.
        at_once: How many copies are under way at most.
        revived_at: Of the target: copies that failed before are tried again.
        ended: The backlogs that hold nothing that is due any more.
        succeeded: Whether something was copied or erased.
        failure: Of the target itself.
        defect: Of the service.
        oldest: When the oldest of what is left began to wait.
    """

    until: datetime
    at_once: int
    revived_at: datetime | None
    ended: list[Backlog] = field(default_factory=list)
    succeeded: bool = False
    failure: StrongroomError | None = None
    defect: StrongroomError | None = None
    oldest: datetime | None = None

    def is_over(self, now: datetime) -> bool:
        """Whether no more copies are begun."""
        return self.failure is not None or self.defect is not None or now >= self.until

    def leave(self, waiting: WaitingCopy) -> None:
        """Something is left waiting."""
        self.oldest = min(self.oldest or waiting.since, waiting.since)


@dataclass(slots=True)
class TargetTurns:
    """Works at one target for a while.

    Attributes:
        store: Keeps what waits.
        connections: Opens the target.
        copier: Copies and erases.
        backfill: Lets the documents wait that were there before the target.
        waits: Ends and prolongs the waits of copies.
        health: Learns how it went.
    """

    store: TargetRecords
    connections: TargetConnections
    copier: TargetCopier
    backfill: Backfill
    waits: Waits
    health: TargetHealth

    async def take(self, target: TargetKey, backlogs: Sequence[Backlog]) -> Sequence[Backlog]:
        """Work at a target; return which of its backlogs are to be taken off the agenda.

        Args:
            target: Which.
            backlogs: What is due of it, in order.

        Raises:
            StrongroomError: A part of the service itself failed; everything stays on the agenda.
        """
        found = await self.store.find(target)
        if found is None:
            for backlog in backlogs:
                await self.waits.forget(backlog)
            return backlogs
        if found.value.state == "paused":
            return backlogs  # resuming puts all of them on the agenda again
        now = self.store.runtime.now()
        status = await self.store.status(target)
        if status.next_at is not None and lasts(status.next_at, now, LONGEST_PAUSE):
            await self._put_off(backlogs, status.next_at)
            return backlogs
        configuration = await self.connections.configurations.open(target.tenant, found.value)
        rate = found.value.bytes_per_second
        turn = _Turn(now + TURN, 1 if rate else COPIES_AT_ONCE, status.revived_at)
        try:
            async with self.connections.connected(target.tenant, configuration, rate) as store:
                to = Destination(target.tenant, store, configuration.recipients)
                for backlog in backlogs:
                    await self._work(turn, to, backlog)
        except TargetFailedError as failed:
            turn.failure = failed.error
        return await self._conclude(turn, target, backlogs)

    async def _work(self, turn: _Turn, to: Destination, backlog: Backlog) -> None:
        if turn.is_over(self.store.runtime.now()):
            return
        if backlog.part == MAIN:
            ended = await self._fill(turn, to, backlog)
        else:
            ended = await self._work_off(turn, to, backlog)
        if ended:
            turn.ended.append(backlog)

    async def _fill(self, turn: _Turn, to: Destination, backlog: Backlog) -> bool:
        """Copy what was there before the target, a few documents at a time; return whether that is all."""
        while not turn.is_over(self.store.runtime.now()):
            step = await self.backfill.step(backlog.target)
            for month in step.backlogs:
                await self._work_off(turn, to, month)
            if step.last:
                return True
        return False

    async def _work_off(self, turn: _Turn, to: Destination, backlog: Backlog) -> bool:
        """Copy and erase what waits in a month; return whether nothing that is due is left."""
        places = asyncio.Semaphore(turn.at_once)
        tasks: list[asyncio.Task[datetime | None]] = []
        again: list[datetime] = []
        left = False
        try:
            async for stored in self.store.waiting(backlog):
                now = self.store.runtime.now()
                paused_until = stored.value.pause_until(now, turn.revived_at)
                if paused_until is not None:
                    turn.leave(stored.value)
                    again.append(paused_until)
                    continue
                await places.acquire()
                if turn.is_over(self.store.runtime.now()):
                    turn.leave(stored.value)
                    left = True
                    break
                tasks.append(asyncio.create_task(self._attempt(turn, to, stored, places)))
            again += [at for at in await asyncio.gather(*tasks) if at is not None]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if left or turn.failure is not None or turn.defect is not None:
            return False
        if again:
            await self.store.schedule(backlog, min(again))
        return True

    async def _attempt(
        self,
        turn: _Turn,
        to: Destination,
        stored: Stored[WaitingCopy],
        places: asyncio.Semaphore,
    ) -> datetime | None:
        """Carry out one copy; return when to try it again, if it failed."""
        try:
            error = await self._carry_out(turn, to, stored)
            if error is None:
                turn.succeeded = True
                return None
            turn.leave(stored.value)
            return await self.waits.prolong(stored, error, report=error is not turn.failure)
        except StrongroomError as defect:
            turn.defect = defect
            return None
        finally:
            places.release()

    async def _carry_out(
        self, turn: _Turn, to: Destination, stored: Stored[WaitingCopy]
    ) -> StrongroomError | None:
        """Copy or erase, and end the wait; return what keeps it from being done.

        Raises:
            Unavailable: A part of the service does not respond.
        """
        waiting = stored.value
        done: Version | int | None
        try:
            async with asyncio.timeout(COPY_SECONDS):
                if waiting.what == "erase":
                    done = await self.copier.erase(to, waiting.document)
                else:
                    done = await self.copier.copy(to, waiting.document, waiting.version)
        except TargetFailedError as failed:
            # A target may protect single objects for a time, and take others.
            protected = waiting.what == "erase" and isinstance(failed.error, Forbidden)
            if not protected and turn.failure is None:
                turn.failure = failed.error
            return failed.error
        except TimeoutError:
            return Unavailable("The copy did not end in time.")
        except Unavailable:
            raise
        except StrongroomError as error:
            return error
        except Exception as error:
            _log.error("unexpected %s with a target", type(error).__qualname__)
            return InternalError("The copy met an unexpected error.")
        await self.waits.end(stored, done)
        return None

    async def _conclude(
        self, turn: _Turn, target: TargetKey, backlogs: Sequence[Backlog]
    ) -> Sequence[Backlog]:
        left = [backlog for backlog in backlogs if backlog not in turn.ended]
        if turn.succeeded:
            await self.health.record_success(target)
        if turn.failure is not None:
            at = await self.health.record_failure(target, turn.failure)
            await self._put_off(left, at)
            for backlog in left:
                page = await self.store.copies.page(
                    backlog.partition, where={"target": target.id}, limit=1
                )
                for stored in page.items:
                    turn.leave(stored.value)
        age = self.store.runtime.now() - (turn.oldest or self.store.runtime.now())
        if age > LATE:
            _log.warning("target.late %s, %d s old", target.id, age.total_seconds())
        if turn.defect is not None:
            raise turn.defect
        return backlogs if turn.failure is not None else turn.ended

    async def _put_off(self, backlogs: Sequence[Backlog], at: datetime) -> None:
        for backlog in backlogs:
            await self.store.schedule(backlog, at)
