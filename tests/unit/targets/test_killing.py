"""A process that ends at any commit or any operation of a target: the next one ends right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from shared.adapters.memory.targets import MemoryTarget
from shared.journal.agenda import Task
from shared.targets import backfill
from tests.support.documents import WatchedRecords
from tests.support.keys import KilledError, Steps
from tests.support.targets import TargetData

pytestmark = pytest.mark.anyio


def step_at(
    patch: pytest.MonkeyPatch, owner: type, name: str, steps: Steps, *, after: bool
) -> None:
    """Let each call of a method be a step at which the process may end, before or after its effect."""
    method: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def stepping(*arguments: Any, **named: Any) -> Any:
        if not after:
            steps.take()
        done = await method(*arguments, **named)
        if after:
            steps.take()
        return done

    patch.setattr(owner, name, stepping)


async def story(data: TargetData) -> set[str]:
    """Two earlier documents, a new one and an erased one, all waiting; what is to be there in the end."""
    process = data.start()
    earlier = [await process.documents.create(b"%d" % number) for number in range(3)]
    await data.note(process)
    await process.create()
    new = await process.documents.create(b"new")
    await process.documents.erase(earlier[0].document.id)
    await data.note(process)
    kept = [*earlier[1:], new]
    return {
        name
        for made in kept
        for name in (
            f"content/{made.document.id}/1.{made.version.tag}",
            f"keys/{made.document.id}/1.{made.version.tag}.age",
        )
    } | {"strongroom.json"}


@pytest.mark.parametrize("after", [False, True])
async def test_wherever_the_timer_ends_the_next_run_ends_right(
    monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    monkeypatch.setattr(backfill, "PAGE", 2)
    at = 0
    while True:
        at += 1
        data, steps = TargetData(), Steps()
        expected = await story(data)
        steps.last = at
        with monkeypatch.context() as patch:
            step_at(patch, WatchedRecords, "commit", steps, after=after)
            step_at(patch, MemoryTarget, "put", steps, after=after)
            step_at(patch, MemoryTarget, "delete", steps, after=after)
            data.clock.advance(120)
            with suppress(KilledError):  # it may end between turns
                await data.start().services.timer.run()
            for outbox in data._outboxes:
                outbox._waiting.clear()
                outbox._left.clear()
        killed = steps.taken >= at
        await data.work(data.start())
        assert data.objects().keys() == expected, at
        assert await data.waiting() == [], at
        await data.work(data.start())
        assert await data.start().documents.on_agenda(Task.COPY_TO_TARGETS) == [], at
        await data.close()
        if not killed:
            break
    assert at > 20
