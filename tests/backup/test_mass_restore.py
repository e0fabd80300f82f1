"""Restoring many documents at a time: what does not go smoothly costs no other document anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.backup.snapshot import Snapshot
from shared.base.partitions import partition_of
from shared.journal.entries import SYSTEM
from shared.restore.assessing import Run
from shared.restore.creating import ALONE, DocumentCreator
from tests.support.app import open_app
from tests.support.backups import BackedUp, lose

pytestmark = pytest.mark.anyio


async def opened_set(backed_up: BackedUp) -> Snapshot:
    """The tenant's newest set."""
    return await backed_up.backups.snapshots.open(backed_up.tenant, (await backed_up.newest()).id)


async def test_large_many_and_damaged_contents_in_one_restore(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    documents = [await backed_up.upload(b"content %d" % n, f"{n}.txt") for n in range(70)]
    large = await backed_up.upload(bytes(ALONE + 1), "large.bin")
    for n in range(60):  # more versions than one commit takes with their events
        await backed_up.update(documents[0], b"version %d" % n)
    await backed_up.back_up()
    before = await backed_up.documents()
    state = await (snapshot := await opened_set(backed_up)).part(
        partition_of(backed_up.tenant, large).part
    )
    found = await snapshot.document(state, documents[5])
    location = found.versions[0].location
    pack = tmp_path / "data/backup/sets" / backed_up.tenant / "packs" / f"{location.pack}="
    name = f"{backed_up.tenant}/packs/{location.pack}"
    pack_size = (await snapshot.reader.store.head(name)).size
    with pack.open("r+b") as file:
        file.seek(-(pack_size - location.offset), 2)
        file.write(bytes(location.size))
    await backed_up.app.services.close()

    lose(tmp_path / "data")
    async with open_app(tmp_path / "data", backed_up.app.clock) as again:
        outcomes = await again.services.backups.whole.restore(None, lambda _: None)
        [outcome] = [each.outcome for each in outcomes if each.tenant == backed_up.tenant]
        assert [(each.document, each.problem) for each in outcome.problems] == [
            (documents[5], "damaged")
        ]
        assert (outcome.documents, outcome.restored) == (71, 71)
        assert outcome.versions == 71 + 60 - 1
        restored = BackedUp(again, backed_up.tenant, await again.auth(backed_up.tenant))
        for document in (documents[0], documents[69], large):
            assert [
                await restored.content(document, number + 1)
                for number in range(len(before[document][1]))
            ] == before[document][1]
        # What the restore has left to the relay takes effect: replicas, and entries in the log.
        again.clock.advance(300)
        await again.services.outbox.relay()
        await again.settle()
        version = await again.version(backed_up.tenant, documents[1])
        assert version.replica is not None
        assert (await again.actions(backed_up.tenant, documents[1]))[-2:] == [
            "document.restore",
            "document.replicate",
        ]
        assert None not in {
            each.get("position") for each in await again.entries(backed_up.tenant, documents[1])
        }


async def test_documents_that_came_into_being_since_are_left_as_they_are(
    backed_up: BackedUp,
) -> None:
    documents = [await backed_up.upload(b"content %d" % n) for n in range(3)]
    await backed_up.back_up()
    before = await backed_up.documents()
    snapshot = await opened_set(backed_up)
    state = await snapshot.part(partition_of(backed_up.tenant, documents[0]).part)
    run = Run(snapshot, SYSTEM)
    creator = DocumentCreator(backed_up.backups.whole.tenants.documents)
    await creator.create(run, state, documents)
    assert (run.outcome.documents, run.outcome.restored, run.outcome.problems) == (3, 0, [])
    assert await backed_up.documents() == before
