"""A timer that looks between an announcement and the commit it announces loses no work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.partitions import OPERATOR, Partition
from shared.journal.agenda import ANNOUNCED, COMMIT_MARGIN, Agenda, Task
from shared.restore.service import RestoreRequest
from tests.support.backups import BackedUp, open_backed_up

pytestmark = pytest.mark.anyio

EMPLOYEE = Principal(OPERATOR, "usr_operator", (Role.OPERATOR,))

Begin = Callable[[BackedUp], Awaitable[Callable[[], Awaitable[bool]]]]
"""Begins work for a timer; what it gives tells whether the work was done."""


@pytest.fixture
async def backed_up(tmp_path: Path) -> AsyncIterator[BackedUp]:
    async with open_backed_up(tmp_path / "data") as opened:
        yield opened


async def run_timers(backed_up: BackedUp) -> None:
    await backed_up.backups.restore_timer.run()
    await backed_up.backups.verifications.run()
    await backed_up.app.services.key_rotation.run()


def administrator(backed_up: BackedUp) -> Principal:
    return Principal(backed_up.tenant, "usr_administrator", (Role.ADMINISTRATOR,))


async def restore(backed_up: BackedUp) -> Callable[[], Awaitable[bool]]:
    restores, principal = backed_up.backups.restores, administrator(backed_up)
    planned = await restores.plan(principal, RestoreRequest())
    await restores.start(principal, planned.id)

    async def done() -> bool:
        return (await restores.read(principal, planned.id)).state == "done"

    return done


async def verify(backed_up: BackedUp) -> Callable[[], Awaitable[bool]]:
    verifications, principal = backed_up.backups.verifications, administrator(backed_up)
    begun = await verifications.start(principal, None)

    async def done() -> bool:
        return (await verifications.read(principal, begun.id)).ended_at is not None

    return done


async def rotate(backed_up: BackedUp) -> Callable[[], Awaitable[bool]]:
    await backed_up.app.services.key_rotation.begin(EMPLOYEE, backed_up.tenant)

    async def done() -> bool:
        return "key.delete" in await backed_up.app.actions(backed_up.tenant)

    return done


@pytest.mark.parametrize("begin", [restore, verify, rotate], ids=lambda each: each.__name__)
async def test_no_work_is_lost(
    backed_up: BackedUp, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backed_up.upload(b"content")
    await backed_up.back_up()
    announced: list[Task] = []
    announce = Agenda.announce

    async def and_a_timer_looks(
        agenda: Agenda, task: Task, partition: Partition, within: timedelta | None = None
    ) -> None:
        await announce(agenda, task, partition, within)
        announced.append(task)
        await run_timers(backed_up)

    monkeypatch.setattr(Agenda, "announce", and_a_timer_looks)
    done = await begin(backed_up)
    assert announced
    await run_timers(backed_up)
    backed_up.app.clock.advance((ANNOUNCED + COMMIT_MARGIN + timedelta(seconds=1)).total_seconds())
    await run_timers(backed_up)
    await backed_up.app.settle()
    assert await done()
