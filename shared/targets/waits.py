"""The waits of copies: ended with an audit entry once they are done, prolonged when they fail."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.base.errors import Conflict, StrongroomError
from shared.documents.models import Version
from shared.journal.collections import Stored, remove_all
from shared.journal.entries import Action, Details
from shared.journal.journal import Journal
from shared.ports.records import Delete
from shared.targets.health import FAILING_AFTER, pause_after
from shared.targets.models import WaitingCopy
from shared.targets.store import COPY_KIND, Backlog, TargetRecords

_FORGOTTEN_AT_ONCE: Final = 90

_log = logging.getLogger("strongroom.targets")


@dataclass(slots=True)
class Waits:
    """Ends and prolongs waits. One that was asked for again in between goes on as it is.

    Attributes:
        store: Keeps what waits.
        journal: Commits ends with their audit entries.
    """

    store: TargetRecords
    journal: Journal

    async def end(self, stored: Stored[WaitingCopy], done: Version | int | None) -> None:
        """What waited is done.

        Args:
            stored: What waited.
            done: The version that was copied, or how many objects were erased; None: there was nothing
                to copy any more.
        """
        waiting, change = stored.value, self.store.copies.delete(stored)
        details: Details = {"target": waiting.target}
        if isinstance(done, Version):
            details |= {"version": done.number, "size": done.size}
        elif done is not None:
            details |= {"objects": done}
        with suppress(Conflict):
            if done is None:
                await self.store.records.commit(stored.partition, [change])
                return
            entry = self.journal.entry(
                Action.TARGET_COPY if waiting.what == "copy" else Action.TARGET_ERASE,
                waiting.document,
                tenant=stored.partition.tenant,
                details=details,
            )
            await self.journal.commit(entry, [change])

    async def prolong(
        self, stored: Stored[WaitingCopy], error: StrongroomError, *, report: bool
    ) -> datetime:
        """What waits has failed; return when to try it again.

        Args:
            stored: What waits.
            error: Why it failed.
            report: Whether the failure is this copy's own, to be reported if it lasts.
        """
        now, waiting = self.store.runtime.now(), stored.value
        since = waiting.failed_since or now
        next_at = now + pause_after(waiting.attempts)
        report = report and not waiting.reported and now - since >= FAILING_AFTER
        prolonged = waiting.model_copy(
            update={
                "attempts": waiting.attempts + 1,
                "failed_since": since,
                "failed_at": now,
                "next_at": next_at,
                "reported": waiting.reported or report,
            }
        )
        change = self.store.copies.replace(stored, prolonged)
        with suppress(Conflict):
            if not report:
                await self.store.records.commit(stored.partition, [change])
                return next_at
            entry = self.journal.entry(
                Action.TARGET_FAIL,
                waiting.document,
                tenant=stored.partition.tenant,
                failed=error.slug,
                details={"target": waiting.target, "version": waiting.version},
            )
            await self.journal.commit(entry, [change])
            _log.error("target.failed %s %s: %s", waiting.target, waiting.document, error.slug)
        return next_at

    async def forget(self, backlog: Backlog) -> None:
        """Remove what waits for a target that was deleted."""
        waiting = [stored.value.id async for stored in self.store.waiting(backlog)]
        for start in range(0, len(waiting), _FORGOTTEN_AT_ONCE):
            batch = waiting[start : start + _FORGOTTEN_AT_ONCE]
            deletes = [Delete(COPY_KIND, name) for name in batch]
            await remove_all(self.store.records, backlog.partition, deletes)
