"""What an operation costs as a tenant's documents grow: time, and calls at the ports.

    python -m bench.scale [--quick | --full] [--scratch FOLDER]

Builds 1 thousand, 10 thousand and 100 thousand documents of one tenant through the services, over the
embedded adapters on a disk (``--quick``: 1 and 10 thousand; ``--full``: also 1 million). Then each
operation runs again and again at every size in turn, so that a machine that is busy for a while slows all.
A time is the median; a growth is the median of the growths from the smallest size to the largest within
each round; a count is the mean of the calls of the record store (reads, queries, commits), the key vault
and the bus. Exits 1 if a time or a count grows by more than ``MOST_GROWTH``.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.filling import Tenant, filled, opened
from bench.servers import add_arguments, scratch_folder
from shared.base.partitions import Partition
from shared.journal.entries import Action

SIZES = (1_000, 10_000, 100_000)
QUICK_SIZES = (1_000, 10_000)
FULL_SIZES = (*SIZES, 1_000_000)
ROUNDS = 60
MOST_GROWTH = 1.2
PAGE = 50
BATCH = 20
"""Documents that a sweep and a relay find."""

COUNTS = {
    "reads": ("records.get",),
    "queries": ("records.query", "records.changes"),
    "commits": ("records.commit",),
    "items": ("records.items",),
    "keys": ("keys.wrap", "keys.unwrap", "keys.sign", "keys.create"),
    "events": ("bus.events",),
}

Act = Callable[[Tenant, int], Awaitable[object]]


async def _nothing(_: Tenant, __: int) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Operation:
    """Something that the services do.

    Attributes:
        name: Of its row.
        act: What is measured; gets the tenant and the number of the round.
        prepare: What comes before and is not measured.
        after: What comes after and is not.
    """

    name: str
    act: Act
    prepare: Act = _nothing
    after: Act = _nothing


@dataclass
class Measured:
    """Of one operation at one size: seconds of each round, and the calls of all of them."""

    seconds: list[float] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    def each(self, count: str) -> float:
        """The mean of a count of ``COUNTS`` in a round."""
        return sum(self.calls[name] for name in COUNTS[count]) / len(self.seconds)


async def settle(tenant: Tenant, _: int = 0) -> None:
    await tenant.settle()


async def upload(tenant: Tenant, number: int) -> None:
    await tenant.upload(f"new {number}.txt")


def spread(tenant: Tenant, number: int) -> str:
    """A document: each round another one, from the oldest to the newest and over again."""
    return tenant.documents[number * 7_919 % (len(tenant.documents) - BATCH)]


async def open_content(tenant: Tenant, number: int) -> None:
    reader = tenant.services.reader
    found = await reader.find(tenant.by, spread(tenant, number))
    async for _ in await reader.open(tenant.by, found, 0, found.version.size):
        pass


async def forget_keys(tenant: Tenant, _: int) -> None:
    tenant.clock.advance(600)


async def list_newest(tenant: Tenant, _: int) -> None:
    page = await tenant.services.reader.page(tenant.by, limit=PAGE, cursor=None)
    assert len(page.items) == PAGE


def list_deep(cursors: dict[int, str]) -> Act:
    async def act(tenant: Tenant, _: int) -> None:
        cursor = cursors[id(tenant)]
        page = await tenant.services.reader.page(tenant.by, limit=PAGE, cursor=cursor)
        assert len(page.items) == PAGE

    return act


async def append(tenant: Tenant, number: int) -> None:
    journal = tenant.services.journal
    await journal.commit(journal.entry(Action.DOCUMENT_READ, spread(tenant, number), by=tenant.by))
    await tenant.services.audit.log.append_pending(Partition(tenant.by.tenant))


async def log_newest(tenant: Tenant, _: int) -> None:
    page = await tenant.services.audit.reader.entries(tenant.by, where={}, limit=PAGE, cursor=None)
    assert len(page.items) == PAGE


async def log_of_newest_document(tenant: Tenant, _: int) -> None:
    page = await tenant.services.audit.reader.entries(
        tenant.by, where={"resource": tenant.documents[-1]}, limit=1, cursor=None
    )
    assert page.items


async def choose(tenant: Tenant, _: int) -> None:
    """Choose the document in the middle to be deleted."""
    tenant.chosen = tenant.documents.pop(len(tenant.documents) // 2)


async def erase(tenant: Tenant, _: int) -> None:
    await tenant.services.trash.delete(tenant.by, tenant.chosen, None, erase=True)


async def trash(tenant: Tenant, _: int) -> None:
    await tenant.services.trash.delete(tenant.by, tenant.chosen, None)


async def commit_silently(tenant: Tenant, number: int) -> None:
    """Upload what the bus does not take, and let the relay's time come; what was due before is done."""
    tenant.clock.advance(600)
    await tenant.services.outbox.relay()
    tenant.bus.silent = True
    for each in range(BATCH):
        await tenant.upload(f"silent {number} {each}.txt")
    await tenant.services.outbox.close()
    tenant.bus.silent = False
    tenant.clock.advance(600)


async def relay(tenant: Tenant, _: int) -> None:
    assert await tenant.services.outbox.relay() >= BATCH


async def upload_an_hour(tenant: Tenant, number: int) -> None:
    """Upload what the sweep has to look at, and let its time come."""
    for each in range(BATCH):
        await tenant.upload(f"swept {number} {each}.txt")
    await tenant.settle()
    tenant.clock.advance(12 * 3_600)


async def sweep(tenant: Tenant, _: int) -> None:
    await tenant.services.sweep.run()


def operations(cursors: dict[int, str]) -> list[tuple[Operation, int]]:
    """What is measured, each with the share of the rounds that it takes part in: one in so many."""
    return [
        (Operation("upload", upload, after=settle), 1),
        (Operation("replicate and log an upload", settle, prepare=upload), 1),
        (Operation("open", open_content, prepare=open_content, after=settle), 1),
        (Operation("open, keys forgotten", open_content, forget_keys, settle), 1),
        (Operation("list, first page", list_newest, list_newest, settle), 1),
        (Operation("list, in the middle", list_deep(cursors), list_deep(cursors), settle), 1),
        (Operation("audit log: append", append, append, settle), 1),
        (Operation("audit log: newest entries", log_newest, after=settle), 1),
        (
            Operation(
                "audit log: of a document", log_of_newest_document, log_of_newest_document, settle
            ),
            1,
        ),
        (Operation("delete", trash, choose, settle), 1),
        (Operation("erase", erase, choose, settle), 1),
        (Operation(f"relay {BATCH} events", relay, commit_silently, settle), 3),
        (Operation(f"sweep {BATCH} objects", sweep, upload_an_hour, settle), 3),
    ]


async def measure(tenants: Sequence[Tenant], rounds: int) -> dict[str, list[Measured]]:
    """Every operation at every size in turn; for each the measured of the sizes."""
    cursors = {id(tenant): await cursor_in_the_middle(tenant) for tenant in tenants}
    found: dict[str, list[Measured]] = {}
    order = list(range(len(tenants)))
    for number in range(rounds):
        for operation, one_in in operations(cursors):
            measured = found.setdefault(operation.name, [Measured() for _ in tenants])
            if number % one_in:
                continue
            for place in order:
                await once(operation, tenants[place], number, measured[place])
        order.reverse()
    return found


async def once(operation: Operation, tenant: Tenant, number: int, into: Measured) -> None:
    """One operation at one size."""
    outbox = tenant.services.outbox
    await operation.prepare(tenant, number)
    await outbox.close()
    before, begin = Counter(tenant.calls), time.perf_counter()
    await operation.act(tenant, number)
    into.seconds.append(time.perf_counter() - begin)
    await outbox.close()  # its events are published while the caller has gone on
    into.calls += tenant.calls - before
    await operation.after(tenant, number)


async def cursor_in_the_middle(tenant: Tenant) -> str:
    """Of the list of the documents, newest first."""
    store, cursor, left = tenant.services.reader.store, None, len(tenant.documents) // 2
    while left:
        count = min(left, 1_000)
        page = await store.documents(tenant.by.tenant, count, cursor)
        cursor, left = page.cursor, left - count
    assert cursor
    return cursor


@dataclass(frozen=True)
class Growth:
    """How an operation grew from the smallest size to the largest: its time, and what of its counts."""

    time: float
    counts: dict[str, float]

    @classmethod
    def of(cls, measured: Sequence[Measured]) -> "Growth":
        first, last = measured[0], measured[-1]
        pairs = zip(first.seconds, last.seconds, strict=True)
        counts = {}
        for count in COUNTS:
            before, after = first.each(count), last.each(count)
            # A call in a few rounds, such as a new reservation of keys, is no growth.
            counts[count] = 1.0 if abs(after - before) < 0.1 else after / before if before else 99.0
        return cls(statistics.median(b / a for a, b in pairs), counts)

    @property
    def most(self) -> float:
        return max(self.counts.values())


def show(sizes: Sequence[int], found: dict[str, list[Measured]]) -> None:
    """Print the table, as docs/scale.md holds it."""
    heads = [f"ms, {size:,}" for size in sizes]
    print(f"| operation | {' | '.join(heads)} | growth | {' | '.join(COUNTS)} | growth |")
    print("|---|" + "---:|" * (len(heads) + len(COUNTS) + 2))
    for name, measured in found.items():
        growth = Growth.of(measured)
        cells = [f"{statistics.median(each.seconds) * 1e3:.2f}" for each in measured]
        cells += [f"{growth.time:.2f}"]
        cells += [f"{measured[-1].each(count):.3g}" for count in COUNTS]
        print(f"| {name} | {' | '.join([*cells, f'{growth.most:.2f}'])} |")


def missed(found: dict[str, list[Measured]], most: float = MOST_GROWTH) -> list[str]:
    """What grew by more than it may."""
    lines = []
    for name, measured in found.items():
        growth = Growth.of(measured)
        if growth.time > most:
            lines.append(f"{name}: {growth.time:.2f} times as long")
        lines += [
            f"{name}: {factor:.2f} times as many {count}"
            for count, factor in growth.counts.items()
            if factor > most
        ]
    return lines


async def run(folder: Path, sizes: Sequence[int], rounds: int) -> dict[str, list[Measured]]:
    """Build and measure."""
    begin = time.perf_counter()
    places = await filled(folder, sizes)
    print(f"built {sizes[-1]:,} documents in {time.perf_counter() - begin:,.0f} s", flush=True)
    async with contextlib.AsyncExitStack() as stack:
        tenants = [
            await stack.enter_async_context(opened(data, like.clock.now(), like))
            for data, like in places
        ]
        return await measure(tenants, rounds)


def main() -> int:
    parser = argparse.ArgumentParser(description="Operations as a tenant's documents grow.")
    add_arguments(parser, quick="1 and 10 thousand documents")
    parser.add_argument("--full", action="store_true", help="1 million documents as well")
    arguments = parser.parse_args()
    sizes = QUICK_SIZES if arguments.quick else FULL_SIZES if arguments.full else SIZES
    os.environ.pop("STRONGROOM_DATA_DIR", None)
    logging.disable()  # the relay's events are said to be left to it, which is what they are for
    with scratch_folder(arguments.scratch) as folder:
        found = asyncio.run(run(folder, sizes, ROUNDS))
    show(sizes, found)
    grown = missed(found)
    for line in grown:
        print(f"{line}, at most {MOST_GROWTH:g}: FAILS")
    if not grown:
        print(f"no time and no count grows by more than {MOST_GROWTH:g}: holds")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
