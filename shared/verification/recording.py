"""The record of a verification, while it is worked on: what was found, and how far it is."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from shared.base import telemetry
from shared.base.errors import Damaged
from shared.journal.collections import Collection, Stored
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from shared.verification.findings import Checked, Finding, Position, Verification

_log = logging.getLogger("strongroom.backup")


@dataclass(slots=True)
class VerificationRecord:
    """Changes the record of one verification.

    Every method raises ``Conflict`` if another process has changed it since.

    Attributes:
        journal: Puts findings and the end into the audit log.
        runtime: Time.
        verifications: Where it is kept.
        stored: The verification, as committed.
    """

    journal: Journal
    runtime: Runtime
    verifications: Collection[Verification]
    stored: Stored[Verification]

    @property
    def value(self) -> Verification:
        """The verification, as committed."""
        return self.stored.value

    async def begin(self, last: str, objects: int, versions: int) -> None:
        """Keep what the newest set is, and how much there is to check."""
        begun = {"last": last, "total_objects": objects, "total_versions": versions}
        await self._save(self.value.model_copy(update=begun))

    async def report(self, finding: Finding) -> None:
        """Keep a finding, in the audit log and before the operators too, unless that was done."""
        if self.value.has(finding):
            return
        tenant = self.stored.partition.tenant
        entry = self.journal.entry(
            Action.BACKUP_FINDING,
            self.value.id,
            tenant=tenant,
            failed=Damaged.slug,
            details={"kind": finding.kind, "object": finding.object},
        )
        change = self.verifications.replace(self.stored, self.value.with_finding(finding))
        await self.journal.commit(entry, [change])
        # The operators' alert looks for this line.
        where = f"{finding.kind} {finding.object}"
        _log.error("backup.finding %s, %s: %s", tenant, where, finding.detail)
        telemetry.FINDINGS.add(1, {telemetry.FINDING: finding.kind})
        await self._reload()

    async def progress(self, checked: Checked, position: Position) -> None:
        """Keep that a piece is done, and where the next one begins."""
        await self._save(self._counted(checked, position=position))

    async def end(self, checked: Checked) -> None:
        """Keep that the last piece is done."""
        objects = self.value.checked_objects + checked.objects
        now = self.runtime.now()
        ended = self._counted(checked, state="done", ended_at=now, total_objects=objects)
        entry = self.journal.entry(
            Action.BACKUP_VERIFY,
            ended.id,
            tenant=self.stored.partition.tenant,
            details={
                "set": ended.set or "",
                "objects": ended.checked_objects,
                "bytes": ended.checked_bytes,
                "versions": ended.seen_versions,
                "opened": ended.opened_versions,
                "findings": ended.found,
            },
        )
        await self.journal.commit(entry, [self.verifications.replace(self.stored, ended)])
        await self._reload()

    def _counted(self, checked: Checked, **changes: Any) -> Verification:
        value = self.value
        counts = {
            "checked_objects": value.checked_objects + checked.objects,
            "checked_bytes": value.checked_bytes + checked.bytes,
            "seen_versions": value.seen_versions + checked.versions,
            "opened_versions": value.opened_versions + checked.opened,
        }
        return value.model_copy(update=counts | changes)

    async def _save(self, value: Verification) -> None:
        change = self.verifications.replace(self.stored, value)
        await self.verifications.records.commit(self.stored.partition, [change])
        await self._reload()

    async def _reload(self) -> None:
        self.stored = await self.verifications.get(self.stored.partition, self.value.id)
