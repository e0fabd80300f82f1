"""Tiles and checkpoints: what the index appended is what is signed, whatever is killed when."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.memory.records import MemoryRecords
from shared.audit.index import LOGGED_KIND, bundle_spans, log_part, logged_record
from shared.audit.signing import OVERLAP
from shared.audit.tree import StoredTree, tree_head
from shared.base.errors import Damaged, NotFound, Unavailable
from shared.base.partitions import Partition
from shared.base.streams import single
from shared.crypto import merkle
from shared.crypto.canonical import canonical_json
from shared.crypto.checkpoints import Checkpoint, parse_checkpoint
from shared.crypto.notes import Note, SignatureType, parse_note
from shared.crypto.tiles import WIDTH, TilePath, decode_bundle, parse_tile_path
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.ports.records import Create, Delete, Replace
from shared.wiring.audit import Audit
from tests.support.audit import HOST, AuditData
from tests.support.audit_logs import tiles_of_growth
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

TENANT = "ten_a"
MAIN = Partition(TENANT)
ORIGIN = f"{HOST}/log/{TENANT}"


class Killed(BaseException):
    """The process has ended."""


@pytest.fixture
def data() -> AuditData:
    clock = FakeClock()
    return AuditData(MemoryRecords(clock), clock)


async def act(journal: Journal, count: int) -> None:
    """So many things happen."""
    for start in range(0, count, 90):
        entries = [
            journal.entry(Action.DOCUMENT_LIST, tenant=TENANT)
            for _ in range(min(90, count - start))
        ]
        await journal.commit_together(MAIN, entries, [], [])


async def grow(data: AuditData, count: int) -> Audit:
    """So many things happen, and a checkpoint of them is published."""
    audit, journal = data.process()
    await act(journal, count)
    await audit.log.append_pending(MAIN)
    await audit.checkpoints.publish(TENANT)
    return audit


async def leaves_of(data: AuditData) -> list[bytes]:
    """The log as the index has it."""
    rows = []
    for number in range(3):
        cursor = None
        while True:
            page = await data.records.query(
                log_part(TENANT, number), LOGGED_KIND, limit=1_000, cursor=cursor
            )
            rows += [record.body for record in page.records]
            cursor = page.cursor
            if cursor is None:
                break
    rows.sort(key=lambda body: int(body["position"]))
    return [canonical_json(body["entry"]) for body in rows]


async def check(data: AuditData, audit: Audit) -> int:
    """Tiles, bundles and checkpoint are what the index says, written down independently; the log's size."""
    leaves = await leaves_of(data)
    newest = await audit.checkpoints.newest(TENANT)
    assert newest is not None
    checkpoint = parse_checkpoint(parse_note(newest.note.encode()).text)
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    frontier: tuple[bytes, ...] = ()
    for position, each in enumerate(hashes):
        frontier = merkle.append(frontier, position, each)
    assert (checkpoint.origin, checkpoint.size) == (ORIGIN, len(leaves))
    assert checkpoint.root == merkle.root(frontier)
    level = hashes
    for tile in tiles_of_growth(0, len(leaves)):
        if tile.level == 0:
            bundle = await audit.reader.tile(TENANT, str(tile).replace("tile/0/", "tile/entries/"))
            start = tile.index * WIDTH
            assert decode_bundle(bundle) == leaves[start : start + tile.width]
    for number in range(3):
        for tile in tiles_of_growth(0, len(leaves)):
            if tile.level == number:
                start = tile.index * WIDTH
                content = await audit.reader.tile(TENANT, str(tile))
                assert content == b"".join(level[start : start + tile.width])
        full = len(level) // WIDTH
        level = [subtree(level[at * WIDTH : (at + 1) * WIDTH]) for at in range(full)]
    return len(leaves)


def subtree(hashes: list[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    while len(hashes) > 1:
        hashes = [merkle.node_hash(*hashes[at : at + 2]) for at in range(0, len(hashes), 2)]
    return hashes[0]


@pytest.mark.parametrize("steps", [[1], [255, 1, 1], [256, 256], [300, 600, 7], [1_200]])
async def test_tiles_and_checkpoint_follow_from_the_entries(
    data: AuditData, steps: list[int]
) -> None:
    for count in steps:
        audit = await grow(data, count)
        assert await check(data, audit) >= count


async def test_a_tile_of_the_third_level_begins_when_one_of_the_second_is_full(
    data: AuditData,
) -> None:
    audit, _ = data.process()
    size = WIDTH * (WIDTH - 1)
    roots = [os.urandom(32) for _ in range(WIDTH - 1)]
    frontier: tuple[bytes, ...] = ()
    for number, each in enumerate(roots):
        frontier = merkle.extend(frontier, number * WIDTH, 8, each)
    store = audit.checkpoints.store
    await store.write_tile(TENANT, TilePath(1, 0, WIDTH - 1), b"".join(roots))
    leaves = []
    for position in range(size, size + WIDTH + 3):
        entry = data.process()[1].entry(Action.DOCUMENT_LIST, tenant=TENANT)
        leaves.append(merkle.leaf_hash(canonical_json(entry.model_dump(mode="json"))))
        part = log_part(TENANT, 0)
        record = logged_record(part, entry.model_dump(mode="json"), position, data.clock.now())
        await data.records.commit(part, [Create(replace(record, expires_at=None))])
    before = tree_head(size, frontier)
    for number, leaf in enumerate(leaves):
        frontier = merkle.append(frontier, size + number, leaf)
    after = tree_head(size + WIDTH + 3, frontier)
    await audit.checkpoints.integration.grow(TENANT, before, after)
    last = subtree(leaves[:WIDTH])
    assert await store.read_tile(TENANT, TilePath(1, 0)) == b"".join([*roots, last])
    assert await store.read_tile(TENANT, TilePath(2, 0, 1)) == subtree([*roots, last])
    assert await store.read_tile(TENANT, TilePath(0, WIDTH, 3)) == b"".join(leaves[WIDTH:])


async def test_nothing_that_happened_costs_nothing(data: AuditData) -> None:
    audit = await grow(data, 3)
    before = await audit.checkpoints.newest(TENANT)
    for _ in range(3):
        await audit.checkpoints.publish(TENANT)
    assert await audit.checkpoints.newest(TENANT) == before
    assert [each async for each in audit.checkpoints.store.checkpoint_sizes(TENANT)] == [3]


async def test_the_timer_publishes_what_was_appended_within_a_minute(data: AuditData) -> None:
    audit, journal = data.process()
    await act(journal, 2)
    await audit.log.append_pending(MAIN)
    await audit.checkpoints.run()
    assert await audit.checkpoints.newest(TENANT) is None
    data.clock.advance(60)
    await audit.checkpoints.run()
    assert await check(data, audit) == 2


async def test_the_three_kinds_of_signatures_verify(data: AuditData) -> None:
    audit = await grow(data, 2)
    newest = await audit.checkpoints.newest(TENANT)
    assert newest is not None
    note = parse_note(newest.note.encode())
    [(_, verifiers)] = await audit.keys.verifiers(ORIGIN)
    assert {key.type for key in note.verified_by(verifiers)} == {
        SignatureType.ED25519,
        SignatureType.ML_DSA_44,
        SignatureType.ECDSA,
    }


async def test_after_a_rotation_both_keys_sign_and_old_checkpoints_still_verify(
    data: AuditData,
) -> None:
    audit = await grow(data, 1)
    first = await audit.reader.checkpoint(TENANT)
    assert not await audit.keys.rotate()
    data.clock.advance(timedelta(days=366).total_seconds())
    assert await audit.keys.rotate()
    assert not await audit.keys.rotate()
    audit = await grow(data, 1)
    second = await audit.reader.checkpoint(TENANT)
    new, old = [verifiers for _, verifiers in await audit.keys.verifiers(ORIGIN)]
    assert len(parse_note(second.note.encode()).verified_by(new)) == 3
    assert len(parse_note(second.note.encode()).verified_by(old)) == 2, "the vault has one key"
    data.clock.advance(OVERLAP.total_seconds())
    assert await audit.keys.rotate()
    audit = await grow(data, 1)
    third = await audit.reader.checkpoint(TENANT)
    assert parse_note(third.note.encode()).verified_by(old) == ()
    assert len(parse_note(first.note.encode()).verified_by(old)) == 3
    kept = await data.records.get(Partition("operator"), "audit-keys", "keys")
    assert [bool(key["wrapped"]) for key in kept.body["keys"]] == [False, True]


async def test_proofs_hold(data: AuditData) -> None:
    sizes = []
    for count in (5, 250, 1, 700):
        audit = await grow(data, count)
        newest = await audit.reader.checkpoint(TENANT)
        sizes.append((newest.tree.size, bytes.fromhex(newest.tree.root)))
    leaves = await leaves_of(data)
    for position in (0, 4, 5, 254, 255, 256, 511, 900, len(leaves) - 1):
        proof = await audit.reader.inclusion(TENANT, position)
        proof.verify(leaves[position], (await audit.keys.verifiers(ORIGIN))[0][1])
    for size, root in sizes:
        newest, hashes = await audit.reader.consistency(TENANT, size)
        end = newest.tree
        merkle.verify_consistency(size, end.size, root, bytes.fromhex(end.root), hashes)
    with pytest.raises(NotFound):
        await audit.reader.inclusion(TENANT, len(leaves))
    with pytest.raises(NotFound):
        await audit.reader.consistency(TENANT, len(leaves) + 1)


async def test_a_tile_that_was_partial_is_given_from_the_full_one(data: AuditData) -> None:
    audit = await grow(data, 300)
    leaves = await leaves_of(data)
    assert await audit.reader.tile(TENANT, "tile/0/000.p/7") == b"".join(
        merkle.leaf_hash(leaf) for leaf in leaves[:7]
    )
    assert decode_bundle(await audit.reader.tile(TENANT, "tile/entries/000.p/7")) == leaves[:7]
    for beyond in ("tile/0/001.p/255", "tile/2/000.p/1", "tile/entries/002"):
        with pytest.raises(NotFound):
            await audit.reader.tile(TENANT, beyond)


async def test_the_span_of_each_full_bundle_is_kept(data: AuditData) -> None:
    await grow(data, 600)
    page = await bundle_spans(data.records).page(log_part(TENANT, 0))
    assert [item.value.id for item in page.items] == ["000000000000", "000000000001"]
    assert all(item.value.first < item.value.last for item in page.items)


class KilledStore:
    """The write-once store of a process that ends at one of its writes, before or after it took effect."""

    def __init__(self, store: Any, at: int, *, after: bool) -> None:
        self.store, self.left, self.after = store, at, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def put(self, *args: Any, **kwargs: Any) -> int:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        size: int = await self.store.put(*args, **kwargs)
        if self.left == 0:
            raise Killed
        return size


@pytest.mark.parametrize("seed", range(6))
async def test_processes_that_are_killed_at_any_write_leave_one_history(
    data: AuditData, seed: int
) -> None:
    chance = random.Random(seed)
    store = data.store
    roots: dict[int, bytes] = {}
    for _ in range(20):
        data.store = KilledStore(store, chance.randrange(1, 9), after=chance.random() < 0.5)
        audit, journal = data.process()
        await act(journal, chance.choice([1, 3, 90, 270]))
        await audit.log.append_pending(MAIN)
        with contextlib.suppress(Killed):
            await audit.checkpoints.publish(TENANT)
        data.store = store
        audit, _ = data.process()
        async for size in audit.checkpoints.store.checkpoint_sizes(TENANT):
            note = parse_note(await audit.checkpoints.store.read_checkpoint(TENANT, size))
            root = parse_checkpoint(note.text).root
            assert roots.setdefault(size, root) == root, "two checkpoints disagree"
    await audit.checkpoints.publish(TENANT)
    await check(data, audit)
    tree = StoredTree(audit.checkpoints.store, TENANT, max(roots))
    for size, root in roots.items():
        part = StoredTree(audit.checkpoints.store, TENANT, size)
        assert merkle.root(await part.frontier()) == root
        hashes = await tree.consistency(size)
        merkle.verify_consistency(size, max(roots), root, roots[max(roots)], hashes)


async def test_processes_that_publish_at_once_make_one_history(data: AuditData) -> None:
    for _ in range(4):
        processes = [data.process() for _ in range(4)]
        await asyncio.gather(*(act(journal, 50) for _, journal in processes))
        await asyncio.gather(*(audit.log.append_pending(MAIN) for audit, _ in processes))
        await asyncio.gather(*(audit.checkpoints.publish(TENANT) for audit, _ in processes))
    assert await check(data, data.process()[0]) == 800


async def test_a_log_whose_records_were_restored_goes_on_from_its_tiles(data: AuditData) -> None:
    await grow(data, 300)
    backup = MemoryRecords(data.clock)
    for partition in (MAIN, log_part(TENANT, 0), Partition("operator")):
        changes = await data.records.changes(partition)
        for record in changes.records:
            if record.kind != "audit-checkpoint":
                await restore(backup, record)
    audit = await grow(data, 400)
    before = await leaves_of(data)
    last = await audit.reader.checkpoint(TENANT)
    data.records = backup
    audit, journal = data.process()
    await act(journal, 5)
    await audit.log.append_pending(MAIN)
    await audit.checkpoints.publish(TENANT)
    assert (await leaves_of(data))[: len(before)] == before
    assert await check(data, audit) >= len(before) + 5
    newest, hashes = await audit.reader.consistency(TENANT, last.tree.size)
    merkle.verify_consistency(
        last.tree.size,
        newest.tree.size,
        bytes.fromhex(last.tree.root),
        bytes.fromhex(newest.tree.root),
        hashes,
    )


async def restore(records: MemoryRecords, record: Any) -> None:
    await records.commit(record.partition, [Create(record)])


async def test_records_that_are_empty_get_the_whole_log_back(data: AuditData) -> None:
    await grow(data, 700)
    before = await leaves_of(data)
    data.records = MemoryRecords(data.clock)
    audit, journal = data.process()
    await act(journal, 1)
    await audit.log.append_pending(MAIN)
    assert (await leaves_of(data))[: len(before)] == before


async def test_a_log_of_a_release_before_tiles_keeps_its_root(data: AuditData) -> None:
    audit, journal = data.process()
    await act(journal, 300)
    await audit.log.append_pending(MAIN)
    head = await audit.log.head(TENANT)
    part = log_part(TENANT, 0)
    page = await data.records.query(part, LOGGED_KIND, limit=1_000)
    for record in page.records:  # as that release had them
        await data.records.commit(part, [Replace(replace(record, index={}))])
    await audit.checkpoints.publish(TENANT)
    newest = await audit.reader.checkpoint(TENANT)
    assert newest.tree == head
    assert await check(data, audit) == 300


@pytest.mark.parametrize("lost", ["an entry", "a tile"])
async def test_what_was_lost_or_changed_is_never_signed(data: AuditData, lost: str) -> None:
    audit = await grow(data, 300)
    audit, journal = data.process()
    await act(journal, 300)
    await audit.log.append_pending(MAIN)
    if lost == "an entry":
        page = await data.records.query(log_part(TENANT, 0), LOGGED_KIND, limit=1_000)
        last = max(page.records, key=lambda record: int(record.body["position"]))
        await data.records.commit(log_part(TENANT, 0), [Delete(LOGGED_KIND, last.id)])
    else:
        data.clock.advance(timedelta(days=4_000).total_seconds())
        await data.store.delete(f"{TENANT}/tile/1/000.p/1")
    before = await audit.reader.checkpoint(TENANT)
    with pytest.raises(Damaged):
        await audit.checkpoints.publish(TENANT)
    assert await audit.reader.checkpoint(TENANT) == before


@pytest.mark.parametrize("position", [0, 257, 299, 300, 309])
async def test_an_entry_that_was_changed_in_the_index_gets_into_no_tile(
    data: AuditData, position: int
) -> None:
    audit = await grow(data, 300)
    audit, journal = data.process()
    await act(journal, 10)
    await audit.log.append_pending(MAIN)
    before = [info.name async for info in data.store.list("")]
    page = await data.records.query(
        log_part(TENANT, 0), LOGGED_KIND, where={"bundle": str(position // WIDTH)}, limit=1_000
    )
    (record,) = (one for one in page.records if one.body["position"] == position)
    changed = record.body | {"entry": record.body["entry"] | {"outcome": "refused"}}
    await data.records.commit(log_part(TENANT, 0), [Replace(replace(record, body=changed))])
    if position == 0:  # its tile is full, and read no more
        await audit.checkpoints.publish(TENANT)
    else:
        with pytest.raises(Damaged):
            await audit.checkpoints.publish(TENANT)
        assert [info.name async for info in data.store.list("")] == before
        now = await data.records.get(log_part(TENANT, 0), LOGGED_KIND, record.id)
        await data.records.commit(log_part(TENANT, 0), [Replace(replace(now, body=record.body))])
        await audit.checkpoints.publish(TENANT)
    assert (await audit.reader.checkpoint(TENANT)).tree.size == 310


async def test_a_key_vault_that_does_not_respond_holds_nothing_else_up(
    data: AuditData, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = await grow(data, 2)

    async def silent(*_: object) -> None:
        raise Unavailable("The key vault does not respond.")

    audit, journal = data.process()
    await act(journal, 3)
    await audit.log.append_pending(MAIN)
    vault = type(data.vault)
    real = vault.sign
    monkeypatch.setattr(vault, "sign", silent)
    data.clock.advance(60)
    await audit.checkpoints.run()
    assert (await audit.reader.checkpoint(TENANT)).tree.size == 2
    monkeypatch.setattr(vault, "sign", real)
    await audit.checkpoints.run()
    assert (await audit.reader.checkpoint(TENANT)).tree.size == 5


def test_paths_are_the_specification_s() -> None:
    assert (
        str(parse_tile_path("tile/entries/x001/x234/067.p/3")) == "tile/entries/x001/x234/067.p/3"
    )


async def test_a_key_of_the_vault_that_somebody_else_rotated_is_named(data: AuditData) -> None:
    audit = await grow(data, 1)
    await data.vault.rotate("audit-checkpoints")
    audit = await grow(data, 1)
    newest = await audit.reader.checkpoint(TENANT)
    known = await audit.keys.verifiers(ORIGIN)
    note = parse_note(newest.note.encode())
    assert len(note.verified_by(known[0][1])) == 3
    assert [key.until is None for key, _ in known] == [True, False]


@pytest.mark.parametrize("damage", ["of nobody", "malformed", "another root"])
async def test_a_log_whose_checkpoint_is_not_what_was_signed_is_not_taken_up(
    data: AuditData, damage: str
) -> None:
    audit = await grow(data, 3)
    size = (await audit.reader.checkpoint(TENANT)).tree.size
    name = f"{TENANT}/checkpoints/{size:020d}"
    note = await audit.checkpoints.store.read_checkpoint(TENANT, size)
    if damage == "another root":
        text = Checkpoint(ORIGIN, size, bytes(32)).encode()
        note = Note(text, tuple(await audit.keys.sign(ORIGIN, text))).encode()
    else:
        note = note[:-40] if damage == "malformed" else note.split(b"\n\n")[0] + b"\n\n" + OTHERS
    data.clock.advance(timedelta(days=91).total_seconds())
    await data.store.delete(name)
    until = data.clock.now() + timedelta(days=1)
    await data.store.put(name, single(note), retain_until=until)
    data.records = await without_checkpoint(data)
    audit, journal = data.process()
    await act(journal, 1)
    with pytest.raises(Damaged):
        await audit.log.append_pending(MAIN)


OTHERS = "— someone else ".encode() + b"AAAAAAAAAAAA\n"


async def without_checkpoint(data: AuditData) -> MemoryRecords:
    """The records as a backup has them."""
    kept = MemoryRecords(data.clock)
    for partition in (MAIN, log_part(TENANT, 0), Partition("operator")):
        for record in (await data.records.changes(partition)).records:
            if record.kind != "audit-checkpoint":
                await restore(kept, record)
    return kept
