"""How targets fare: tried again in a growing rhythm, and reported when they have failed for a week."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.base.errors import Conflict, StrongroomError
from shared.journal.entries import Action, Entry
from shared.journal.journal import Journal
from shared.targets.models import LONGEST_PAUSE, State, TargetStatus
from shared.targets.store import TargetKey, TargetRecords

FIRST_PAUSE: Final = timedelta(minutes=1)

FAILING_AFTER: Final = timedelta(days=7)
"""What has failed for so long is reported. It goes on being tried."""

_log = logging.getLogger("strongroom.targets")


def pause_after(attempts: int) -> timedelta:
    """How long to wait after a failure that comes after so many others."""
    return min(FIRST_PAUSE * (1 << min(attempts, 20)), LONGEST_PAUSE)


@dataclass(slots=True)
class TargetHealth:
    """Keeps how targets fare, and says when one begins to be failing and when it is well again.

    Attributes:
        store: Keeps it.
        journal: Puts what administrators must know into the audit log.
    """

    store: TargetRecords
    journal: Journal

    async def record_success(self, target: TargetKey) -> None:
        """Something was copied or erased."""
        now = self.store.runtime.now()
        await self.store.update_status(target, lambda status: status.succeeded(now))
        entry = self.journal.entry(
            Action.TARGET_CHANGE, target.id, tenant=target.tenant, details={"state": "active"}
        )
        await self._become(target, "active", "failing", entry)

    async def record_failure(self, target: TargetKey, error: StrongroomError) -> datetime:
        """The target itself has failed; return when it is to be tried again."""
        now = self.store.runtime.now()

        def failed(status: TargetStatus) -> TargetStatus:
            return status.failed(now, error.slug, now + pause_after(status.attempts))

        status = await self.store.update_status(target, failed)
        _log.warning("target.unavailable %s: %s", target.id, error.slug)
        if now - (status.failed_since or now) >= FAILING_AFTER:
            entry = self.journal.entry(
                Action.TARGET_FAIL, target.id, tenant=target.tenant, failed=error.slug
            )
            if await self._become(target, "failing", "active", entry):
                _log.error("target.failed %s: %s", target.id, error.slug)
        return status.next_at or now

    async def _become(self, target: TargetKey, state: State, former: State, entry: Entry) -> bool:
        """Let a target change its state; return whether it was in the former one."""
        stored = await self.store.find(target)
        if stored is not None and stored.value.state == former:
            changed = stored.value.model_copy(update={"state": state})
            with suppress(Conflict):  # an administrator has changed it; the next turn sees
                await self.journal.commit(entry, [self.store.targets.replace(stored, changed)])
                return True
        return False
