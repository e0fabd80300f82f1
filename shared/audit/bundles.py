"""Bundles and tiles, checked: the tree is derived anew from the entries and compared with every tile.

Where a bundle and its tile differ, the tile above says which of them is right, and at the log's end the
signed root does. So one changed byte is one finding, and the walk goes on with what is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from shared.audit.findings import Difference, Finding, Piece, Read
from shared.audit.storage import HASH_BYTES, LogStore
from shared.base.concurrency import at_once
from shared.base.errors import Damaged, NotFound
from shared.crypto import merkle
from shared.crypto.tiles import (
    HEIGHT,
    WIDTH,
    TileError,
    TilePath,
    decode_bundle,
    tile_root,
)
from shared.journal.entries import Entry

READ_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class _Items:
    """The entries of a bundle, or the hashes of a tile.

    Attributes:
        path: Of the object.
        items: None where there is none, or it is malformed.
        hashes: Of each item.
        lost: Why there are no items.
    """

    path: TilePath
    items: Sequence[bytes] | None
    hashes: Sequence[bytes]
    lost: Difference = "missing"


@dataclass(slots=True)
class TreeCheck:
    """Checks the bundles and tiles of one piece.

    Attributes:
        store: Where they are.
        piece: What to check.
    """

    store: LogStore
    piece: Piece

    async def read(self, frontier: tuple[bytes, ...]) -> Read:
        """Read a piece, derive its part of the tree, and compare it with the tiles.

        Args:
            frontier: Of the tree up to the beginning of the piece.

        Raises:
            Unavailable: The store does not respond.
        """
        bundles = self.piece.bundles
        width = self.piece.width
        paths = [
            *(TilePath(None, bundle, width(bundle)) for bundle in bundles),
            *(TilePath(0, bundle, width(bundle)) for bundle in bundles),
        ]
        kept = await at_once(self._items, paths, READ_AT_ONCE)
        upper: dict[TilePath, _Items] = {}
        read = Read()
        for number, bundle in enumerate(bundles):
            read.frontiers.append(frontier)
            entries, tile = kept[number], kept[number + len(bundles)]
            above = None
            if width(bundle) == WIDTH:
                above = await self._hash_above(upper, 1, bundle)
            hashes = self._settle(read, entries, tile, above, frontier)
            read.hashes += hashes or [None] * width(bundle)
            read.entries += _parsed(entries, hashes, width(bundle))
            if hashes:
                node = tile_root(b"".join(hashes)) if len(hashes) == WIDTH else None
            elif above is not None:
                node = above
            else:
                return read
            if node is None:
                for position, leaf in enumerate(hashes, start=bundle * WIDTH):
                    frontier = merkle.append(frontier, position, leaf)
            else:
                await self._compare_upper(read, upper, frontier, bundle, node)
                frontier = merkle.extend(frontier, bundle * WIDTH, HEIGHT, node)
        read.frontiers.append(frontier)
        for items in upper.values():
            if items.items is None:
                read.findings.append(_finding("tile", items.lost, items.path))
        await self._check_copies(read, kept, upper)
        return read

    def _settle(
        self,
        read: Read,
        entries: _Items,
        tile: _Items,
        above: bytes | None,
        frontier: tuple[bytes, ...],
    ) -> Sequence[bytes]:
        """The leaf hashes of a bundle, and findings about it or its tile; none where both are lost."""
        if entries.hashes == tile.hashes and entries.items is not None:
            return entries.hashes
        good = [each for each in (entries, tile) if self._is_right(each, above, frontier)]
        right = good[0] if good else entries if entries.hashes else tile
        for each, kind in ((entries, "entry"), (tile, "tile")):
            if each in good:
                continue
            other = tile if each is entries else entries
            start = each.path.index * WIDTH
            if each.items is None:
                read.findings.append(_finding(kind, each.lost, each.path, start, each.path.width))
            elif good or other.items is not None:
                reference = (good or [other])[0].hashes
                difference, at, count = _compared(each.hashes, reference)
                read.findings.append(_finding(kind, difference, each.path, start + at, count))
        return right.hashes if len(right.hashes) == right.path.width else ()

    def _is_right(self, items: _Items, above: bytes | None, frontier: tuple[bytes, ...]) -> bool:
        """Whether the tile above, or at the log's end the signed root, has the hash of these."""
        if len(items.hashes) != items.path.width:
            return False
        if items.path.width == WIDTH:
            return above is not None and tile_root(b"".join(items.hashes)) == above
        for position, leaf in enumerate(items.hashes, start=items.path.index * WIDTH):
            frontier = merkle.append(frontier, position, leaf)
        return merkle.root(frontier) == self.piece.root

    async def _compare_upper(
        self,
        read: Read,
        upper: dict[TilePath, _Items],
        frontier: tuple[bytes, ...],
        bundle: int,
        node: bytes,
    ) -> None:
        """Compare the hashes in the tiles above that a full bundle completes."""
        for level, index, derived in _completed(frontier, bundle, node):
            kept = await self._hash_above(upper, level, index)
            if kept is not None and kept != derived:
                start = index << (HEIGHT * level)
                path = self._path_above(level, index)
                read.findings.append(_finding("tile", "changed", path, start))

    async def _hash_above(
        self, upper: dict[TilePath, _Items], level: int, index: int
    ) -> bytes | None:
        path = self._path_above(level, index)
        if path not in upper:
            upper[path] = await self._items(path)
        hashes = upper[path].hashes
        return hashes[index % WIDTH] if hashes else None

    def _path_above(self, level: int, index: int) -> TilePath:
        nodes = self.piece.size >> (HEIGHT * level)
        tile = index // WIDTH
        return TilePath(level, tile, min(WIDTH, nodes - tile * WIDTH))

    async def _items(self, path: TilePath) -> _Items:
        try:
            content = await self.store.read_tile(self.piece.tenant, path)
            if path.level is None:
                entries = decode_bundle(content)
                return _Items(path, entries, [merkle.leaf_hash(entry) for entry in entries])
        except NotFound:
            return _Items(path, None, ())
        except (Damaged, TileError):
            return _Items(path, None, (), "malformed")
        hashes = _hashes(content)
        return _Items(path, hashes, hashes)

    async def _check_copies(
        self, read: Read, kept: Sequence[_Items], upper: dict[TilePath, _Items]
    ) -> None:
        """Compare what the store has of the tiles from before they were as wide, and name what is extra."""
        known = {(each.path.level, each.path.index): each for each in [*kept, *upper.values()]}
        prefixes = {str(TilePath(level, self.piece.bundles[0]))[:-1] for level in (None, 0)}
        # A tile above is looked at with its last hash.
        prefixes |= {
            str(TilePath(path.level, path.index))
            for path in upper
            if self._is_last(path) and path.level is not None
        }
        for prefix in sorted(prefixes):
            async for path, name in self.store.objects(self.piece.tenant, prefix):
                if path is None:
                    read.findings.append(Finding(kind="tile", difference="extra", object=name))
                    continue
                leaves = (path.index * WIDTH + path.width) << (HEIGHT * (path.level or 0))
                if leaves > self.piece.size:
                    read.ahead.append((leaves, name))
                full = known.get((path.level, path.index))
                if full is not None and path.width < full.path.width:
                    await self._check_copy(read, path, full)

    def _is_last(self, path: TilePath) -> bool:
        nodes = self.piece.end >> (HEIGHT * (path.level or 0))
        return nodes == path.index * WIDTH + path.width

    async def _check_copy(self, read: Read, path: TilePath, full: _Items) -> None:
        if full.items is None:
            return
        found = await self._items(path)
        kind = "entry" if path.level is None else "tile"
        if found.items is None:
            read.findings.append(_finding(kind, found.lost, path))
        elif list(found.items) != list(full.items[: path.width]):
            difference, _, count = _compared(found.hashes, full.hashes[: path.width])
            read.findings.append(_finding(kind, difference, path, count=count))


def _completed(
    frontier: tuple[bytes, ...], bundle: int, node: bytes
) -> Iterator[tuple[int, int, bytes]]:
    """The hashes in tiles above that are complete with a bundle: their level, index and value.

    Args:
        frontier: Of the tree before the bundle, in which all ones of ``bundle`` stand for a subtree.
        bundle: The index.
        node: The root over the bundle's leaves.
    """
    level, index = 1, bundle
    yield level, index, node
    while index % WIDTH == WIDTH - 1:
        index //= WIDTH
        yield level + 1, index, merkle.range_root([*frontier[-HEIGHT * level :], node])
        level += 1


def _parsed(entries: _Items, hashes: Sequence[bytes], width: int) -> list[Entry | None]:
    """The entries of a bundle where they are right and can be read."""
    parsed: list[Entry | None] = []
    for number in range(width):
        try:
            if not entries.items or (hashes and entries.hashes[number] != hashes[number]):
                raise IndexError
            parsed.append(Entry.model_validate_json(entries.items[number]))
        except (IndexError, ValidationError):
            parsed.append(None)
    return parsed


def _compared(found: Sequence[bytes], right: Sequence[bytes]) -> tuple[Difference, int, int]:
    """How a sequence differs from the right one, the first place where, and in how many places."""
    places = [
        number
        for number in range(max(len(found), len(right)))
        if found[number : number + 1] != right[number : number + 1]
    ]
    if len(found) < len(right):
        return "missing", places[0], len(right) - len(found)
    if len(found) > len(right):
        return "extra", places[0], len(found) - len(right)
    if Counter(found) == Counter(right):
        return "swapped", places[0], len(places)
    return "changed", places[0], len(places)


def _finding(
    kind: str, difference: Difference, path: TilePath, position: int = -1, count: int = 1
) -> Finding:
    return Finding(
        kind="entry" if kind == "entry" else "tile",
        difference=difference,
        object=str(path),
        position=position,
        count=count,
    )


def _hashes(content: bytes) -> list[bytes]:
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]
