"""What a set costs in which ten documents changed: seconds, and calls of stores."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from bench.vault import AT_ONCE, RunningClock, Vault, opened
from shared.access.principal import Principal
from shared.base.concurrency import at_once
from shared.base.ids import new_id
from shared.base.partitions import partition_of
from shared.base.streams import single
from shared.crypto.streaming import sealed_size
from shared.documents.models import Document, Version

CHANGES = 10
ROUNDS = 5
SIZE = 16
IN_ONE_COMMIT = 50

CALLS_OF_RECORDS = {f"records.{name}" for name in ("get", "query", "changes", "commit")}
"""Other counts say what these carried."""


@dataclass(frozen=True)
class Cost:
    """Of one set of a tenant of so many documents: the median of the rounds, and the most calls."""

    documents: int
    seconds: float
    operations: int


async def cost_of_changes(data: Path, documents: int) -> Cost:
    """Fill a tenant, make its first set, then change ten documents and make the next, a few times."""
    async with opened(data, RunningClock()) as vault:
        by = await vault.tenant("bench")
        made = await _fill(vault, by, documents)
        timer = vault.services.backups.timer
        await vault.until_due()
        await timer.run()
        seconds, operations = [], []
        for round_number in range(ROUNDS):
            changed = made[round_number :: max(1, documents // CHANGES)][:CHANGES]
            for each in changed:
                await vault.update(by, each, b"changed")
            await vault.until_due()
            vault.calls.clear()
            begin = time.perf_counter()
            if not await timer.run():
                raise RuntimeError("no set was made")
            seconds.append(time.perf_counter() - begin)
            operations.append(
                sum(
                    count
                    for name, count in vault.calls.items()
                    if name in CALLS_OF_RECORDS or name.startswith(("blobs.", "write_once."))
                )
            )
    return Cost(documents, sorted(seconds)[ROUNDS // 2], max(operations))


async def _fill(vault: Vault, by: Principal, count: int) -> list[str]:
    """Documents without the cost of sealing: records and small objects put straight into the stores."""
    store, adapters = vault.services.documents.store, vault.services.adapters
    epoch = await vault.services.documents.sealer.epochs.current(by.tenant)
    documents: list[Document] = []
    contents: dict[str, bytes] = {}
    for number in range(count):
        now = vault.clock.now()
        name, content = new_id("doc", now, os.urandom), os.urandom(sealed_size(SIZE))
        version = Version(
            number=1,
            object=f"{by.tenant}/{now:%Y-%m-%d}-{number // 1000:03d}/{name}.1",
            epoch=epoch.id,
            wrapped_key=os.urandom(40),
            names=os.urandom(200),
            size=SIZE,
            sealed_blake3=blake3(content).digest(),
            created_at=now,
            created_by=by.user,
        )
        documents.append(Document(id=name, created_at=now, current=version))
        contents[version.object] = content
    await store.months.prepare(partition_of(by.tenant, documents[0].id))
    await at_once(
        lambda name: adapters.primary.put(name, single(contents[name])), contents, AT_ONCE
    )
    batches = [documents[start : start + IN_ONE_COMMIT] for start in range(0, count, IN_ONE_COMMIT)]
    for batch in batches:
        partition = partition_of(by.tenant, batch[0].id)
        creates = [store.create_document(by.tenant, each) for each in batch]
        await adapters.records.commit(partition, creates)
    return [each.id for each in documents]
