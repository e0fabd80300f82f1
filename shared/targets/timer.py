"""The timer of targets: several side by side, each worked at in turns, so that none holds up another.

A run looks for work again while it goes on, and begins no turn once ``RUN`` is over: the longest copy that
is under way then still ends within the time that a function has (``functionTimeout`` in host.json). It may
end anywhere: what it was at stays on the agenda.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.base.errors import StrongroomError
from shared.journal.agenda import AgendaItem, Task
from shared.journal.collections import Stored
from shared.targets.store import Backlog, TargetKey, TargetRecords
from shared.targets.turns import TargetTurns

RUN: Final = timedelta(minutes=5)

SIDE_BY_SIDE: Final = 8
"""Targets that are worked at at the same time."""

LOOK_AGAIN_SECONDS: Final = 15.0
"""How long work that comes up while all turns go on may wait for the next look."""

_log = logging.getLogger("strongroom.targets")

Due = Mapping[Backlog, Sequence[Stored[AgendaItem]]]
"""What is due of one target."""


@dataclass(slots=True)
class _Run:
    """What one run has done and what it is at.

    Attributes:
        until: When no more turns begin.
        turns: How many each target has had.
        failed: Targets whose turn a part of the service kept from ending.
        in_work: The turns that go on.
    """

    until: datetime
    turns: Counter[TargetKey] = field(default_factory=Counter)
    failed: set[TargetKey] = field(default_factory=set)
    in_work: dict[TargetKey, asyncio.Task[None]] = field(default_factory=dict)


@dataclass(slots=True)
class TargetTimer:
    """Works off what waits for targets.

    Attributes:
        store: Has the agenda.
        turns: Work at one target for a while.
    """

    store: TargetRecords
    turns: TargetTurns

    async def run(self) -> int:
        """Work off what is due; return how many turns that took."""
        run = _Run(self.store.runtime.now() + RUN)
        try:
            while True:
                await self._begin(run)
                if not run.in_work:
                    return run.turns.total()
                await self._wait(run)
        finally:
            for task in run.in_work.values():
                task.cancel()
            await asyncio.gather(*run.in_work.values(), return_exceptions=True)

    async def _begin(self, run: _Run) -> None:
        """Begin the turns for which there is room, those of targets first that have had the fewest."""
        if self.store.runtime.now() >= run.until:
            return
        due = await self._due()
        for target in sorted(due, key=lambda target: (run.turns[target], target)):
            if len(run.in_work) == SIDE_BY_SIDE:
                return
            if target not in run.in_work and target not in run.failed:
                run.turns[target] += 1
                run.in_work[target] = asyncio.create_task(self._take(run, target, due[target]))

    async def _due(self) -> Mapping[TargetKey, Due]:
        due: defaultdict[TargetKey, dict[Backlog, list[Stored[AgendaItem]]]] = defaultdict(dict)
        async for item in self.store.agenda.due(Task.COPY_TO_TARGETS):
            backlog = Backlog.of(item.value)
            due[backlog.target].setdefault(backlog, []).append(item)
        return due

    async def _take(self, run: _Run, target: TargetKey, due: Due) -> None:
        try:
            for backlog in await self.turns.take(target, sorted(due)):
                await self.store.agenda.remove(Task.COPY_TO_TARGETS, due[backlog])
        except StrongroomError as error:
            run.failed.add(target)
            _log.error("target.turn-failed %s: %s", target.id, error.slug)
        except Exception as error:
            run.failed.add(target)
            _log.error("target.turn-failed %s: %s", target.id, type(error).__qualname__)

    async def _wait(self, run: _Run) -> None:
        """Wait until a turn has ended, or until it is time to look for work again."""
        pause = asyncio.ensure_future(self.store.runtime.sleep(LOOK_AGAIN_SECONDS))
        try:
            waited_for = [pause, *run.in_work.values()]
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            await asyncio.gather(pause, return_exceptions=True)
        for target in [target for target, task in run.in_work.items() if task.done()]:
            del run.in_work[target]
