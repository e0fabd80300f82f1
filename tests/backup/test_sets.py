"""Sets: made of what changed, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.backup.models import Manifest
from shared.backup.state import LEASE, STATE_ID, states_of
from shared.base.errors import Conflict
from shared.base.partitions import Partition
from tests.support.backups import BackedUp

pytestmark = pytest.mark.anyio


async def test_a_set_holds_what_there_is_and_then_what_changed(backed_up: BackedUp) -> None:
    for number in range(3):
        await backed_up.upload(b"content %d" % number)
    assert await backed_up.back_up() == 2  # the tenant and the operator
    first = await backed_up.newest()
    assert (first.sequence, first.kind, first.counts.versions) == (1, "yearly", 3)

    await backed_up.back_up()  # the operator's key was made for its first set
    assert await backed_up.back_up() == 0
    assert len(await backed_up.sets()) == 1

    await backed_up.upload(b"one more")
    assert await backed_up.back_up() == 1
    second = await backed_up.newest()
    assert (second.sequence, second.kind, second.counts.versions) == (2, "recent", 4)
    assert second.previous is not None
    assert second.previous.id == first.id


async def test_a_tenant_whose_sets_are_always_under_way_is_late(
    backed_up: BackedUp, caplog: pytest.LogCaptureFixture
) -> None:
    await backed_up.upload(b"content")
    await backed_up.back_up()
    await backed_up.upload(b"another")
    records = backed_up.backups.sets.parts.records
    for _ in range(5):
        found = await states_of(records).get(Partition(backed_up.tenant), STATE_ID)
        until = backed_up.app.clock.now() + LEASE
        claimed = found.value.model_copy(update={"attempt": "another", "attempt_until": until})
        change = states_of(records).replace(found, claimed)
        await records.commit(Partition(backed_up.tenant), [change])
        await backed_up.back_up()
    assert f"backup.late {backed_up.tenant}" in caplog.text


async def test_two_processes_make_one_set(backed_up: BackedUp) -> None:
    await backed_up.upload(b"content")
    sets = backed_up.backups.sets
    made = await asyncio.gather(
        *(sets.make(backed_up.tenant, []) for _ in range(3)), return_exceptions=True
    )
    assert sum(isinstance(each, Manifest) for each in made) == 1
    assert sum(isinstance(each, Conflict) for each in made) == 2
    assert len(await backed_up.sets()) == 1


async def test_after_a_damaged_set_the_next_one_is_whole(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    documents = [await backed_up.upload(b"content %d" % number) for number in range(3)]
    await backed_up.back_up()
    folder = tmp_path / "data" / "backup" / "sets" / backed_up.tenant
    for path in [*folder.glob("sets/*"), *folder.glob("parts/*")]:
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-10] + bytes(10))
    await backed_up.update(documents[0], b"changed")
    await backed_up.back_up()
    newest = await backed_up.backups.reader.newest(backed_up.tenant)
    manifest = await backed_up.backups.reader.manifests.read(backed_up.tenant, newest)
    assert (manifest.sequence, manifest.counts.versions) == (2, 4)
    packs = len(list(folder.glob("packs/*=")))
    assert packs == 2  # nothing was packed twice


async def test_many_small_sets_have_few_segments(backed_up: BackedUp) -> None:
    document = await backed_up.upload(b"content")
    for number in range(12):
        await backed_up.update(document, b"%d" % number)
        await backed_up.back_up()
    newest = await backed_up.newest()
    for part in newest.parts:
        index = await backed_up.backups.reader.index(backed_up.tenant, part)
        assert len(index.segments) <= 5
    assert newest.counts.versions == 13
