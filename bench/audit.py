"""The audit log: entries appended a second, proofs, bytes an entry, and searching, as the log grows.

Everything runs on the embedded profile, through the code that the audit function and the timer run: entries
that were committed are appended to the index, put into tiles and signed, durable at each step. Proofs and
searches go through the code that the API's routes call. Exits 1 if a bar is missed.
"""

import argparse
import asyncio
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.servers import read_arguments
from shared.access.permissions import Role
from shared.access.principal import Origin, Principal
from shared.base.partitions import OPERATOR, Partition
from shared.journal.entries import Action
from shared.ports.clock import SystemClock, system_entropy
from shared.wiring.services import Services, build
from shared.wiring.settings import Settings

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)
APPENDED = 20_000
LEAST_APPENDED_A_SECOND = 5_000
MOST_SEARCH_GROWTH = 1.5
LEAST_COMPARED = 10_000
"""The last size is compared with the first before it that has so many entries, else with the first."""
PROOFS = 200
SEARCHES = 200
COMMITTED_AT_ONCE = 45
TRANSACTIONS_AT_ONCE = 32
MAIN_RESOURCE = "usr_" + "1" * 26
EVERY = 100
"""One entry in so many is about the resource that is searched."""
FOUND = 10
"""Entries that a search asks for, and that the smallest log has: each size gives as many."""


@dataclass(frozen=True)
class Measured:
    """What was measured at one size: proof bytes, seconds a proof, seconds a search, bytes an entry."""

    size: int
    proof_bytes: float
    proof_seconds: float
    search_seconds: float
    entry_bytes: float


async def fill(services: Services, tenant: str, count: int) -> None:
    """Commit entries that wait to be appended, as requests do."""
    partition = Partition(tenant)
    principal = Principal(
        tenant, "usr_" + "0" * 26, (Role.MEMBER,), Origin("192.0.2.1", user_agent="bench/1")
    )
    journal = services.journal
    starts = iter(range(0, count, COMMITTED_AT_ONCE))

    async def work() -> None:
        for start in starts:
            entries = [
                journal.entry(
                    Action.USER_READ,
                    MAIN_RESOURCE if number % EVERY == 0 else "usr_" + f"{number:026d}",
                    by=principal,
                )
                for number in range(start, min(start + COMMITTED_AT_ONCE, count))
            ]
            await journal.commit_together(partition, entries, [], [])

    await asyncio.gather(*(work() for _ in range(TRANSACTIONS_AT_ONCE)))


async def append(services: Services, tenant: str, count: int) -> float:
    """Append, integrate and sign what waits; entries a second."""
    before = (await services.audit.log.head(tenant)).size
    began = time.monotonic()
    await services.audit.log.append_pending(Partition(tenant))
    await services.audit.checkpoints.publish(tenant)
    seconds = time.monotonic() - began
    assert (await services.audit.log.head(tenant)).size >= before + count
    return count / seconds


async def timed(work: Callable[[int], Awaitable[object]], times: int) -> float:
    """The median of the seconds that one call takes."""
    seconds = []
    for number in range(times):
        began = time.monotonic()
        await work(number)
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


async def measure(services: Services, tenant: str, folder: Path, empty: int) -> Measured:
    """Proofs and searches of the log as it is."""
    reader = services.audit.reader
    size = (await reader.checkpoint(tenant)).tree.size
    principal = Principal(tenant, "usr_" + "0" * 26, (Role.ADMINISTRATOR,))
    proofs = [await reader.inclusion(tenant, number * size // PROOFS) for number in range(PROOFS)]
    hashes = statistics.mean(len(proof.hashes) * 32 for proof in proofs)

    async def search(_: int) -> None:
        page = await reader.entries(
            principal, where={"resource": MAIN_RESOURCE}, limit=FOUND, cursor=None
        )
        assert len(page.items) == FOUND

    return Measured(
        size,
        hashes,
        await timed(lambda number: reader.inclusion(tenant, number * size // PROOFS), PROOFS),
        await timed(search, SEARCHES),
        (folder_bytes(folder) - empty) / size,
    )


def folder_bytes(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def run(data: Path, sizes: tuple[int, ...]) -> bool:
    """Measure, print, and say whether every bar held."""
    services = build(Settings(data_dir=data), SystemClock(), system_entropy)
    await services.start()
    try:
        operator = Principal(OPERATOR, "usr_" + "0" * 26, (Role.OPERATOR,))
        tenants = services.tenants
        rated = (await tenants.create(operator, "rated", "admin", None)).tenant.id
        await append(services, rated, 0)  # keys are made
        await fill(services, rated, APPENDED)
        rate = await append(services, rated, APPENDED)
        print(f"appended, in tiles and signed: {rate:,.0f} entries a second")

        grown = (await tenants.create(operator, "grown", "admin", None)).tenant.id
        await append(services, grown, 0)
        empty, found, have = folder_bytes(data), [], 0
        print("entries  proof bytes  ms a proof  ms a search  bytes an entry")
        for size in sizes:
            while have < size:
                step = min(100_000, size - have)
                await fill(services, grown, step)
                await append(services, grown, step)
                have += step
            one = await measure(services, grown, data, empty)
            found.append(one)
            print(
                f"{size:9,} {one.proof_bytes:10,.0f} {one.proof_seconds * 1e3:11.2f}"
                f" {one.search_seconds * 1e3:11.2f} {one.entry_bytes:13,.0f}"
            )
    finally:
        await services.close()
    return holds(rate, found)


def holds(rate: float, found: list[Measured]) -> bool:
    """Whether the bars hold; prints each that does not."""
    missed = []
    if rate < LEAST_APPENDED_A_SECOND:
        missed.append(f"{rate:,.0f} entries a second, at least {LEAST_APPENDED_A_SECOND:,}")
    missed += [
        f"proofs of {one.size:,} entries are larger than the logarithm"
        for one in found
        if one.proof_bytes > 32 * (math.log2(one.size) + 1)
    ]
    last = found[-1]
    first = next((one for one in found[:-1] if one.size >= LEAST_COMPARED), found[0])
    growth = last.search_seconds / first.search_seconds
    if growth > MOST_SEARCH_GROWTH:
        missed.append(f"a search took {growth:.2f} times as long, {MOST_SEARCH_GROWTH} at most")
    print(f"a search of {last.size:,} entries takes {growth:.2f} of one of {first.size:,}")
    for each in missed:
        print(f"missed: {each}")
    return not missed


def main() -> int:
    """The command."""
    arguments: argparse.Namespace = read_arguments(
        __doc__.partition("\n")[0], quick="1 thousand and 10 thousand entries"
    )
    os.environ.pop("STRONGROOM_DATA_DIR", None)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        sizes = QUICK_SIZES if arguments.quick else SIZES
        return 0 if asyncio.run(run(Path(scratch) / "data", sizes)) else 1


if __name__ == "__main__":
    sys.exit(main())
