"""Tiles and entry bundles of a log, as C2SP tlog-tiles lays them out in files (c2sp.org/tlog-tiles).

A tile at level L holds up to 256 consecutive hashes of the tree's nodes at level ``8 * L``; a bundle holds
the entries whose hashes the tile at level 0 with the same index and width holds. Tiles at the right edge
are partial until they are full.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.crypto.merkle import HASH_SIZE, node_hash
from shared.crypto.notation import MAX_INTEGER

HEIGHT: Final = 8
"""Levels of the tree in a tile."""

WIDTH: Final = 1 << HEIGHT
"""Hashes of a full tile, entries of a full bundle."""

MAX_ENTRY: Final = (1 << 16) - 1
"""Bytes of an entry at most: its length is a uint16."""

_MAX_LEVEL: Final = 63
_PATH: Final = re.compile(
    r"tile/(?:entries|(?P<level>[0-9]{1,2}))/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[0-9]{1,3}))?"
)


class TileError(ValueError):
    """A path, a tile or a bundle is malformed; the message says how."""


@dataclass(frozen=True, slots=True, order=True)
class TilePath:
    """Which tile or bundle; ``str`` gives its path.

    Attributes:
        level: Of a tile; None for a bundle of entries.
        index: Within the level.
        width: Hashes or entries in it; less than 256 for a partial one.
    """

    level: int | None
    index: int
    width: int = WIDTH

    def __str__(self) -> str:
        """The path below the log's URL."""
        if self.level is None:
            return bundle_path(self.index, self.width)
        return tile_path(self.level, self.index, self.width)


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """The path of a tile, such as ``tile/0/x001/x234/067`` or ``tile/1/000.p/17``.

    Raises:
        TileError: There is no such tile.
    """
    if not 0 <= level <= _MAX_LEVEL:
        raise TileError(f"no tile has level {level}: levels are 0 to {_MAX_LEVEL}")
    return f"tile/{level}/{_index_and_width(index, width)}"


def bundle_path(index: int, width: int = WIDTH) -> str:
    """The path of a bundle, such as ``tile/entries/000`` or ``tile/entries/x001/x234/067.p/3``.

    Raises:
        TileError: There is no such bundle.
    """
    return f"tile/entries/{_index_and_width(index, width)}"


def parse_tile_path(path: str) -> TilePath:
    """The tile or bundle of a path.

    Raises:
        TileError: The path is not exactly as ``tile_path`` or ``bundle_path`` writes it.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise TileError("not the path of a tile or a bundle")
    level, index, width = match.group("level", "index", "width")
    tile = TilePath(
        level=None if level is None else int(level),
        index=int(index.replace("x", "").replace("/", "")),
        width=WIDTH if width is None else int(width),
    )
    if str(tile) != path:
        raise TileError(f"not the path of a tile or a bundle; {tile} is")
    return tile


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """The bundle of some entries: of each its length, a big-endian uint16, and its bytes.

    Raises:
        TileError: An entry is larger than ``MAX_ENTRY``.
    """
    parts = []
    for entry in entries:
        if len(entry) > MAX_ENTRY:
            raise TileError(f"an entry of {len(entry):,} bytes; at most {MAX_ENTRY:,} fit")
        parts += [struct.pack(">H", len(entry)), entry]
    return b"".join(parts)


def decode_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle, 1 to 256.

    Raises:
        TileError: The bundle ends within an entry, or holds none or too many.
    """
    entries: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + 2
        position = start + int.from_bytes(data[position:start], "big")
        if max(start, position) > len(data):
            raise TileError(f"the bundle ends within its entry {len(entries)}")
        entries.append(data[start:position])
    if not 1 <= len(entries) <= WIDTH:
        raise TileError(f"a bundle has 1 to {WIDTH} entries, not {len(entries)}")
    return entries


def tile_of(level: int, index: int, size: int) -> TilePath:
    """The tile of a tree from which ``hash_in`` computes a node's hash.

    Args:
        level: Of the node: it has ``2**level`` leaves.
        index: Of the node within its level.
        size: Leaves of the tree.

    Raises:
        TileError: The tree does not have the whole node.
    """
    if level < 0 or index < 0 or (index + 1) << level > size:
        raise TileError(f"a tree of {size} leaves has no node {index} at level {level}")
    tile_level, above = divmod(level, HEIGHT)
    tile_index = (index << above) // WIDTH
    return TilePath(
        tile_level, tile_index, min(WIDTH, (size >> (HEIGHT * tile_level)) - tile_index * WIDTH)
    )


def hash_in(tile: bytes, level: int, index: int) -> bytes:
    """The hash of a node, computed from the tile that holds it.

    Args:
        tile: The tile of ``tile_of(level, index, size)``, or one that is wider.
        level: Of the node.
        index: Of the node within its level.

    Raises:
        TileError: The tile does not reach as far.
    """
    above = level % HEIGHT
    start = (index << above) % WIDTH
    end = start + (1 << above)
    if len(tile) < end * HASH_SIZE:
        raise TileError(f"the tile has {len(tile):,} bytes; its hash {end - 1} is missing")
    return _perfect_root(tile[start * HASH_SIZE : end * HASH_SIZE])


def tile_root(tile: bytes) -> bytes:
    """The root of a full tile, which is one hash of the tile above it.

    Raises:
        TileError: The tile is not full.
    """
    if len(tile) != WIDTH * HASH_SIZE:
        raise TileError(f"the tile has {len(tile):,} bytes and is not full")
    return _perfect_root(tile)


def _perfect_root(hashes: bytes) -> bytes:
    """The root over some consecutive hashes, whose number is a power of two."""
    while len(hashes) > HASH_SIZE:
        hashes = b"".join(
            node_hash(hashes[at : at + HASH_SIZE], hashes[at + HASH_SIZE : at + 2 * HASH_SIZE])
            for at in range(0, len(hashes), 2 * HASH_SIZE)
        )
    return hashes


def _index_and_width(index: int, width: int) -> str:
    if not 0 <= index <= MAX_INTEGER:
        raise TileError(f"no tile has index {index}")
    if not 1 <= width <= WIDTH:
        raise TileError(f"no tile has width {width}: widths are 1 to {WIDTH}")
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    path = "/".join(reversed(groups))
    return path if width == WIDTH else f"{path}.p/{width}"
