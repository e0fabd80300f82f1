"""Verification: everything that is harmed is found, and repaired from what is good."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.audit.index import LOGGED_KIND, log_part
from shared.backup.claims import begin_attempt
from shared.backup.contents import ContentBackup
from shared.backup.models import Erasable
from shared.backup.state import LEASE, LOCATION_KIND, STATE_ID, states_of
from shared.base.errors import Conflict, NotFound, Unavailable
from shared.base.partitions import MAIN, Partition
from shared.documents.models import Place
from shared.documents.store import DOCUMENT_KIND
from shared.journal.agenda import Task
from shared.ports.records import Delete, Replace
from shared.verification import batches, scanning, walking
from shared.verification.findings import BY_TIMER, Verification, verifications_of
from standalone.demo.objects import StoredObject
from tests.support.clock import FakeClock
from tests.support.damage import Harm, cut, flip
from tests.support.keys import KilledError, Steps
from tests.support.verification import (
    LARGE,
    SEEDED_AT,
    SMALL,
    Seed,
    Verified,
    change_page,
    open_copy,
    plant,
)

pytestmark = pytest.mark.anyio

HEADER = 70
"""Bytes of an object's dates in the folder of the backup."""

HARMS: dict[str, Harm] = {
    "missing": StoredObject.unlink,
    "changed": flip(HEADER + 20),
    "cut": cut(-1),
    "empty": cut(HEADER),
}


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Seed:
    return anyio.run(plant, tmp_path_factory.mktemp("backups") / "data")


@pytest.fixture
async def verified(seed: Seed, tmp_path: Path) -> AsyncIterator[Verified]:
    async with open_copy(seed, tmp_path / "data") as opened:
        yield opened


async def repaired(verified: Verified) -> None:
    """Let what was asked for be done: the next set, and the copies."""
    await verified.app.settle()
    assert await verified.back_up() > 0
    await verified.back_up()


async def test_what_is_whole_has_no_findings(verified: Verified) -> None:
    versions = SMALL + 3 + 1 + 1
    found = await verified.verify()
    assert (found.findings, found.found) == ((), 0)
    assert (found.seen_versions, found.opened_versions) == (versions, versions)
    assert found.checked_objects == found.total_objects > 3 * versions
    assert found.checked_bytes > 3 * len(LARGE)
    entry = (await verified.logged("backup.verify"))[-1]
    assert entry["resource"] == found.id
    assert entry["details"]["findings"] == 0
    assert entry["details"]["objects"] == found.checked_objects


async def test_one_set_is_verified_alone(verified: Verified) -> None:
    first = (await verified.sets())[0]
    document = verified.seed.documents[0]
    (await verified.copy("primary", document)).unlink()
    found = await verified.verify(first.id)
    assert found.findings == ()
    # The erased document's content is still there, and nothing is left to compare it with.
    indexes = [await verified.backups.reader.index(verified.tenant, ref) for ref in first.parts]
    named = sum(1 + len(one.segments) + len(one.packs) for one in indexes)
    assert found.checked_objects == 1 + named + SMALL + 1


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("kind", ["index", "segment"])
@pytest.mark.parametrize("part", ["2026-01", MAIN])
async def test_records_that_are_harmed_are_found_and_written_again(
    verified: Verified, kind: str, part: str, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = await verified.newest()
    ref, index = before.part(part), await verified.index(part)
    assert ref is not None
    name, folder = (ref.index, "parts") if kind == "index" else (index.segments[-1].id, "segments")
    HARMS[harm](verified.file(folder, name))
    found = await verified.verify()
    assert [(each.kind, each.object) for each in found.findings] == [(kind, f"{folder}/{name}")]
    assert f"backup.finding {verified.tenant}, {kind} {folder}/{name}" in caplog.text
    entry = (await verified.logged("backup.finding"))[-1]
    assert entry["details"] == {"kind": kind, "object": f"{folder}/{name}"}
    assert (entry["outcome"], entry["resource"]) == ("failed", found.id)

    await repaired(verified)
    newest = await verified.newest()
    assert newest.id != before.id
    assert newest.counts == before.counts
    assert await verified.found(newest.id) == []
    assert await verified.found() == [(kind, f"{folder}/{name}")], "the set before stays harmed"


@pytest.mark.parametrize("harm", HARMS)
async def test_a_manifest_that_is_harmed_is_found_and_followed_by_a_whole_set(
    verified: Verified, harm: str
) -> None:
    before = await verified.newest()
    HARMS[harm](verified.file("sets", before.id))
    assert await verified.found() == [("manifest", f"sets/{before.id}")]
    await repaired(verified)
    newest = await verified.newest() if harm == "missing" else None
    name = newest.id if newest else (await verified.backups.reader.sets(verified.tenant))[-1]
    assert name > before.id
    missing = [("chain", f"sets/{name}")] if harm == "missing" else []
    assert await verified.found(name) == missing


async def test_sets_that_change_places_are_found(verified: Verified) -> None:
    first, second = (await verified.sets())[:2]
    one, other = verified.file("sets", first.id), verified.file("sets", second.id)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    found = await verified.found()
    assert {("manifest", f"sets/{first.id}"), ("manifest", f"sets/{second.id}")} <= set(found)


async def test_a_set_of_another_chain_is_found(verified: Verified) -> None:
    """One that has the key vault's signature, but is not what the next set and the log name."""
    sets = await verified.sets()
    first, second = sets[0], sets[1]
    verified.file("sets", first.id).unlink()
    forged = first.model_copy(update={"new_bytes": 1})
    await verified.backups.reader.manifests.write(forged)
    assert await verified.found() == [
        ("chain", f"sets/{first.id}"),
        ("chain", f"sets/{second.id}"),
    ]


async def test_a_set_that_was_removed_before_its_time_is_found(verified: Verified) -> None:
    sets = await verified.sets()
    verified.file("sets", sets[-2].id).unlink()
    assert await verified.found() == [("chain", f"sets/{sets[-1].id}")]


async def test_a_hash_in_the_log_that_differs_is_found(verified: Verified) -> None:
    newest = await verified.newest()
    records = verified.app.services.adapters.records
    page = await records.query(
        log_part(verified.tenant, 0), LOGGED_KIND, where={"resource": newest.id}
    )
    record = page.records[0]
    entry = record.body["entry"]
    entry["details"]["sha256"] = "00" * 32
    await records.commit(record.partition, [Replace(record)])
    assert await verified.found() == [("chain", f"sets/{newest.id}")]


async def test_keys_that_the_key_vault_does_not_unwrap_are_found(
    verified: Verified, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = await verified.newest()
    vault = type(verified.app.services.adapters.key_vault)
    keys = {key.wrapped_key for key in newest.keys}
    real = vault.unwrap

    async def unwrap(self: Any, wrapped: Any) -> bytes:
        if wrapped.ciphertext in keys:
            raise NotFound("There is no such version.")
        return await real(self, wrapped)

    monkeypatch.setattr(vault, "unwrap", unwrap)
    assert ("key", f"sets/{newest.id}") in await verified.found(newest.id)


async def pack_of(verified: Verified, document: str) -> StoredObject:
    return verified.file("packs", (await verified.location(document)).pack)


@pytest.mark.parametrize("harm", ["missing", "empty"])
async def test_a_pack_that_is_lost_is_packed_again(verified: Verified, harm: str) -> None:
    location = await verified.location(verified.seed.documents[0])
    before = await verified.newest()
    HARMS[harm](verified.file("packs", location.pack))
    found = await verified.verify()
    kinds = [each.kind for each in found.findings]
    assert kinds == ["pack"] + ["content"] * (SMALL + 1)
    assert found.found == len(found.findings)

    await repaired(verified)
    newest = await verified.newest()
    assert newest.counts == before.counts
    index = await verified.index("2026-01")
    assert location.pack not in {pack.id for pack in index.packs}
    assert sum(pack.live for pack in index.packs) == newest.counts.versions
    assert await verified.found(newest.id) == []
    again = await verified.location(verified.seed.documents[0])
    assert again.pack != location.pack
    assert not await has_key(verified, location.page, verified.seed.documents[0])


async def has_key(verified: Verified, page: str, document: str) -> bool:
    """Whether a key page has a key of a document."""
    held = await verified.backups.pages.read(verified.tenant, page)
    return any(name.startswith(document) for name in held)


@pytest.mark.parametrize("which", ["small", "old version", "large"])
async def test_a_content_that_is_harmed_in_a_pack_is_packed_again_alone(
    verified: Verified, which: str
) -> None:
    document, number = {
        "small": (verified.seed.documents[3], 1),
        "old version": (verified.seed.many, 2),
        "large": (verified.seed.large, 1),
    }[which]
    location = await verified.location(document, number)
    before = await verified.newest()
    flip(HEADER + location.offset + location.size // 2)(verified.file("packs", location.pack))
    name = location.id
    assert await verified.found() == [("content", name)]

    await repaired(verified)
    assert await verified.found() == []
    again = await verified.location(document, number)
    assert again.pack != location.pack
    for other in verified.seed.documents:
        if other != document:
            assert (await verified.location(other)).pack != again.pack
    assert (await verified.newest()).counts == before.counts


async def test_packs_that_change_places_are_found_and_packed_again(verified: Verified) -> None:
    one = await pack_of(verified, verified.seed.documents[0])
    other = await pack_of(verified, verified.seed.large)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    found = await verified.verify()
    assert {each.kind for each in found.findings} >= {"pack", "content"}
    await repaired(verified)
    assert await verified.found((await verified.newest()).id) == []


async def test_a_location_that_is_wrong_is_packed_again(verified: Verified) -> None:
    document = verified.seed.documents[5]
    location = await verified.location(document)
    records = verified.app.services.adapters.records
    partition = verified.partition(document)
    record = await records.get(partition, LOCATION_KIND, location.id)
    body = record.body | {"offset": location.offset + 1}
    await records.commit(partition, [Replace(replace(record, body=body))])
    assert await verified.found() == [("content", location.id)]
    await repaired(verified)
    assert await verified.found() == []


async def test_content_that_no_set_has_is_put_into_the_next_one(verified: Verified) -> None:
    document = verified.seed.documents[5]
    location = await verified.location(document)
    partition = verified.partition(document)
    await verified.app.services.adapters.records.commit(
        partition, [Delete(LOCATION_KIND, location.id)]
    )
    # Its keys are in the key page that it was located in, where nothing names them now.
    assert await verified.found() == [("leak", location.page), ("missing", location.id)]
    await repaired(verified)
    assert await verified.found() == []


async def test_content_that_is_on_its_way_into_a_set_is_no_finding(verified: Verified) -> None:
    await verified.upload(b"new")
    await verified.update(verified.seed.many, b"newer")
    await verified.app.settle()
    assert await verified.found() == []


async def test_content_that_is_good_nowhere_stays_where_it_is(verified: Verified) -> None:
    document = verified.seed.documents[2]
    location = await verified.location(document)
    for place in ("primary", "replica"):
        flip(60)(await verified.copy(place, document))
    flip(HEADER + location.offset + 60)(verified.file("packs", location.pack))
    found = await verified.found()
    assert found == [(kind, location.id) for kind in ("content", "primary", "replica")]
    await verified.app.settle()
    assert len(await verified.logged("document.lost")) > 0
    assert await verified.location(document) == location
    assert await verified.found() == found


KeyHarm = Callable[[Path, list[str]], None]

KEY_HARMS: dict[str, KeyHarm] = {
    "missing": lambda path, _: path.unlink(),
    "not JSON": lambda path, _: cut(-1)(path),
    "empty": lambda path, _: cut(0)(path),
    "entry gone": lambda path, names: change_page(path, lambda held: held.pop(names[0])),
    "entries swapped": lambda path, names: change_page(
        path,
        lambda held: held.update({names[0]: held[names[1]], names[1]: held[names[0]]}),
    ),
    "another key": lambda path, names: change_page(
        path, lambda held: held[names[0]].update({"wrapped_key": "AAAA"})
    ),
}


@pytest.mark.parametrize("harm", KEY_HARMS)
async def test_a_key_page_that_is_harmed_is_made_anew(verified: Verified, harm: str) -> None:
    locations = [await verified.location(each) for each in verified.seed.documents[:2]]
    page = locations[0].page
    before = await verified.backups.pages.read(verified.tenant, page)
    KEY_HARMS[harm](verified.page_files(page)[-1], [each.id for each in locations])
    found = await verified.found()
    affected = {
        "entry gone": [locations[0].id],
        "entries swapped": [each.id for each in locations],
        "another key": [locations[0].id],
    }.get(harm, sorted(before))
    assert found == [("key-page", name) for name in sorted(affected)]
    assert await verified.backups.pages.read(verified.tenant, page) == before
    assert len(verified.page_files(page)) == 1
    assert await verified.found() == []


async def test_an_erased_key_that_came_back_is_forgotten_again(seed: Seed, tmp_path: Path) -> None:
    async with open_copy(seed, tmp_path / "data") as verified:
        document = await verified.upload(b"secret")
        await verified.back_up()
        location = await verified.location(document)
        page = verified.page_files(location.page)[-1]
        held = page.read_bytes()
        await verified.erase(document)
        await verified.back_up()
        assert verified.page_files(location.page) == []
        page.write_bytes(held)
        assert await verified.found() == [("leak", location.page)]
        assert verified.page_files(location.page) == []
        assert await verified.found() == []


async def test_a_former_revision_of_a_key_page_is_removed(verified: Verified) -> None:
    document = verified.seed.documents[0]
    page = (await verified.location(document)).page
    former = verified.page_files(page)[-1]
    held = former.read_bytes()
    await verified.erase(document)
    await verified.back_up()
    assert former not in verified.page_files(page)
    former.write_bytes(held)  # as if the process had ended before it was removed
    assert await verified.found() == []
    assert former not in verified.page_files(page)


async def test_a_damaged_key_page_does_not_keep_a_document_from_being_forgotten(
    verified: Verified,
) -> None:
    one, other = verified.seed.documents[:2]
    page = (await verified.location(one)).page
    cut(-1)(verified.page_files(page)[-1])
    await verified.erase(one)
    assert await verified.back_up() > 0
    held = await verified.backups.pages.read(verified.tenant, page)
    assert not any(name.startswith(one) for name in held)
    assert any(name.startswith(other) for name in held)
    assert await verified.found() == []


async def test_a_lost_pack_does_not_keep_a_partition_from_being_made_anew(
    verified: Verified,
) -> None:
    """When the index is lost as well, and before a verification has found either."""
    ref = (await verified.newest()).part("2026-01")
    assert ref is not None
    verified.file("parts", ref.index).unlink()
    (await pack_of(verified, verified.seed.documents[0])).unlink()
    await verified.upload(b"a change")
    await repaired(verified)
    newest = await verified.newest()
    assert await verified.found(newest.id) == []
    assert newest.counts.versions == SMALL + 3 + 1 + 1 + 1


PLACES: tuple[Place, ...] = ("primary", "replica")
COPY_HARMS: dict[str, Harm] = {
    "missing": StoredObject.unlink,
    "changed": flip(60),
    "cut": cut(-1),
    "empty": cut(0),
}


@pytest.mark.parametrize("harm", COPY_HARMS)
@pytest.mark.parametrize("place", PLACES)
async def test_a_copy_that_is_harmed_is_found_and_made_again(
    verified: Verified, place: Place, harm: str
) -> None:
    document = verified.seed.many
    former = await verified.copy(place, document, 2)
    COPY_HARMS[harm](former)
    assert await verified.found() == [(place, f"{document}.000002")]
    await verified.app.settle()
    assert await verified.copy(place, document, 2) != former
    assert await verified.found() == []
    damage = (await verified.logged("document.damage"))[-1]
    assert damage["details"] == {"version": 2, "copy": place}


async def test_a_copy_that_was_never_made_is_made(verified: Verified) -> None:
    document = await verified.upload(b"new")
    source = verified.app.services.adapters.source
    await verified.app.services.outbox.close()
    for delivery in await source.receive("replication", limit=50):
        await source.complete(delivery)  # the event is lost
    assert await verified.found() == []
    verified.app.clock.advance(2 * 86_400)
    assert await verified.found() == [("replica", f"{document}.000001")]
    await verified.app.settle()
    assert (await verified.version_of(document)).replica is not None
    assert await verified.found() == []


async def test_an_object_that_is_kept_too_short_is_kept_longer(verified: Verified) -> None:
    location = await verified.location(verified.seed.documents[0])
    file = verified.file("packs", location.pack)
    short = b"retain until 2026-01-02T00:00:00Z\n" * 2
    file.write_bytes(short + file.read_bytes()[len(short) :])
    assert await verified.found() == [("retention", f"packs/{location.pack}")]
    assert await verified.found() == []


async def test_keys_that_do_not_open_a_content_are_found(verified: Verified) -> None:
    """The record and the key page agree on a key that is another version's."""
    one, other = verified.seed.documents[:2]
    records, partition = verified.app.services.adapters.records, verified.partition(one)
    wrapped = (await verified.version_of(other)).wrapped_key
    names = (await verified.version_of(one)).names
    location = await verified.location(one)
    record = await records.get(partition, DOCUMENT_KIND, one)
    encoded = (await records.get(partition, DOCUMENT_KIND, other)).body["current"]["wrapped_key"]
    record.body["current"]["wrapped_key"] = encoded
    await records.commit(partition, [Replace(record)])
    held = dict(await verified.backups.pages.read(verified.tenant, location.page))
    held[location.id] = Erasable(wrapped_key=wrapped, names=names)
    await verified.backups.pages.replace(verified.tenant, location.page, held)
    assert await verified.found() == [("opening", location.id)]


async def test_a_record_that_cannot_be_read_does_not_stop_the_rest(verified: Verified) -> None:
    records = verified.app.services.adapters.records
    one, after = verified.seed.documents[0], verified.seed.documents[4]
    partition = verified.partition(one)
    record = await records.get(partition, DOCUMENT_KIND, one)
    await records.commit(partition, [Replace(replace(record, body={"id": one}))])
    old = f"{verified.seed.many}.000001"
    version = await records.get(partition, "version", old)
    await records.commit(partition, [Replace(replace(version, body={"number": 1}))])
    (await verified.copy("primary", after)).unlink()
    assert await verified.found() == [
        ("primary", f"{after}.000001"),
        *sorted([("record", one), ("record", old)]),
    ]


async def test_everything_harmed_at_once_is_found_in_one_walk(verified: Verified) -> None:
    for folder in ("parts", "segments", "packs", "sets"):
        for file in verified.app.stored(f"backup/sets/{verified.tenant}/{folder}"):
            flip(HEADER + 5)(file)
    for file in verified.app.stored("backup/keys"):
        cut(3)(file)
    for place in PLACES:
        for file in verified.app.stored(place):
            file.unlink()
    found = await verified.verify()
    assert found.found > 3 * (SMALL + 5)
    assert {each.kind for each in found.findings} >= {
        *("manifest", "content", "key-page", "primary", "replica"),
    }


# Meanwhile


async def erase_when_found(
    verified: Verified, monkeypatch: pytest.MonkeyPatch, document: str, *, forget: bool
) -> None:
    """Let a document be erased while it is checked."""
    real = ContentBackup.find
    waiting = [document]

    async def find(self: ContentBackup, *args: Any) -> Any:
        found = await real(self, *args)
        if waiting:
            await verified.erase(waiting.pop())
            if forget:
                await verified.back_up()
        return found

    monkeypatch.setattr(ContentBackup, "find", find)


@pytest.mark.parametrize("forget", [False, True])
async def test_a_document_that_is_erased_meanwhile_is_no_finding(
    verified: Verified, monkeypatch: pytest.MonkeyPatch, forget: bool
) -> None:
    document = verified.seed.documents[0]
    await erase_when_found(verified, monkeypatch, document, forget=forget)
    assert await verified.found() == []


async def test_key_pages_of_a_set_that_is_being_made_are_left_alone(verified: Verified) -> None:
    records, runtime = verified.app.services.adapters.records, verified.app.services.runtime
    state = await states_of(records).get(Partition(verified.tenant), STATE_ID)
    attempt = runtime.new_id("set")
    await begin_attempt(records, runtime, verified.tenant, state, attempt)
    page = f"{attempt}/2026-01-000001"
    name = f"{verified.seed.documents[0]}.000009"
    held = {name: Erasable(wrapped_key=b"key", names=b"names")}
    await verified.backups.pages.write(verified.tenant, page, held)
    assert await verified.found() == []
    assert await verified.backups.pages.read(verified.tenant, page) == held


async def test_repairs_wait_for_a_set_that_is_being_made(verified: Verified) -> None:
    location = await verified.location(verified.seed.documents[0])
    flip(HEADER + location.offset + 60)(verified.file("packs", location.pack))
    records, runtime = verified.app.services.adapters.records, verified.app.services.runtime
    state = await states_of(records).get(Partition(verified.tenant), STATE_ID)
    await begin_attempt(records, runtime, verified.tenant, state, runtime.new_id("set"))
    verification = await verified.start()
    for _ in range(2):
        await verified.backups.verifications.run()
    waiting = await verified.state(verification)
    assert (waiting.state, waiting.found) == ("running", 1)
    assert await verified.location(verified.seed.documents[0]) == location

    verified.app.clock.advance(LEASE.total_seconds())
    await verified.backups.verifications.run()
    done = await verified.state(verification)
    assert (done.state, done.found) == ("done", 1)
    await repaired(verified)
    assert await verified.found() == []


async def test_a_store_that_does_not_respond_puts_the_rest_off(
    verified: Verified, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    verification = await verified.start()
    store = type(verified.app.services.adapters.backup)
    with monkeypatch.context() as patch:

        async def refuse(*_: Any, **__: Any) -> Any:
            raise Unavailable("The store does not respond.")

        patch.setattr(store, "head", refuse)
        await verified.backups.verifications.run()
    assert "backup.failed" in caplog.text
    assert (await verified.state(verification)).state == "running"
    await verified.backups.verifications.run()
    found = await verified.state(verification)
    assert (found.state, found.findings) == ("done", ())


# Piece by piece


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_VERSIONS", 2)
    monkeypatch.setattr(batches, "PAGE", 3)
    monkeypatch.setattr(scanning, "PAGE", 2)
    monkeypatch.setattr(walking, "STEP_BYTES", 1)
    monkeypatch.setattr(walking, "PAGES_AT_ONCE", 1)


@pytest.mark.usefixtures("small_pieces")
async def test_a_run_ends_after_so_many_bytes_and_the_next_goes_on(verified: Verified) -> None:
    whole = await verified.verify()
    (await verified.copy("replica", verified.seed.many, 1)).unlink()
    verification = await verified.start()
    reads: list[int] = []
    while (now := await verified.state(verification)).state == "running":
        reads.append(now.checked_bytes - sum(reads))
        verified.app.clock.advance(60)
        await verified.backups.verifications.run(max_bytes=1)
    assert sorted(reads)[-2] < 200_000, "but for the piece with the large content"
    runs = len(reads)
    assert runs > 15
    # The version without a replica was not read there.
    assert now.checked_objects == whole.checked_objects
    assert [(each.kind, each.object) for each in now.findings] == [
        ("replica", f"{verified.seed.many}.000001")
    ]


@pytest.mark.usefixtures("small_pieces")
async def test_a_run_ends_when_its_time_is_over(
    verified: Verified, monkeypatch: pytest.MonkeyPatch
) -> None:
    verification = await verified.start()
    store = type(verified.app.services.adapters.primary)
    real, read = store.get, 0

    def get(*args: Any, **kwargs: Any) -> Any:
        nonlocal read
        read += 1
        verified.app.clock.advance(10)
        return real(*args, **kwargs)

    monkeypatch.setattr(store, "get", get)
    runs = 0
    while (await verified.state(verification)).state == "running":
        read, runs = 0, runs + 1
        await verified.backups.verifications.run(seconds=30)
        assert read < 20
        verified.app.clock.advance(60)
    assert runs > 5


@pytest.mark.usefixtures("small_pieces")
async def test_tenants_take_turns(verified: Verified) -> None:
    beta = await verified.app.tenant("beta")
    other = Verified(verified.app, beta, await verified.app.auth(beta), verified.seed)
    for number in range(5):
        await other.upload(b"%d" % number)
    await verified.back_up()
    started = [(each, await each.start()) for each in (verified, other)]
    await verified.backups.verifications.run(max_bytes=20_000)
    for each, verification in started:
        assert (await each.state(verification)).checked_bytes > 0


@pytest.mark.usefixtures("small_pieces")
async def test_what_is_pruned_or_made_meanwhile_is_no_finding(
    verified: Verified, monkeypatch: pytest.MonkeyPatch
) -> None:
    verification = await verified.start()
    runs = 0
    while (await verified.state(verification)).state == "running":
        await verified.backups.verifications.run(max_bytes=1)
        runs += 1
        if runs % 4 == 0:
            verified.app.clock.advance(86_400)
            verified.auth = await verified.app.auth(verified.tenant)
            await verified.upload(b"%d" % runs)
            await verified.back_up()
    assert len(await verified.sets()) > 3
    assert (await verified.state(verification)).findings == ()


class Killer:
    """Ends the process at one of its calls of the stores, before or after the call had its effect."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, verified: Verified) -> None:
        self.steps = Steps()
        adapters = verified.app.services.adapters
        for owner, names in (
            (type(adapters.primary), ("head", "put", "delete")),
            (type(adapters.records), ("get", "query", "changes", "commit")),
        ):
            for name in names:
                monkeypatch.setattr(owner, name, self._call(getattr(owner, name)))
        for name in ("get", "list"):
            real = getattr(type(adapters.primary), name)
            monkeypatch.setattr(type(adapters.primary), name, self._stream(real))

    def _call(self, real: Any) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.steps.take()
            result = await real(*args, **kwargs)
            self.steps.take()
            return result

        return call

    def _stream(self, real: Any) -> Any:
        def stream(*args: Any, **kwargs: Any) -> Any:
            self.steps.take()
            return real(*args, **kwargs)

        return stream


@pytest.mark.parametrize("chance", range(6))
@pytest.mark.usefixtures("small_pieces")
async def test_a_walk_that_is_killed_anywhere_goes_on(
    seed: Seed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chance: int
) -> None:
    data, clock, moments = tmp_path / "data", FakeClock(SEEDED_AT), random.Random(chance)
    content, copied, keyless = seed.documents[3], seed.many, seed.documents[7]
    async with open_copy(seed, data, clock) as verified:
        location = await verified.location(content)
        flip(HEADER + location.offset + 60)(verified.file("packs", location.pack))
        (await verified.copy("primary", copied, 2)).unlink()
        segment = (await verified.index(MAIN)).segments[-1].id
        flip(HEADER + 60)(verified.file("segments", segment))
        page = (await verified.location(seed.large)).page
        extra = {"doc_gone.000001": {"wrapped_key": "AAAA", "names": "AAAA"}}
        change_page(verified.page_files(page)[-1], lambda held: held.update(extra))
        wanted = (await verified.location(keyless)).page
        change_page(verified.page_files(wanted)[-1], lambda held: held.pop(f"{keyless}.000001"))
        verification = await verified.start()
        killer = Killer(monkeypatch, verified)
    kills = 0
    while True:
        async with open_copy(seed, data, clock) as verified:
            if (found := await verified.state(verification)).state == "done":
                break
            killer.steps.last = killer.steps.taken + moments.randrange(1, 250)
            try:
                await verified.backups.verifications.run()
            except KilledError:
                kills += 1
            killer.steps.last = None
            await verified.app.services.outbox.close()
    assert kills > 1
    expected = {
        ("content", f"{content}.000001"),
        ("primary", f"{copied}.000002"),
        ("segment", f"segments/{segment}"),
        ("key-page", f"{keyless}.000001"),
        ("leak", page),
    }
    # Killed while its content was being dropped, the version is seen without key or location.
    halfway = {(kind, f"{content}.000001") for kind in ("key-page", "missing")}
    names = [(each.kind, each.object) for each in found.findings]
    assert set(names) <= expected | halfway
    # Its page is then made anew, and with it what the other version lacked.
    mended = {("key-page", f"{keyless}.000001")} if set(names) & halfway else set()
    assert expected - mended <= set(names)
    monkeypatch.undo()
    async with open_copy(seed, data, clock) as verified:
        logged = [
            (entry["details"]["kind"], entry["details"]["object"])
            for entry in await verified.logged("backup.finding")
            if entry["resource"] == verification
        ]
        assert sorted(logged) == sorted(names)
        await repaired(verified)
        assert await verified.found() == [("segment", f"segments/{segment}")]
        assert await verified.found((await verified.newest()).id) == []


# When


async def by_timer(verified: Verified) -> list[Verification]:
    kept = verifications_of(verified.app.services.adapters.records)
    partition = Partition(verified.tenant)
    return [one.value async for one in kept.scan(partition, where=BY_TIMER)]


async def pass_days(verified: Verified, days: int) -> None:
    """Let the timer run every two hours."""
    for _ in range(days * 12):
        verified.app.clock.advance(7_200)
        await verified.backups.verifications.run()


async def test_everything_is_verified_within_the_time_of_the_policy(verified: Verified) -> None:
    clock = verified.app.clock
    await pass_days(verified, 40)
    made = await by_timer(verified)
    assert [one.state for one in made] == ["done"] * 3
    times = [*(one.started_at for one in made), clock.now()]
    gaps = [(later - earlier) / timedelta(days=1) for earlier, later in pairwise(times)]
    assert 15 <= max(gaps) <= 15.5

    await set_policy(verified, days=1)
    await pass_days(verified, 3)
    assert len(await by_timer(verified)) - len(made) in {6, 7}
    items = [
        item.value
        async for item in verified.backups.verifications.agenda.due(
            Task.VERIFY_BACKUP, clock.now() + timedelta(days=9)
        )
    ]
    assert len(items) == len({item.partition for item in items}), "one for each tenant"


async def set_policy(verified: Verified, days: int) -> None:
    auth = await verified.app.auth(verified.tenant)
    policy = (await verified.app.http.get("policy", headers=auth)).json()
    policy["verification_days"] = days
    answer = await verified.app.http.put("policy", json=policy, headers=auth)
    assert answer.status_code == 200, answer.text


async def test_one_verification_at_a_time_can_be_asked_for(verified: Verified) -> None:
    await verified.start()
    with pytest.raises(Conflict):
        await verified.start()
    await verified.backups.verifications.run()
    await verified.verify()


async def test_what_another_tenant_has_cannot_be_verified_or_read(verified: Verified) -> None:
    newest = await verified.newest()
    verification = await verified.start()
    stranger = Principal("ten_" + "0" * 26, "usr_stranger", (Role.ADMINISTRATOR,))
    verifications = verified.backups.verifications
    for name in (newest.id, None):
        with pytest.raises(NotFound):
            await verifications.start(stranger, name)
    with pytest.raises(NotFound):
        await verifications.read(stranger, verification)
    with pytest.raises(NotFound):
        await verifications.start(verified.principal, "set_" + "0" * 26)


async def test_the_sample_is_a_share_of_the_versions_and_at_least_some(
    verified: Verified, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "SAMPLE_LEAST", 5)
    assert (await verified.verify()).opened_versions == 5
    monkeypatch.setattr(walking, "SAMPLE", 0.5)
    found = await verified.verify()
    assert found.opened_versions == math.ceil(found.total_versions / 2)
