"""Integration: what was appended to a log's index becomes tiles and bundles."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.audit.index import LOGGED_KIND, bundle_spans, parts_of
from shared.audit.models import BundleSpan, TreeHead
from shared.audit.storage import HASH_BYTES, LogStore
from shared.audit.tree import tree_head
from shared.base.concurrency import at_once
from shared.base.errors import Conflict, Damaged, NotFound
from shared.base.models import JsonObject
from shared.crypto import merkle
from shared.crypto.canonical import canonical_json
from shared.crypto.tiles import (
    HEIGHT,
    WIDTH,
    TilePath,
    decode_bundle,
    encode_bundle,
    tile_root,
)
from shared.journal.collections import Collection
from shared.ports.records import MAX_PAGE, RecordStore

TILE_BYTES: Final = WIDTH * HASH_BYTES
"""Of a full tile."""

BUNDLES_AT_ONCE: Final = 16
"""Bundles that are in memory at the same time."""

_log = logging.getLogger("strongroom.audit")


@dataclass(slots=True)
class Integration:
    """Writes tiles.

    Attributes:
        records: Where the index is.
        store: Where the tiles go.
        part_entries: Entries of one part of the index.
    """

    records: RecordStore
    store: LogStore
    part_entries: int
    _spans: Collection[BundleSpan] = field(init=False)

    def __post_init__(self) -> None:
        self._spans = bundle_spans(self.records)

    async def grow(self, tenant: str, before: TreeHead, after: TreeHead) -> None:
        """Make the tiles of a tree that has grown; durable on return.

        What it writes follows from the entries alone, so it can be interrupted, repeated and done twice at
        the same time. Nothing is written of entries that are known not to be those of the two trees.

        Args:
            tenant: Whose log.
            before: The tree whose tiles exist.
            after: The tree whose tiles exist on return; the index holds its entries.

        Raises:
            Damaged: An entry is missing from the index or is not what was appended, or the store holds
                other tiles.
            Unavailable: A store does not respond.
        """
        grown = before
        while grown.size < after.size:
            first = grown.size // WIDTH
            end = min(after.size, (first + BUNDLES_AT_ONCE) * WIDTH)
            bundles = range(first, -(-end // WIDTH))
            entries = await at_once(
                lambda bundle, end=end: self._entries(tenant, bundle, end, before.size),  # type: ignore[misc]
                bundles,
                BUNDLES_AT_ONCE,
            )
            leaves = [[canonical_json(entry) for entry in bundle] for bundle in entries]
            tiles = [b"".join(map(merkle.leaf_hash, bundle)) for bundle in leaves]
            grown = _grown(tenant, grown, tiles)
            if grown.size == after.size:
                _compare(tenant, grown, after)
            await self._write(tenant, first, leaves, tiles)
            for index, bundle in enumerate(entries, start=first):
                if len(bundle) == WIDTH:
                    await self._keep_span(tenant, index, bundle)
        _compare(tenant, grown, after)

    async def restore_spans(self, tenant: str, size: int) -> None:
        """Write the spans that a log lacks whose index was completed from its tiles.

        Args:
            tenant: Whose log.
            size: Of the tree whose tiles exist; the index holds the entries that lack spans.

        Raises:
            Damaged: An entry is missing from the index.
            Unavailable: The record store does not respond.
        """
        for part in parts_of(tenant, 0, size // WIDTH * WIDTH, self.part_entries):
            known = {stored.record.id async for stored in self._spans.scan(part)}
            first = int(part.part.rpartition("-")[2]) * self.part_entries // WIDTH
            last = min(first + self.part_entries // WIDTH, size // WIDTH)
            for bundle in range(first, last):
                if f"{bundle:012d}" not in known:
                    entries = await self._entries(tenant, bundle, size, size)
                    await self._keep_span(tenant, bundle, entries)

    async def _entries(self, tenant: str, bundle: int, end: int, kept: int) -> list[JsonObject]:
        """The entries of a bundle, in their order, before a position, as the index holds them.

        Those at positions below ``kept`` are in the store, and the index may have forgotten them.
        """
        start, end = bundle * WIDTH, min(end, (bundle + 1) * WIDTH)
        found: dict[int, JsonObject] = {}
        for part in parts_of(tenant, start, end, self.part_entries):
            # What a later release added to the model of an entry must not change the bytes of this one.
            page = await self.records.query(
                part, LOGGED_KIND, where={"bundle": str(bundle)}, limit=MAX_PAGE
            )
            for record in page.records:
                if record.body.get("position", end) < end:
                    found[record.body["position"]] = record.body["entry"]
        if not found.keys() >= set(range(start, min(kept, end))):
            stored = await self._stored_entries(tenant, bundle, min(kept, end) - start)
            found = dict(enumerate(stored, start=start)) | found
        if sorted(found) != list(range(start, end)):
            _log.error("audit.difference in the index of %s, bundle %d", tenant, bundle)
            raise Damaged("An entry of the audit log is missing from its index.")
        return [found[position] for position in range(start, end)]

    async def _stored_entries(self, tenant: str, bundle: int, width: int) -> list[JsonObject]:
        """The entries of a bundle in the store, which its tile has as well."""
        leaves = decode_bundle(await self._read(tenant, TilePath(None, bundle, width)))
        tile = await self._read(tenant, TilePath(0, bundle, width))
        if tile != b"".join(merkle.leaf_hash(leaf) for leaf in leaves):
            _log.error("audit.difference in the bundle %d of %s", bundle, tenant)
            raise Damaged("A bundle of the audit log is not what its tile says.")
        return [json.loads(leaf) for leaf in leaves]

    async def _write(
        self,
        tenant: str,
        first: int,
        bundles: Sequence[Sequence[bytes]],
        tiles: Sequence[bytes],
    ) -> None:
        """Write bundles from the one with the index ``first`` on, and what they add to the tiles above."""
        written: list[tuple[TilePath, bytes]] = []
        for index, (leaves, tile) in enumerate(zip(bundles, tiles, strict=True), start=first):
            written.append((TilePath(None, index, len(leaves)), encode_bundle(leaves)))
            written.append((TilePath(0, index, len(leaves)), tile))
        full = [tile_root(tile) for tile in tiles if len(tile) == TILE_BYTES]
        written += await self._upper_tiles(tenant, first, full)
        await at_once(lambda each: self.store.write_tile(tenant, *each), written, BUNDLES_AT_ONCE)

    async def _upper_tiles(
        self, tenant: str, first: int, hashes: Sequence[bytes]
    ) -> list[tuple[TilePath, bytes]]:
        """The tiles from level 1 up that new hashes of level 1 change.

        Args:
            tenant: Whose log.
            first: The index of the first of them.
            hashes: Of consecutive nodes.
        """
        level = 1
        written: list[tuple[TilePath, bytes]] = []
        while hashes:
            index, width = divmod(first, WIDTH)
            content = b""
            if width:
                content = await self._read(tenant, TilePath(level, index, width))
            content += b"".join(hashes)
            above: list[bytes] = []
            for start in range(0, len(content), TILE_BYTES):
                tile = content[start : start + TILE_BYTES]
                path = TilePath(level, index + start // (TILE_BYTES), len(tile) // HASH_BYTES)
                written.append((path, tile))
                if path.width == WIDTH:
                    above.append(tile_root(tile))
            level, first, hashes = level + 1, index, above
        return written

    async def _read(self, tenant: str, path: TilePath) -> bytes:
        try:
            return await self.store.read_tile(tenant, path)
        except NotFound:
            _log.error("audit.difference in %s of %s: it is missing", path, tenant)
            raise Damaged(f"The tile {path} of a log is missing.") from None

    async def _keep_span(self, tenant: str, index: int, entries: Sequence[JsonObject]) -> None:
        names = [entry["id"] for entry in entries]
        span = BundleSpan(id=f"{index:012d}", first=min(names), last=max(names))
        [part, *_] = parts_of(tenant, index * WIDTH, index * WIDTH + 1, self.part_entries)
        try:
            await self.records.commit(part, [self._spans.create(part, span)])
        except Conflict:
            return  # it follows from the entries, and so is the same


def _grown(tenant: str, before: TreeHead, tiles: Sequence[bytes]) -> TreeHead:
    """A tree after the leaves of consecutive tiles; the first one has its last leaves, if it is partial.

    Raises:
        Damaged: The first tile does not begin with the tree's last leaves.
    """
    size = before.size // WIDTH * WIDTH
    known = before.size - size
    # Without the subtrees that are in the first tile.
    frontier = tuple(map(bytes.fromhex, before.frontier[: size.bit_count()]))
    for number, tile in enumerate(tiles):
        if len(tile) == TILE_BYTES and (number or not known):
            frontier = merkle.extend(frontier, size, HEIGHT, tile_root(tile))
            size += WIDTH
            continue
        for start in range(0, len(tile), HASH_BYTES):
            frontier = merkle.append(frontier, size, tile[start : start + HASH_BYTES])
            size += 1
            if size == before.size:
                _compare(tenant, tree_head(size, frontier), before)
    return tree_head(size, frontier)


def _compare(tenant: str, found: TreeHead, expected: TreeHead) -> None:
    if found != expected:
        # The operators' alert looks for this line.
        _log.error("audit.difference in the log of %s at size %d", tenant, expected.size)
        raise Damaged("The index of the audit log does not have the root that its head says.")
