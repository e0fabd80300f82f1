"""Publishing: drafts of concurrent writers become objects together.

What waits for the disk, the fsyncs of a whole group, is a few calls in threads; what does not, such as
giving a name, stays on the event loop: each call of the operating system in a thread would fight for the
interpreter's lock (decision 45). While one group waits for the disk the next one gathers.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from shared.adapters.embedded.drafts import Draft
from shared.adapters.embedded.threads import DiskHangs, on_disk, refused
from shared.adapters.embedded.tree import ObjectTree, file_name
from shared.base.activity import Activity
from shared.base.errors import StrongroomError, Unavailable

THREADS: Final = 2
"""That sync the files of one group: the disk does a few in the time of one."""


@dataclass(slots=True)
class _Turn:
    """A draft on its way: the name that it gets, and where its writer waits."""

    name: str
    draft: Draft
    done: asyncio.Future[None]


@dataclass(slots=True)
class _Queue:
    """What waits in one event loop."""

    loop: asyncio.AbstractEventLoop
    waiting: list[_Turn] = field(default_factory=list)
    worker: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Publisher:
    """Makes drafts durable, then visible, then their visibility durable.

    Attributes:
        tree: Where objects lie.
        activity: Of the process: a group gathers whoever is about to join.
    """

    tree: ObjectTree
    activity: Activity
    _queue: _Queue | None = field(default=None, init=False)

    async def publish(self, name: str, draft: Draft) -> None:
        """Make an object of a draft whose content was written; a cancelled caller leaves only at the end.

        Raises:
            Conflict: An object has this name.
            Unavailable: The operating system refused.
            DiskHangs: The disk does not respond; a thread goes on working with the draft.
        """
        loop = asyncio.get_running_loop()
        queue = self._queue
        if queue is None or queue.loop is not loop:
            queue = self._queue = _Queue(loop)
        turn = _Turn(name, draft, loop.create_future())
        queue.waiting.append(turn)
        if queue.worker is None:
            queue.worker = loop.create_task(self._work(queue))
        cancelled = False
        while not turn.done.done():
            try:
                with self.activity.waiting:
                    await asyncio.shield(turn.done)
            except asyncio.CancelledError:
                cancelled = True
            except Exception:
                break
        if cancelled:
            turn.done.exception()
            raise asyncio.CancelledError
        turn.done.result()

    async def _work(self, queue: _Queue) -> None:
        group: list[_Turn] = []
        try:
            while queue.waiting:
                await self.activity.idle()
                group, queue.waiting = queue.waiting, []
                await self._publish(group)
        finally:
            queue.worker = None
            # Where this was cancelled; their callers wait for nothing else.
            _fail([*group, *queue.waiting], Unavailable("The store is being closed; try again."))

    async def _publish(self, group: Sequence[_Turn]) -> None:
        opened = ExitStack()
        try:
            await self._publish_in(opened, group)
        except DiskHangs as error:
            opened.pop_all()  # the thread uses the descriptors still
            _fail(group, error)
        except Exception as error:
            _fail(group, error)
        finally:
            opened.close()
        for turn in group:
            if not turn.done.done():
                turn.done.set_result(None)

    async def _publish_in(self, opened: ExitStack, group: Sequence[_Turn]) -> None:
        synced = await _all_on_disk([turn.draft.sync for turn in group])
        folders: dict[str, int] = {}
        linked: dict[str, list[_Turn]] = {}
        for turn, error in zip(group, synced, strict=True):
            if error is not None:
                _fail([turn], error)
                continue
            path, _, last = turn.name.rpartition("/")
            try:
                if path not in folders:
                    folders[path] = await self._folder(path)
                    opened.callback(os.close, folders[path])
                turn.draft.link(folders[path], file_name(last))
            except (OSError, StrongroomError) as failure:
                _fail([turn], failure)
            else:
                linked.setdefault(path, []).append(turn)
        for turns, error in zip(
            linked.values(),
            await _all_on_disk([partial(os.fsync, folders[path]) for path in linked]),
            strict=True,
        ):
            if error is not None:
                _fail(turns, error)

    async def _folder(self, path: str) -> int:
        segments = path.split("/") if path else []
        if self.tree.is_durable(path):
            return self.tree.open_folder(segments, make=True)
        return await on_disk(self.tree.open_folder, segments, make=True)


async def _all_on_disk(calls: Sequence[Callable[[], None]]) -> Sequence[OSError | None]:
    """What each call failed with, or None; ``THREADS`` make the calls.

    Raises:
        DiskHangs: Threads work on some of them still.
    """
    share = -(-len(calls) // THREADS) or 1
    shares = [calls[start : start + share] for start in range(0, len(calls), share)]
    made = await asyncio.gather(*(on_disk(_each, part) for part in shares), return_exceptions=True)
    outcomes: list[OSError | None] = []
    for part in made:
        if isinstance(part, BaseException):
            raise part
        outcomes += part
    return outcomes


def _each(calls: Sequence[Callable[[], None]]) -> list[OSError | None]:
    """What each call failed with, or None."""
    failures: list[OSError | None] = []
    for call in calls:
        try:
            call()
        except OSError as error:
            failures.append(error)
        else:
            failures.append(None)
    return failures


def _fail(turns: Sequence[_Turn], error: Exception) -> None:
    if isinstance(error, OSError):
        error = refused(error)
    for turn in turns:
        if not turn.done.done():
            turn.done.set_exception(error)
