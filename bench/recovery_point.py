"""How old the newest set's state is at worst, while documents are uploaded and timers run."""

from datetime import timedelta
from pathlib import Path

from bench.vault import SimulatedClock, opened

STEP_SECONDS = 5
RELAY_SECONDS = 15
BACKUP_SECONDS = 60
"""The schedules of ``functions/schedules.py``."""


async def recovery_point(data: Path, minutes: int) -> float:
    """Seconds between a moment and the newest set at that moment, at worst.

    Counted from the first set on. In each step a document is uploaded, so a set that is older than a
    step lacks something. The tenant's set is looked at just before the timer makes the next one.
    """
    clock, worst = SimulatedClock(), 0.0
    async with opened(data, clock) as vault:
        by = await vault.tenant("bench")
        reader, newest = vault.services.backups.reader, None
        for step in range(minutes * 60 // STEP_SECONDS):
            await vault.upload(by, "paper.txt", b"%d" % step)
            await vault.services.outbox.close()
            clock.advance(STEP_SECONDS)
            seconds = (step + 1) * STEP_SECONDS
            if seconds % RELAY_SECONDS == 0:
                await vault.services.outbox.relay()
            if seconds % BACKUP_SECONDS == 0:
                if newest is not None:
                    worst = max(worst, (clock.now() - newest) / timedelta(seconds=1))
                await vault.services.backups.timer.run()
                sets = await reader.sets(by.tenant)
                if sets:
                    newest = (await reader.manifests.read(by.tenant, sets[-1])).made_at
    if newest is None:
        raise RuntimeError("no set was made")
    return worst
