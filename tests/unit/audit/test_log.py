"""The audit log in parts: no entry is lost or logged twice, whatever is killed when."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.adapters.memory.records import MemoryRecords
from shared.audit.index import LOGGED_KIND, log_part
from shared.base.errors import Damaged, InvalidInput, Unavailable
from shared.base.events import Event, EventType, VersionData
from shared.base.partitions import OPERATOR, Partition
from shared.crypto import merkle
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.journal.waiting import ENTRY_KIND
from shared.ports.records import Change, Create, Delete, Record, Replace
from shared.wiring.audit import Audit
from tests.support.audit import AuditData, entries
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

TENANT = "ten_a"
MAIN = Partition(TENANT)
OFFICER = Principal(TENANT, "usr_" + "0" * 26, (Role.ADMINISTRATOR,))
PART = 8


class Killed(BaseException):
    """The process has ended."""


class Records(MemoryRecords):
    """Records whose process ends at a commit, before or after it took effect, or that do not respond."""

    kill_at = -1
    after = False
    commits = 0
    keeps_waiting: Partition | None = None
    """No entry that waits there can be removed."""

    async def commit(self, partition: Partition, changes: Sequence[Change]) -> None:
        removes = any(isinstance(each, Delete) and each.kind == ENTRY_KIND for each in changes)
        if removes and partition == self.keeps_waiting:
            raise Unavailable("The store does not respond.")
        self.commits += 1
        if self.commits == self.kill_at and not self.after:
            raise Killed
        await super().commit(partition, changes)
        if self.commits == self.kill_at:
            raise Killed


class Log:
    """One tenant's log, used by any number of processes."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = Records(self.clock)
        self.data = AuditData(self.records, self.clock, PART)

    def process(self) -> tuple[Audit, Journal]:
        async def no_time(_: float) -> None:
            await asyncio.sleep(0)

        return self.data.process(no_time)

    async def commit(self, count: int, resource: str = "") -> None:
        _, journal = self.process()
        for _ in range(count):
            self.clock.advance(0.001)
            await journal.commit(journal.entry(Action.DOCUMENT_LIST, resource, tenant=TENANT))

    async def waiting(self, partition: Partition = MAIN) -> list[Record]:
        """What waits in a partition."""
        return list((await self.records.query(partition, ENTRY_KIND, limit=1_000)).records)

    async def positions(self, tenant: str, entry: str) -> list[int]:
        """Where an entry is in a tenant's log."""
        return [
            record.body["position"]
            for number in range(9)
            for record in (
                await self.records.query(log_part(tenant, number), LOGGED_KIND, limit=1_000)
            ).records
            if record.id == entry
        ]

    async def check(self, count: int) -> None:
        """There are so many entries, each once, without a gap, under the root that they give."""
        logged = []
        for number in range(count // PART + 1):
            page = await self.records.query(log_part(TENANT, number), "audit-logged", limit=1_000)
            assert len(page.records) <= PART
            assert {record.body["position"] // PART for record in page.records} <= {number}
            logged += [record.body for record in page.records]
        logged.sort(key=lambda body: int(body["position"]))
        assert [body["position"] for body in logged] == list(range(count))
        assert len({body["entry"]["id"] for body in logged}) == count
        frontier: tuple[bytes, ...] = ()
        for position, body in enumerate(logged):
            text = json.dumps(body["entry"], sort_keys=True, separators=(",", ":"))
            frontier = merkle.append(frontier, position, merkle.leaf_hash(text.encode()))
        head = await self.process()[0].log.head(TENANT)
        assert (head.size, head.root) == (count, merkle.root(frontier).hex())


@pytest.mark.parametrize("count", [1, PART - 1, PART, PART + 1, 2 * PART, 5 * PART + 3])
async def test_entries_fill_one_part_after_the_other(count: int) -> None:
    log = Log()
    await log.commit(count)
    assert await log.process()[0].log.append_pending(MAIN) == count
    assert await log.process()[0].log.append_pending(MAIN) == 0
    await log.check(count)


async def test_entries_that_come_one_by_one_make_the_same_log() -> None:
    log = Log()
    for _ in range(3 * PART + 1):
        await log.commit(1)
        assert await log.process()[0].log.append_pending(MAIN) == 1
    await log.check(3 * PART + 1)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kill_at", range(1, 12))
async def test_an_append_that_is_killed_at_any_commit_is_completed_by_the_next(
    kill_at: int, after: bool
) -> None:
    log = Log()
    count = 2 * PART + 3
    await log.commit(count)
    log.records.commits, log.records.kill_at, log.records.after = 0, kill_at, after
    try:
        await log.process()[0].log.append_pending(MAIN)
    except Killed:
        assert log.records.commits == kill_at
    log.records.kill_at = -1
    await log.process()[0].log.append_pending(MAIN)
    await log.check(count)
    assert not (await log.records.query(MAIN, "audit")).records


async def test_processes_that_append_at_once_log_each_entry_once() -> None:
    log = Log()
    await log.commit(4 * PART)
    others = [Partition(TENANT, f"2026-{month:02}") for month in range(1, 4)]
    await asyncio.gather(
        *(log.process()[0].log.append_pending(MAIN) for _ in range(5)),
        *(log.process()[0].log.append_pending(other) for other in others),
    )
    await log.check(4 * PART)


async def test_the_log_is_listed_newest_first_across_its_parts() -> None:
    log = Log()
    await log.commit(3 * PART + 2)
    audit, _ = log.process()
    await audit.log.append_pending(MAIN)
    for limit in (1, 3, PART, PART + 1, 100):
        found: list[int] = []
        cursor = None
        while True:
            page = await entries(audit.reader, OFFICER, limit=limit, cursor=cursor)
            assert len(page.items) <= limit
            found += [logged.position for logged in page.items]
            cursor = page.cursor
            if cursor is None:
                break
        assert found == list(range(3 * PART + 1, -1, -1)), limit


async def test_a_filter_finds_entries_in_every_part() -> None:
    log = Log()
    resource = "usr_" + "1" * 26
    for _ in range(3):
        await log.commit(PART - 1)
        await log.commit(1, resource)
    audit, _ = log.process()
    await audit.log.append_pending(MAIN)
    page = await entries(audit.reader, OFFICER, resource=resource, limit=10)
    assert {logged.entry.resource for logged in page.items} == {resource}
    assert [logged.position // PART for logged in page.items] == [2, 1, 0]


@pytest.mark.parametrize("cursor", ["", "x", "log-000000", "log-000009.start", "main.start", "."])
async def test_a_cursor_that_is_malformed_is_refused(cursor: str) -> None:
    log = Log()
    await log.commit(1)
    audit, _ = log.process()
    await audit.log.append_pending(MAIN)
    with pytest.raises(InvalidInput):
        await entries(audit.reader, OFFICER, limit=10, cursor=cursor)


class Publishing:
    """A process's bus, which notes the subjects of document events; it can be down."""

    def __init__(self, journal: Journal) -> None:
        self.seen: list[str] = []
        self.down = False
        journal._outbox._bus = self  # type: ignore[assignment]
        journal._outbox._entries.bus = self  # type: ignore[assignment]

    async def publish(self, events: Sequence[Event]) -> None:
        if self.down:
            raise Unavailable("The bus does not respond.")
        self.seen += [each.subject for each in events if each.type is EventType.DOCUMENT_SEALED]


async def with_event(log: Log, subject: str) -> None:
    """An entry with an event, whose process is killed before it publishes anything."""
    _, journal = log.process()
    journal._outbox.schedule_publish = lambda *_, **__: None  # type: ignore[method-assign]
    journal._outbox.announce_entry = lambda *_: None  # type: ignore[method-assign]
    entry = journal.entry(Action.DOCUMENT_LIST, tenant=TENANT)
    event = journal.event(EventType.DOCUMENT_SEALED, TENANT, subject, VersionData(version=1))
    await journal.commit(entry, events=[event])


async def test_an_append_publishes_the_events_of_a_killed_process_first() -> None:
    log = Log()
    for number in range(3):
        log.clock.advance(0.001)
        await with_event(log, f"usr_{number}")
    audit, journal = log.process()
    bus = Publishing(journal)
    bus.down = True
    with pytest.raises(Unavailable):
        await audit.log.append_pending(MAIN)
    assert (await audit.log.head(TENANT)).size == 0, "nothing leaves before its events do"
    bus.down = False
    assert await audit.log.append_pending(MAIN) == 3
    assert bus.seen == ["usr_0", "usr_1", "usr_2"]
    await log.check(3)
    assert not (await log.records.query(MAIN, "audit")).records


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kill_at", range(1, 5))
async def test_no_event_is_lost_when_an_append_is_killed(kill_at: int, after: bool) -> None:
    log = Log()
    for number in range(3):
        log.clock.advance(0.001)
        await with_event(log, f"usr_{number}")
    seen: set[str] = set()
    log.records.commits, log.records.kill_at, log.records.after = 0, kill_at, after
    for _ in range(2):
        audit, journal = log.process()
        bus = Publishing(journal)
        try:
            await audit.log.append_pending(MAIN)
        except Killed:
            log.records.kill_at = -1
        seen.update(bus.seen)
    assert seen == {"usr_0", "usr_1", "usr_2"}
    await log.check(3)


async def test_processes_that_append_at_once_publish_every_event() -> None:
    log = Log()
    for number in range(2 * PART):
        log.clock.advance(0.001)
        await with_event(log, f"usr_{number:02}")
    processes = [log.process() for _ in range(4)]
    buses = [Publishing(journal) for _, journal in processes]
    await asyncio.gather(*(audit.log.append_pending(MAIN) for audit, _ in processes))
    assert {subject for bus in buses for subject in bus.seen} == {
        f"usr_{number:02}" for number in range(2 * PART)
    }
    await log.check(2 * PART)


async def test_a_damaged_entry_is_not_appended_and_holds_up_no_other_partition() -> None:
    log = Log()
    other = Partition(TENANT, "2026-01")
    await with_event(log, "usr_0")
    [record] = await log.waiting()
    damaged = replace(record, body={**record.body, "events": [5]})
    await log.records.commit(MAIN, [Replace(damaged)])
    await log.commit(3, resource="doc_01kdvdq4k07j7aj8v4x9k5n8kw")
    audit, _ = log.process()
    for _ in range(2):
        with pytest.raises(Damaged, match="An audit entry that waits to be appended is damaged"):
            await audit.log.append_pending(MAIN)
    assert await audit.log.append_pending(other) == 3
    await log.check(3)
    assert [each.id for each in await log.waiting()] == [record.id], "it is left to the operators"


@pytest.mark.parametrize("restarted", [False, True], ids=["same process", "new process"])
@pytest.mark.parametrize("before", [0, PART - 1], ids=["part goes on", "part is full"])
async def test_an_entry_and_its_copy_are_logged_once_each(before: int, restarted: bool) -> None:
    """Both have the same id; the removal of the copy from where it waits does not go through."""
    log = Log()
    operator = Partition(OPERATOR)
    audit, journal = log.process()
    for _ in range(before):
        log.clock.advance(0.001)
        await journal.commit(journal.entry(Action.DOCUMENT_LIST, tenant=OPERATOR))
    assert await audit.log.append_pending(operator) == before
    log.clock.advance(0.001)
    granted = journal.entry(Action.DOCUMENT_LIST, tenant=TENANT, grant="grt_x")
    await journal.commit(granted)
    assert await audit.log.append_pending(MAIN) == 1
    log.records.keeps_waiting = operator
    with pytest.raises(Unavailable):
        await audit.log.append_pending(operator)
    log.records.keeps_waiting = None
    if restarted:
        audit, journal = log.process()
    assert await audit.log.append_pending(operator) == 0, "the message comes again"
    for _ in range(2):
        log.clock.advance(0.001)
        await journal.commit(journal.entry(Action.DOCUMENT_LIST, tenant=OPERATOR))
        assert await audit.log.append_pending(operator) == 1
    assert await log.positions(TENANT, granted.id) == [0]
    assert await log.positions(OPERATOR, granted.id) == [before]
    assert await log.waiting(operator) == []


async def test_restored_entries_of_a_full_part_hold_up_nothing_behind_them() -> None:
    log = Log()
    await log.commit(PART)
    waited = await log.waiting()
    await log.process()[0].log.append_pending(MAIN)
    await log.records.commit(MAIN, [Create(record) for record in waited])
    await log.commit(1)
    assert await log.process()[0].log.append_pending(MAIN) == 1
    assert await log.waiting() == []
    await log.check(PART + 1)


class Restored(Log):
    """A log of three parts whose index was lost after its tiles were made.

    The records were restored to a time when its entries waited: two in the main partition, one in a month.
    The first one waits with an event.
    """

    async def restore(self) -> list[Record]:
        """Lose the index; what waits again."""
        await with_event(self, "usr_restored")
        await self.commit(1, "doc_01kdvdq4k07j7aj8v4x9k5n8kw")
        await self.commit(1)
        waited = [*await self.waiting(), *await self.waiting(Partition(TENANT, "2026-01"))]
        audit, _ = self.process()
        for partition in (Partition(TENANT, "2026-01"), MAIN):
            await audit.log.append_pending(partition)
        await self.commit(2 * PART)
        await audit.log.append_pending(MAIN)
        await audit.checkpoints.publish(TENANT)
        keys = await self.records.get(Partition(OPERATOR), "audit-keys", "keys")
        self.records = Records(self.clock)
        self.data.records = self.records
        for record in [keys, *waited]:
            await self.records.commit(record.partition, [Create(record)])
        return waited


@pytest.mark.parametrize("new", [0, 1])
async def test_a_restored_entry_that_the_tiles_give_back_is_logged_once(new: int) -> None:
    log = Restored()
    waited = await log.restore()
    await log.commit(new)
    audit, journal = log.process()
    bus = Publishing(journal)
    for partition in (MAIN, Partition(TENANT, "2026-01")):
        await audit.log.append_pending(partition)
        assert await log.waiting(partition) == []
    assert bus.seen == ["usr_restored"], "its effect may have been lost with the records"
    for record in waited:
        assert len(await log.positions(TENANT, record.id)) == 1
    await log.check(2 * PART + 3 + new)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kill_at", range(1, 13))
async def test_a_restored_entry_is_logged_once_where_the_recovery_is_killed(
    kill_at: int, after: bool
) -> None:
    log = Restored()
    waited = await log.restore()
    log.records.commits, log.records.kill_at, log.records.after = 0, kill_at, after
    with contextlib.suppress(Killed):
        await log.process()[0].log.append_pending(MAIN)
    log.records.kill_at = -1
    for partition in (MAIN, Partition(TENANT, "2026-01")):
        await log.process()[0].log.append_pending(partition)
    for record in waited:
        assert len(await log.positions(TENANT, record.id)) == 1
    await log.check(2 * PART + 3)
