"""Works on the backups of a data folder in a process of its own, which a test kills in the middle.

``python -m tests.support.faults.backup_worker DATA TIME ACTION`` says ``begins``, and then does it.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from shared.base.errors import Conflict
from tests.support.app import App, open_app
from tests.support.clock import FakeClock

LATER = 10 * 366 * 86_400
"""Seconds after which every set but the newest has expired."""


async def back_up(app: App) -> None:
    """Make the sets that are due."""
    await app.services.outbox.relay(everything=True)
    app.clock.advance(240)
    await app.services.backups.timer.run()


async def prune(app: App) -> None:
    """Remove what has expired."""
    app.clock.advance(LATER)
    await app.services.backups.timer.run()


async def verify(app: App) -> None:
    """Look through everything."""
    app.clock.advance(32 * 86_400)
    await app.services.backups.verifications.run()


async def restore(app: App) -> None:
    """Restore all of the service; one that has ended is not begun again."""
    with suppress(Conflict):
        await app.services.backups.whole.restore(None, lambda _: None)


ACTIONS = {"back-up": back_up, "prune": prune, "verify": verify, "restore": restore}


async def work(data: Path, now: datetime, action: str) -> None:
    async with open_app(data, FakeClock(now)) as app:
        sys.stdout.write("begins\n")
        sys.stdout.flush()
        await ACTIONS[action](app)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), sys.argv[3]))
