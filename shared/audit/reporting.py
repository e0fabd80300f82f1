"""The record of the monitor's work on one log; a finding becomes an entry, an event and a log line."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.audit.findings import MAX_OPEN, MONITOR_ID, Finding, MonitorState, OpenFinding
from shared.audit.findings import monitor_states as states_of
from shared.base.errors import Conflict, Damaged
from shared.base.events import DifferenceData, Event, EventType
from shared.base.partitions import OPERATOR, Partition
from shared.journal.collections import Collection, Stored
from shared.journal.entries import Action, Entry
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from shared.ports.records import Change, RecordStore

_log = logging.getLogger("strongroom.audit")


@dataclass(slots=True)
class MonitorRecord:
    """Changes the monitor's state of one log.

    Every method that commits raises ``Conflict`` if another process has changed the state since.

    Attributes:
        records: Where it is kept.
        journal: Puts findings into the audit logs.
        runtime: Time.
        tenant: Whose log.
        stored: The state, as committed; None before the first commit.
        value: The state as it is to be committed next.
    """

    records: RecordStore
    journal: Journal
    runtime: Runtime
    tenant: str
    stored: Stored[MonitorState] | None = None
    value: MonitorState = field(default_factory=MonitorState)
    _states: Collection[MonitorState] = field(init=False)

    def __post_init__(self) -> None:
        self._states = states_of(self.records)

    async def load(self) -> None:
        """Read the state.

        Raises:
            Damaged: It is not what the monitor writes.
        """
        self.stored = await self._states.find(Partition(self.tenant), MONITOR_ID)
        self.value = self.stored.value if self.stored else MonitorState()

    def set(self, **changes: Any) -> None:
        """Change the state; ``save`` commits it."""
        self.value = self.value.model_copy(update=changes)

    async def report(self, findings: Sequence[Finding]) -> None:
        """Report what was not reported before.

        The operator's log comes first: whoever changes a tenant's records may have changed what its own log
        needs to grow.
        """
        for finding in {finding.key: finding for finding in reversed(findings)}.values():
            now = self.runtime.now()
            known = {each.finding.key: each for each in self.value.findings}
            is_new = finding.key not in known
            known[finding.key] = OpenFinding(
                finding=finding if is_new else known[finding.key].finding, seen_at=now
            )
            self.set(findings=tuple(known.values())[-MAX_OPEN:])
            if not is_new:
                continue
            # The operators' alert looks for this line.
            _log.error("audit.difference in the log of %s, %s", self.tenant, finding)
            if self.tenant != OPERATOR:
                await self.journal.commit(self._entry(OPERATOR, finding))
            entry = self._entry(self.tenant, finding)
            data = DifferenceData(
                kind=finding.kind,
                difference=finding.difference,
                object=finding.object,
                position=finding.position,
                count=finding.count,
            )
            event = self.journal.event(EventType.AUDIT_DIFFERENCE, self.tenant, entry.id, data)
            await self.journal.commit(entry, [self._change()], [event])
            await self._reload()

    async def save(
        self,
        changes: Sequence[Change] = (),
        entries: Sequence[Entry] = (),
        events: Sequence[Event] = (),
    ) -> None:
        """Commit the state, with other changes of the tenant's main partition, entries and events.

        Args:
            changes: To records.
            entries: About the changes and events.
            events: One at least where there are entries.
        """
        partition = Partition(self.tenant)
        if entries:
            together = [self._change(), *changes]
            await self.journal.commit_together(partition, entries, together, events)
        elif changes or self.stored is None or self.stored.value != self.value:
            await self.records.commit(partition, [self._change(), *changes])
        else:
            return
        await self._reload()

    def close_findings(self) -> None:
        """Forget findings that the walk over the whole log, which has come to its end, has not seen."""
        began_at = self.value.began_at
        if began_at is not None:
            still = [each for each in self.value.findings if each.seen_at >= began_at]
            self.set(findings=tuple(still))

    def _change(self) -> Change:
        if self.stored is None:
            return self._states.create(Partition(self.tenant), self.value)
        return self._states.replace(self.stored, self.value)

    async def _reload(self) -> None:
        value = self.value
        stored = await self._states.get(Partition(self.tenant), MONITOR_ID)
        if stored.value != value:
            raise Conflict("Another process is looking at the same log.")
        self.stored = stored

    def _entry(self, tenant: str, finding: Finding) -> Entry:
        details: dict[str, str | int | list[str]] = {
            "kind": finding.kind,
            "difference": finding.difference,
            "object": finding.object,
            "count": finding.count,
        }
        if finding.position >= 0:
            details["position"] = finding.position
        if tenant != self.tenant:
            details["log"] = self.tenant
        return self.journal.entry(
            Action.AUDIT_DIFFERENCE, tenant=tenant, failed=Damaged.slug, details=details
        )
