"""The second process: nothing of ours is imported once it handles messages and timers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

RUN_ALL_TIMERS = """
import asyncio, sys

async def main():
    from function_app import app
    from shared.wiring.services import get_services
    from standalone.timers import TimerRequest
    from standalone.triggers import read_functions

    services = get_services()
    await services.start()
    services.build_all()
    before = set(sys.modules)
    timers = read_functions(app).timers
    for timer in timers:
        await timer.handler(**{timer.argument: TimerRequest()})
    new = set(sys.modules) - before
    print(len(timers), *(name for name in new if name.startswith(("shared", "functions"))))
    await services.close()

asyncio.run(main())
"""


def test_no_timer_imports_what_could_have_been_there(tmp_path: Path) -> None:
    """An import on the event loop, in the middle of a transaction, would have requests wait."""
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL_TIMERS],
        cwd=ROOT,
        env=os.environ | {"STRONGROOM_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    timers, *imported = done.stdout.split()
    assert int(timers) > 10
    assert imported == []
