"""kill -9 while sets are made, pruned, verified or restored: the next run ends right, and nothing is lost.

``STRONGROOM_FAULT_KILLS`` says how often to kill each, ``STRONGROOM_FAULT_SEED`` repeats a run's moments.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import pytest

from tests.support.app import open_app
from tests.support.backups import BackedUp, lose, open_backed_up
from tests.support.clock import FakeClock
from tests.support.faults.backup_worker import ACTIONS, LATER
from tests.support.killing import ROOT

KILLS = max(1, int(os.environ.get("STRONGROOM_FAULT_KILLS", "4")) // 4)
SEED = os.environ.get("STRONGROOM_FAULT_SEED") or str(random.SystemRandom().randrange(1 << 32))

Contents = dict[str, tuple[str, list[bytes]]]


@dataclass(frozen=True)
class Template:
    """A data folder to copy, and what its tenant has.

    Attributes:
        data: The folder: one set is made, and there are changes for the next.
        tenant: The tenant.
        now: When it was left.
        contents: Names and contents of every version, by document.
    """

    data: Path
    tenant: str
    now: datetime
    contents: Contents


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    data = tmp_path_factory.mktemp("template") / "data"

    async def furnish() -> Template:
        async with open_backed_up(data) as backed_up:
            documents = [await backed_up.upload(os.urandom(2_000)) for _ in range(12)]
            await backed_up.back_up()
            for document in documents[:3]:
                await backed_up.update(document, os.urandom(200_000))
            await backed_up.erase(documents[3])
            for _ in range(6):
                await backed_up.upload(os.urandom(100_000))
            await backed_up.app.settle()
            clock = backed_up.app.clock
            return Template(data, backed_up.tenant, clock.now(), await backed_up.documents())

    return anyio.run(furnish)


def run(data: Path, now: datetime, action: str, kill_after: float | None = None) -> float:
    """Let a process work on a folder, and kill it after some seconds; how long it worked."""
    command = [sys.executable, "-m", "tests.support.faults.backup_worker"]
    process = subprocess.Popen(
        [*command, str(data), now.isoformat(), action],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        began = time.monotonic()
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
        worked = time.monotonic() - began
        if kill_after is None:
            assert process.wait() == 0
    return worked


async def found(data: Path, now: datetime, tenant: str) -> Contents:
    """What the tenant of a folder has."""
    async with open_app(data, FakeClock(now)) as app:
        return await BackedUp(app, tenant, await app.auth(tenant)).documents()


def moments(action: str, whole: float) -> Iterator[float]:
    """When to kill a process that would work for so many seconds."""
    chance = random.Random(f"{SEED} {action}")
    for _ in range(KILLS):
        yield chance.uniform(0, whole)


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_killed_process_harms_no_set(template: Template, action: str, tmp_path: Path) -> None:
    now = template.now
    ready = tmp_path / "ready"
    shutil.copytree(template.data, ready)
    if action != "back-up":
        run(ready, now, "back-up")
        now += timedelta(minutes=10)
    if action == "restore":
        lose(ready)
    whole_copy = tmp_path / "whole"
    shutil.copytree(ready, whole_copy)
    whole = run(whole_copy, now, action)
    for number, moment in enumerate(moments(action, whole)):
        data = tmp_path / f"killed-{number}"
        shutil.copytree(ready, data)
        run(data, now, action, kill_after=moment)
        # Long enough that nobody waits for the process that is gone.
        then = now + timedelta(hours=1)
        run(data, then, action)
        if action == "prune":
            then += timedelta(seconds=LATER)
        if action != "restore":
            run(data, then, "back-up")
            lose(data)
            run(data, then, "restore")
        after = then + timedelta(hours=1)
        assert anyio.run(found, data, after, template.tenant) == template.contents, (SEED, moment)
