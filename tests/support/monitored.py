"""A log over adapters in memory that the monitor looks at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from shared.adapters.memory.records import MemoryRecords
from shared.audit.findings import MONITOR_ID, Finding, MonitorState, monitor_states
from shared.base.partitions import Partition
from shared.journal.entries import Action, Entry
from shared.journal.journal import Journal
from shared.wiring.audit import Audit
from tests.support.audit import AuditData
from tests.support.clock import FakeClock

TENANT = "ten_a"
MAIN = Partition(TENANT)


def new_data(part_entries: int | None = None) -> AuditData:
    """An empty deployment."""
    clock = FakeClock()
    return AuditData(MemoryRecords(clock), clock, part_entries)


async def act(journal: Journal, count: int, tenant: str = TENANT) -> None:
    """So many things happen."""
    for start in range(0, count, 90):
        entries = [
            journal.entry(Action.DOCUMENT_LIST, tenant=tenant)
            for _ in range(min(90, count - start))
        ]
        await journal.commit_together(Partition(tenant), entries, [], [])


async def append(data: AuditData, count: int, *, publish: bool = True) -> Audit:
    """So many things happen, are appended, and signed."""
    audit, journal = data.process()
    for start in range(0, count, 50):
        await act(journal, min(50, count - start))
        data.clock.advance(60)
    await audit.log.append_pending(MAIN)
    if publish:
        await audit.checkpoints.publish(TENANT)
    return audit


async def append_entries(data: AuditData, entries: Sequence[Entry]) -> Audit:
    """These entries are appended and signed."""
    audit, journal = data.process()
    for start in range(0, len(entries), 90):
        some = entries[start : start + 90]
        await journal.commit_together(Partition(some[0].tenant), some, [], [])
    await audit.log.append_pending(Partition(entries[0].tenant))
    await audit.checkpoints.publish(entries[0].tenant)
    return audit


async def look(data: AuditData, tenant: str = TENANT) -> Sequence[Finding]:
    """Look at the whole log; what is open then."""
    audit, _ = data.process()
    until = data.clock.now() + timedelta(minutes=4)
    while await audit.monitor.look(tenant, until) is None:
        pass
    return await open_findings(data, tenant)


async def state_of(data: AuditData, tenant: str = TENANT) -> MonitorState:
    """What the monitor knows of a log."""
    stored = await monitor_states(data.records).get(Partition(tenant), MONITOR_ID)
    return stored.value


async def open_findings(data: AuditData, tenant: str = TENANT) -> Sequence[Finding]:
    """What was found and is not put right."""
    return [each.finding for each in (await state_of(data, tenant)).findings]
