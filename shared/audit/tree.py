"""A log's tree as its tiles hold it: hashes of nodes, proofs, and entries from bundles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from shared.audit.models import TreeHead
from shared.audit.storage import LogStore
from shared.base.concurrency import at_once
from shared.base.errors import Damaged, NotFound
from shared.crypto.merkle import (
    consistency_ranges,
    inclusion_ranges,
    range_root,
    root,
    subtrees,
)
from shared.crypto.tiles import WIDTH, TileError, TilePath, decode_bundle, hash_in, tile_of

READ_AT_ONCE: Final = 16
"""Tiles that are read at the same time."""

Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class StoredTree:
    """The tree of a log at one size.

    Attributes:
        store: Where the tiles are.
        tenant: Whose log.
        size: Leaves of the tree; its tiles exist.
    """

    store: LogStore
    tenant: str
    size: int

    async def inclusion(self, position: int) -> list[bytes]:
        """The inclusion proof of an entry (RFC 6962 section 2.1.1).

        Raises:
            Damaged: A tile is missing or malformed, and so for the others.
            Unavailable: The store does not respond, and so for the others.
        """
        [proof] = await self.inclusions([position])
        return proof

    async def inclusions(self, positions: Sequence[int]) -> list[list[bytes]]:
        """The inclusion proof of each of some entries; each tile is read once for all of them."""
        ranges = [inclusion_ranges(position, self.size) for position in positions]
        hashes = iter(await self.hashes_of([one for each in ranges for one in each]))
        return [[next(hashes) for _ in each] for each in ranges]

    async def consistency(self, size: int) -> list[bytes]:
        """The consistency proof from an earlier size (RFC 6962 section 2.1.2)."""
        return await self.hashes_of(consistency_ranges(size, self.size))

    async def frontier(self) -> tuple[bytes, ...]:
        """The frontier of the tree."""
        return tuple(await self.hashes_of_nodes(subtrees(0, self.size)))

    async def hashes_of(self, ranges: Ranges) -> list[bytes]:
        """The hash of each range of leaves."""
        nodes = [subtrees(start, end) for start, end in ranges]
        hashes = iter(await self.hashes_of_nodes([node for each in nodes for node in each]))
        return [range_root([next(hashes) for _ in each]) for each in nodes]

    async def hashes_of_nodes(self, nodes: Sequence[tuple[int, int]]) -> list[bytes]:
        """The hash of each node ``(level, index)``; each tile is read once."""
        paths = [tile_of(level, index, self.size) for level, index in nodes]
        wanted = list(dict.fromkeys(paths))
        tiles = dict(zip(wanted, await at_once(self._tile, wanted, READ_AT_ONCE), strict=True))
        return [
            hash_in(tiles[path], level, index)
            for path, (level, index) in zip(paths, nodes, strict=True)
        ]

    async def entry(self, position: int) -> bytes:
        """The bytes of one entry."""
        return (await self.bundle(position // WIDTH))[position % WIDTH]

    async def entries(self, start: int, end: int) -> AsyncIterator[tuple[int, bytes]]:
        """The entries at the positions from ``start`` on, before ``end``, with their positions."""
        for index in range(start // WIDTH, -(-end // WIDTH)):
            bundle = await self.bundle(index)
            for position, entry in enumerate(bundle, start=index * WIDTH):
                if start <= position < end:
                    yield position, entry

    async def bundle(self, index: int) -> list[bytes]:
        """The entries of one bundle."""
        path = TilePath(None, index, min(WIDTH, self.size - index * WIDTH))
        try:
            entries = decode_bundle(await self._tile(path))
        except TileError as error:
            raise Damaged(f"The bundle {path} of a log is malformed: {error}.") from None
        if len(entries) != path.width:
            raise Damaged(f"The bundle {path} of a log does not have {path.width} entries.")
        return entries

    async def _tile(self, path: TilePath) -> bytes:
        try:
            return await self.store.read_tile(self.tenant, path)
        except NotFound:
            raise Damaged(f"The tile {path} of a log is missing.") from None


def tree_head(size: int, frontier: Sequence[bytes]) -> TreeHead:
    """The head of a tree of ``size`` leaves with this frontier."""
    return TreeHead(
        size=size, root=root(frontier).hex(), frontier=tuple(node.hex() for node in frontier)
    )
