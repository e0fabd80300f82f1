"""The monitor finds and names every kind of tampering, in every store: the hostile cases are generated."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.embedded.records import SqliteRecords
from shared.adapters.embedded.write_once import FileWriteOnce
from shared.adapters.memory.records import MemoryRecords
from shared.adapters.memory.write_once import MemoryWriteOnce
from shared.audit.findings import Finding, MonitorState, Walk, monitor_states
from shared.audit.index import HEAD_ID, log_heads, log_part, log_pointers
from shared.audit.models import LogPointer, PartHead
from shared.audit.tree import tree_head
from shared.crypto import merkle
from shared.crypto.tiles import WIDTH, TilePath
from shared.wiring.audit import Audit
from tests.support.audit import AuditData
from tests.support.log_tampering import CASES, Case, RawFiles, RawMemory, found, path_of
from tests.support.monitored import MAIN, TENANT, append, look, new_data, open_findings

pytestmark = pytest.mark.anyio

SEEDS = 21
SIZES = (100, 156, 44, 40)
UNSIGNED = 5
PART = 256


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


async def grow(data: AuditData) -> None:
    """A full bundle and a partial one, four checkpoints, two parts, and entries without a checkpoint."""
    for count in SIZES:
        await append(data, count)
    await append(data, UNSIGNED, publish=False)
    data.clock.advance(7_200)
    assert await look(data) == []
    # The next look goes over the whole log again.
    data.clock.advance(timedelta(days=16).total_seconds())


@dataclass
class Tampered:
    """A log over adapters in memory, put back before each case."""

    data: AuditData
    audit: Audit = field(init=False)
    raw: RawMemory = field(init=False)
    kept: list[dict[Any, Any]] = field(init=False)

    def __post_init__(self) -> None:
        records, store = self.data.records, self.data.store
        assert isinstance(records, MemoryRecords)
        assert isinstance(store, MemoryWriteOnce)
        self.audit, self.raw = self.data.process()[0], RawMemory(records, store)
        self.kept = [dict(each) for each in self._live]

    @property
    def _live(self) -> list[dict[Any, Any]]:
        store = self.raw.store
        return [self.raw.records._records, store._blobs._blobs, store._dates]

    def put_back(self) -> None:
        for live, kept in zip(self._live, self.kept, strict=True):
            live.clear()
            live.update(kept)

    async def look(self) -> Sequence[Finding]:
        until = self.data.clock.now() + timedelta(minutes=4)
        while await self.audit.monitor.look(TENANT, until) is None:
            pass
        return await open_findings(self.data)


@pytest.fixture(scope="module")
async def log() -> Tampered:
    data = new_data(PART)
    await grow(data)
    return Tampered(data)


@pytest.mark.parametrize("case", CASES, ids=[f"{each.target}-{each.way}" for each in CASES])
async def test_every_kind_of_tampering_is_found_and_named(log: Tampered, case: Case) -> None:
    for seed in range(SEEDS):
        log.put_back()
        named = case.change(log.raw, random.Random(f"{case.target} {case.way} {seed}"))
        findings = await log.look()
        assert any(map(named, findings)), f"seed {seed}: {[str(each) for each in findings]}"


def test_there_are_a_thousand_cases() -> None:
    assert len(CASES) * SEEDS >= 1_000


async def test_one_changed_byte_of_a_signed_log_is_one_finding(log: Tampered) -> None:
    for path in ("tile/entries/000", "tile/entries/001.p/84", "tile/0/000", "tile/0/001.p/84"):
        log.put_back()
        content = bytearray(log.raw.read(f"{TENANT}/{path}"))
        content[-1] ^= 1
        log.raw.write(f"{TENANT}/{path}", bytes(content))
        [finding] = await log.look()
        assert (finding.object, finding.difference) == (path, "changed")


async def test_a_log_that_was_cut_back_in_every_store_is_found(log: Tampered) -> None:
    """Whoever can write everywhere puts back an earlier state of everything but the monitor's own."""
    data = new_data(PART)
    for count in SIZES[:3]:
        await append(data, count)
    earlier = Tampered(data)
    for count in SIZES[3:]:
        await append(data, count)
    assert await look(data) == []
    monitored = [r for key, r in earlier.raw.records._records.items() if key[1] == "audit-monitor"]
    earlier.put_back()
    for record in monitored:
        earlier.raw.put_row(record)
    [first, *_] = await earlier.look()
    assert (first.kind, first.difference, first.position, first.count) == (
        "log",
        "missing",
        300,
        40,
    )


async def test_a_log_that_was_written_anew_in_every_store_is_found(log: Tampered) -> None:
    """All but the signatures can be forged by whoever can write everywhere."""
    log.put_back()
    forged = Tampered(new_data(PART))
    for count in SIZES:
        await append(forged.data, count)
    for name in forged.raw.objects():
        if "/tile/" in name:
            log.raw.write(name, forged.raw.read(name))
    for part in (log_part(TENANT, 0), log_part(TENANT, 1)):
        for kind in ("audit-logged", "audit-head", "audit-span"):
            for record in log.raw.rows(part, kind):
                log.raw.drop_row(record)
            for record in forged.raw.rows(part, kind):
                log.raw.put_row(record)
    findings = await log.look()
    assert any(map(found("log", object="tree"), findings)), [str(each) for each in findings]


@pytest.fixture(scope="module")
async def deep() -> Tampered:
    """A log whose second tile of level 1 has begun, and with it level 2; the walks have come that far."""
    data = new_data()
    size = WIDTH * (WIDTH - 1)
    roots = [os.urandom(32) for _ in range(WIDTH - 1)]
    frontier: tuple[bytes, ...] = ()
    for number, each in enumerate(roots):
        frontier = merkle.extend(frontier, number * WIDTH, 8, each)
    audit, _ = data.process()
    tree, part = tree_head(size, frontier), log_part(TENANT, 0)
    await audit.checkpoints.store.write_tile(TENANT, TilePath(1, 0, WIDTH - 1), b"".join(roots))
    heads, pointers, states = (
        log_heads(data.records),
        log_pointers(data.records),
        monitor_states(data.records),
    )
    await data.records.commit(part, [heads.create(part, PartHead(tree=tree), HEAD_ID)])
    walk = Walk(size=size, frontier=tree.frontier)
    await data.records.commit(
        MAIN,
        [
            pointers.create(MAIN, LogPointer(part=0)),
            states.create(
                MAIN,
                MonitorState(newest=walk, full=walk, judged=size, began_at=data.clock.now()),
            ),
        ],
    )
    await audit.checkpoints._sign(TENANT, tree, None)
    for count in (100, 156, 300):
        await append(data, count)
    return Tampered(data)


async def test_tiles_of_every_level_are_derived(deep: Tampered) -> None:
    deep.put_back()
    assert await deep.look() == []
    paths = [path_of(name) for name in deep.raw.objects() if "/tile/" in name]
    assert {"tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1"} <= set(paths)


@pytest.mark.parametrize(
    "path", ["tile/1/000", "tile/1/000.p/255", "tile/1/001.p/1", "tile/2/000.p/1", "tile/0/255"]
)
@pytest.mark.parametrize("seed", range(4))
async def test_tampering_with_tiles_of_every_level_is_found(
    deep: Tampered, path: str, seed: int
) -> None:
    deep.put_back()
    chance, name = random.Random(seed), f"{TENANT}/{path}"
    content = deep.raw.read(name)
    # The walks begin at the last hash of the first tile of level 1.
    at = len(content) - 1 if path.startswith("tile/1/000") else chance.randrange(len(content))
    changed = [
        content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
        content[:at],
        content + chance.randbytes(32),
        content[32:] + content[:32] if len(content) > 32 else deep.raw.read(f"{TENANT}/tile/0/255"),
    ][seed]
    deep.raw.write(name, changed)
    findings = await deep.look()
    assert any(map(found("tile", object=path), findings)), [str(each) for each in findings]


@dataclass
class Files:
    """A log over the embedded adapters, and copies of it."""

    data: AuditData
    folder: Path

    async def copied(self, to: Path) -> tuple[AuditData, SqliteRecords, RawFiles]:
        shutil.copytree(self.folder, to)
        records = SqliteRecords(to / "records.db", self.data.clock)
        data = AuditData(records, self.data.clock, PART)
        data.store, data.vault = FileWriteOnce(to / "audit", self.data.clock), self.data.vault
        return data, records, RawFiles(to / "records.db", to / "audit")


@pytest.fixture(scope="module")
async def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("log") / "data"
    data = new_data(PART)
    records = SqliteRecords(folder / "records.db", data.clock)
    data.records, data.store = records, FileWriteOnce(folder / "audit", data.clock)
    await grow(data)
    await records.close()
    return Files(data, folder)


@pytest.mark.parametrize("case", CASES, ids=[f"{each.target}-{each.way}" for each in CASES])
async def test_tampering_with_files_and_sql_is_found(
    files: Files, case: Case, tmp_path: Path
) -> None:
    for seed in ("one", "two"):
        data, records, raw = await files.copied(tmp_path / seed)
        named = case.change(raw, random.Random(f"{case.target} {case.way} {seed}"))
        findings = await look(data)
        await records.close()
        assert any(map(named, findings)), f"{seed}: {[str(each) for each in findings]}"
