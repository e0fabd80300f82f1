"""How long backups take beside restic and BorgBackup, and how much is lost and for how long at worst.

    python -m bench.backup [--quick] [--scratch FOLDER]

- The same files for all three, incompressible, in one run on the same disk: 10,000 files, 1 GiB in
  all; then 1 % of them changed. Each takes the first backup, an incremental one, verifies everything
  that the newest one needs, restores it and prunes the first. Ours are documents with replicas, backed
  up by the timer's own code; verified is the newest set, as theirs is the repository; restored is the
  whole service into an empty environment. Theirs are a local repository and files. At most 1.0 times
  restic's time for each step. One thing differs: what we restore is synced to the disk document by
  document, what they restore is in the page cache; the time until theirs is on the disk, too, is in
  brackets and does not count. With documents come records, too. One of the bars is missed, that of the
  restore, see README.md.
- Recovery point: documents are uploaded all the time while the relay and the backups go by their
  schedules, on a simulated clock. The newest set's state is at most 5 minutes old at any time.
- Cost follows what changed: a set of a tenant of 100,000 documents and 10 changes takes at most 5
  times one of a tenant of 100 documents and 10 changes.

Debian has both peers (``apt-get install restic borgbackup``); ours alone is measured without them.
Everything that is restored is compared. Exits 1 unless all of it holds; with ``--quick`` unless the
last two do.
"""

import hashlib
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.backup_cost import Cost, cost_of_changes
from bench.corpus import Corpus
from bench.peers.archivers import Archiver, borg, restic
from bench.recovery_point import recovery_point
from bench.servers import read_arguments, scratch_folder
from bench.vault import RunningClock, Vault, opened
from shared.access.principal import Principal

MEBIBYTE = 1_048_576
OF_RESTIC = 1.0
LARGEST_RECOVERY_POINT = 300.0
LARGEST_COST = 5.0
STEPS = ("first backup", "incremental", "verify", "restore", "prune")
STORED_AFTER = ("first backup", "incremental", "prune")
FAR_AHEAD = 8 * 366 * 86_400.0
"""Seconds after which the policy keeps nothing but the newest set."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    files: int
    total: int
    large_tenant: int
    small_tenant: int
    minutes: int


FULL = Sizes(10_000, 1_024 * MEBIBYTE, 100_000, 100, 60)
QUICK = Sizes(200, 20 * MEBIBYTE, 1_000, 100, 10)


@dataclass
class Measured:
    """Seconds of each step, bytes stored after some, seconds until what was restored was on the disk."""

    name: str
    seconds: dict[str, float] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    synced: float = 0.0


def stored_in(*folders: Path) -> int:
    """Bytes of the files in some folders, as ``du`` counts them without the folders themselves."""
    return sum(
        path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()
    )


def measure_peer(peer: Archiver, corpus: Corpus) -> Measured:
    """All steps of a peer."""
    files, restored = peer.folder / "files", peer.folder / "restored"
    restored.mkdir(parents=True)
    corpus.write(files)
    peer.run("set-up", files, restored)
    measured = Measured(peer.name)
    for step in STEPS:
        if step == "incremental":
            corpus.change(files)
        os.sync()
        begin = time.perf_counter()
        peer.run(step, files, restored)
        measured.seconds[step] = time.perf_counter() - begin
        if step == "restore":
            os.sync()
            measured.synced = time.perf_counter() - begin
            corpus.compare(restored)
        if step in STORED_AFTER:
            measured.stored[step] = stored_in(peer.repository)
    return measured


async def measure_ours(data: Path, corpus: Corpus) -> Measured:
    """All steps of ours, and those that the peers do not have."""
    measured, clock = Measured("strongroom"), RunningClock()

    async def step(name: str, work: Callable[[], Awaitable[object]]) -> None:
        os.sync()
        begin = time.perf_counter()
        await work()
        measured.seconds[name] = time.perf_counter() - begin
        if name in STORED_AFTER:
            measured.stored[name] = stored_in(data / "backup")

    async with opened(data, clock) as vault:
        by = await vault.tenant("bench")
        documents = await vault.fill(by, corpus)
        await vault.until_due()
        await step("first backup", vault.services.backups.timer.run)
        await vault.change(by, corpus, documents)
        await vault.until_due()
        await step("incremental", vault.services.backups.timer.run)
        await step("verify all copies", lambda: verify(vault, by, newest=False))
        await step("verify", lambda: verify(vault, by, newest=True))
    lose(data, data.with_name("lost"))
    async with opened(data, clock) as vault:
        await step("restore", lambda: restore(vault))
        await compare(vault, by, corpus, documents)
        clock.advance(FAR_AHEAD)
        await step("prune", lambda: vault.services.backups.timer.pruning.prune(by.tenant))
    return measured


async def verify(vault: Vault, by: Principal, *, newest: bool) -> None:
    """Verify the newest set, or everything: all sets, and each copy of each document."""
    backups = vault.services.backups
    name = await backups.reader.newest(by.tenant) if newest else None
    started = await backups.verifications.start(by, name)
    while True:
        await backups.verifications.run()
        found = await backups.verifications.read(by, started.id)
        if found.state != "running":
            break
    if found.found:
        raise RuntimeError(f"the verification found {found.found} flaws")


def lose(data: Path, lost: Path) -> None:
    """Leave nothing but the key vault and the backups.

    The rest goes aside: where thousands of files were just removed, a file system makes new ones slowly.
    """
    lost.mkdir()
    names = ["primary", "replica", *(path.name for path in data.glob("*.db*"))]
    for name in names:
        (data / name).rename(lost / name)


async def restore(vault: Vault) -> None:
    """Restore the whole service."""
    outcomes = await vault.services.backups.whole.restore(None, lambda _: None)
    if any(each.outcome.problem_count for each in outcomes):
        raise RuntimeError("not everything was restored")


async def compare(vault: Vault, by: Principal, corpus: Corpus, documents: list[str]) -> None:
    """Fail unless the documents are those of the second revision."""
    changed = set(corpus.changed())
    for number, document in enumerate(documents):
        wanted = corpus.content(number, int(number in changed))
        if await vault.sha256(by, document) != hashlib.sha256(wanted).digest():
            raise RuntimeError(f"document {number} is not what was backed up")


def report(ours: Measured, peers: list[Measured]) -> list[tuple[bool, str]]:
    """Print the steps; the verdicts."""
    print(f"{'':28}{ours.name:>12}" + "".join(f"{peer.name:>14}" for peer in peers))
    verdicts = []
    for step in STEPS:
        columns = "".join(f"{peer.seconds[step]:14.2f}" for peer in peers)
        first = next((peer for peer in peers if peer.name == "restic"), None)
        ratio = ours.seconds[step] / first.seconds[step] if first else None
        shown = f"   of restic: {ratio:.2f}" if ratio is not None else ""
        print(f"{f'{step}, s':28}{ours.seconds[step]:12.2f}{columns}{shown}")
        if ratio is not None:
            verdicts.append((ratio <= OF_RESTIC, f"{step} at most {OF_RESTIC:.1f} of restic"))
    synced = "".join(f"{f'({peer.synced:.2f})':>14}" for peer in peers)
    print(f"{'  until it is on the disk, s':28}{ours.seconds['restore']:12.2f}{synced}")
    everything = ours.seconds["verify all copies"]
    print(f"{'  with primary and replica, s':28}{everything:11.2f}")
    for step in STORED_AFTER:
        columns = "".join(f"{peer.stored[step] / MEBIBYTE:14.1f}" for peer in peers)
        print(f"{f'stored after {step}, MiB':28}{ours.stored[step] / MEBIBYTE:11.1f}{columns}")
    return verdicts


def report_cost(small: Cost, large: Cost) -> tuple[bool, str]:
    """Print what a set of ten changes costs; the verdict."""
    for cost in (small, large):
        print(
            f"a set of 10 changes in {cost.documents:7,} documents: {cost.seconds:6.3f} s,"
            f" {cost.operations:,} calls of stores"
        )
    in_seconds, in_calls = large.seconds / small.seconds, large.operations / small.operations
    print(f"ratio: {in_seconds:.2f} in seconds, {in_calls:.2f} in calls")
    holds = max(in_seconds, in_calls) <= LARGEST_COST
    return holds, f"a set's cost follows what changed, at most {LARGEST_COST:.0f} times"


def run(sizes: Sizes, folder: Path) -> list[tuple[bool, str]]:
    """Measure and print everything; the verdicts: on the steps, the recovery point, and the cost."""
    corpus = Corpus.of(sizes.files, sizes.total)
    print(f"{sizes.files:,} files, {corpus.total / MEBIBYTE:,.0f} MiB, then 1 % of them changed")
    peers = [make(folder / make.__name__) for make in (restic, borg)]
    for peer in peers:
        print(peer.version() if peer.installed else f"{peer.name} is not installed")
    # What is written is removed at the end, for the same reason as in ``lose``.
    measured = [measure_peer(peer, corpus) for peer in peers if peer.installed]
    ours = uvloop.run(measure_ours(folder / "ours", corpus))
    point = uvloop.run(recovery_point(folder / "point", sizes.minutes))
    small = uvloop.run(cost_of_changes(folder / "small", sizes.small_tenant))
    large = uvloop.run(cost_of_changes(folder / "large", sizes.large_tenant))
    verdicts = report(ours, measured)
    print(f"recovery time of all of it: {ours.seconds['restore']:.1f} s")
    print(f"newest set's state, at worst in {sizes.minutes} simulated minutes: {point:.0f} s old")
    verdicts.append((point <= LARGEST_RECOVERY_POINT, "recovery point at most 5 minutes"))
    verdicts.append(report_cost(small, large))
    return verdicts


def main() -> int:
    arguments = read_arguments(
        "Backups beside restic and BorgBackup.", quick="less data, no bars on the times"
    )
    with scratch_folder(arguments.scratch) as folder:
        verdicts = run(QUICK if arguments.quick else FULL, folder)
    if arguments.quick:
        # With so little to do, starting a program is most of what a peer does.
        verdicts = verdicts[-2:]
    for holds, promise in verdicts:
        print(f"{promise}: {'holds' if holds else 'FAILS'}")
    return 0 if all(holds for holds, _ in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
