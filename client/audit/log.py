"""Logs as C2SP tlog-tiles: every entry bundle and every tile, compared with the checkpoint.

The tiles are verified from the root down, so that what is wrong can be named: those at the right edge
give the root, each full tile has a hash in the tile above it, each entry has one in its tile at level 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from cryptography.x509 import Certificate

from client.audit.attested import find_cosigned, find_stamped, read_note
from client.audit.evidence import Proved
from client.audit.prefetch import Fetch, Prefetch
from client.audit.problems import NotProved, QuorumMissed
from client.audit.trust import CHECKPOINT, Growth, Trust
from shared.crypto.checkpoints import Checkpoint
from shared.crypto.merkle import HASH_SIZE, append, extend, leaf_hash, root, subtrees
from shared.crypto.tiles import (
    HEIGHT,
    WIDTH,
    TileError,
    TilePath,
    decode_bundle,
    hash_in,
    tile_of,
    tile_root,
)

CHECKPOINT_PATH: Final = "checkpoint"


class Log:
    """A log, of which the checkpoint has been read.

    Args:
        fetch: Reads the log.
        roots: Certificates of a time stamp authority, to verify the log's time stamp as well.

    Attributes:
        note: The checkpoint; once the log is verified, the one up to which it is.

    Raises:
        NotProved: There is no checkpoint, or it is malformed.
    """

    def __init__(self, fetch: Fetch, roots: tuple[Certificate, ...] = ()) -> None:
        self._fetch = fetch
        self._roots = roots
        note = read_note(fetch, CHECKPOINT_PATH)
        if note is None:
            raise NotProved("missing", CHECKPOINT)
        self.note = note

    def verify(self, trust: Trust, kept: Checkpoint | None = None) -> Proved:
        """Verify the checkpoint's signatures, every tile and every entry.

        Where too few witnesses have cosigned the newest checkpoint, the log is verified up to the one
        that a quorum has cosigned.

        Args:
            trust: Who must have signed.
            kept: An earlier checkpoint of the log, to prove that it only grew since.

        Raises:
            NotProved: Something is wrong or missing.
        """
        cosigned = find_cosigned(self._fetch, self.note, trust)
        signed = cosigned.signed
        growth = Growth(kept, signed.checkpoint)
        if growth.is_older and cosigned.remark:
            raise QuorumMissed(
                f"the witnesses have cosigned {signed.checkpoint.size} entries so far, fewer than the "
                f"{growth.kept_size} that you kept",
                CHECKPOINT,
            )
        if growth.is_older:
            raise NotProved(
                f"the log has {signed.checkpoint.size} entries, fewer than the {growth.kept_size} of "
                "the checkpoint that you kept: entries were removed from its end",
                CHECKPOINT,
            )
        growths, stamped = [growth], None
        if self._roots:
            stamped, since_stamped = find_stamped(self._fetch, self._roots, trust, signed)
            growths.append(since_stamped)
        with Prefetch(self._fetch) as fetch:
            _Walk(fetch, signed.checkpoint, growths).run()
        self.note = cosigned.note
        return Proved(signed, 0, signed.checkpoint.size, growth, cosigned.remark, stamped)


class _Walk:
    """Reads a log from its first entry to its last, each tile below those that were verified before it."""

    def __init__(self, fetch: Prefetch, checkpoint: Checkpoint, growths: Sequence[Growth]) -> None:
        self._fetch = fetch
        self._checkpoint = checkpoint
        self._growths = growths
        self._frontier: tuple[bytes, ...] = ()
        self._size = 0

    def run(self) -> None:
        edge = self._edge()
        frontier = [
            hash_in(edge[tile_of(level, index, self._checkpoint.size)], level, index)
            for level, index in subtrees(0, self._checkpoint.size)
        ]
        if root(frontier) != self._checkpoint.root:
            self._explain(edge)
        # The edge's highest tile covers the first entries.
        for path in sorted(edge, reverse=True):
            self._descend(path, edge[path])

    def _edge(self) -> dict[TilePath, bytes]:
        """The tiles at the right edge whose hashes have no tile above them: one a level, at most."""
        size = self._checkpoint.size
        return {
            path: self._tile(path)
            for path in {tile_of(level, index, size) for level, index in subtrees(0, size)}
        }

    def _descend(self, path: TilePath, tile: bytes) -> None:
        """Verify what is below a verified tile, in the order of the entries."""
        if path.level == 0:
            self._verify_entries(path, tile)
            return
        if path.level == 1:
            tiles = [_below(path, number) for number in range(path.width)]
            self._fetch.announce(
                str(one) for each in tiles for one in (each, TilePath(None, each.index))
            )
        for number, expected in enumerate(_split(tile)):
            below = _below(path, number)
            found = self._tile(below)
            if tile_root(found) != expected:
                raise NotProved(f"not the tile that {path} has the hash of", str(below))
            self._descend(below, found)

    def _verify_entries(self, path: TilePath, tile: bytes) -> None:
        hashes = _split(tile)
        self._compare_entries(path, hashes)
        for growth in self._growths:
            wanted = growth.wanted
            if wanted is not None and self._size < wanted <= self._size + path.width:
                frontier = self._frontier
                for position in range(self._size, wanted):
                    frontier = append(frontier, position, hashes[position - self._size])
                growth.compare(wanted, root(frontier))
        if path.width == WIDTH:
            self._frontier = extend(self._frontier, self._size, HEIGHT, tile_root(tile))
        self._size += path.width

    def _compare_entries(self, path: TilePath, hashes: list[bytes]) -> None:
        """Compare a bundle with its verified tile at level 0."""
        bundle, entries = self._entries(path)
        first = path.index * WIDTH
        for position, (entry, expected) in enumerate(
            zip(entries, hashes, strict=False), start=first
        ):
            if leaf_hash(entry) != expected:
                raise NotProved(f"not the entry that the log holds, in {bundle}", position=position)
        if len(entries) != path.width:
            raise NotProved(f"{len(entries)} entries, not {path.width}", str(bundle))

    def _entries(self, path: TilePath) -> tuple[TilePath, list[bytes]]:
        """The bundle of a tile at level 0, and its entries."""
        bundle = TilePath(None, path.index, path.width)
        data, complete = self._read(bundle)
        try:
            entries = decode_bundle(data)
        except TileError as error:
            raise NotProved(str(error), str(bundle)) from None
        return bundle, entries[: path.width] if complete else entries

    def _tile(self, path: TilePath) -> bytes:
        data, complete = self._read(path)
        expected = (WIDTH if complete else path.width) * HASH_SIZE
        if len(data) != expected:
            raise NotProved(f"{len(data)} bytes, not {expected}", str(path))
        return data[: path.width * HASH_SIZE]

    def _read(self, path: TilePath) -> tuple[bytes, bool]:
        """What is at a path, and whether it is the full tile in place of a partial one.

        A log that has grown since the checkpoint may have removed a partial tile once it has the full one.
        """
        data = self._fetch(str(path))
        if data is not None:
            return data, False
        if path.width < WIDTH:
            data = self._fetch(str(TilePath(path.level, path.index)))
        if data is None:
            raise NotProved("missing", str(path))
        return data, True

    def _explain(self, edge: dict[TilePath, bytes]) -> None:
        """Name the tile at the right edge that does not belong to what is below it."""
        for path in sorted(edge, reverse=True):
            for number, (found, below) in enumerate(self._hashes_below(path)):
                if found != edge[path][number * HASH_SIZE : (number + 1) * HASH_SIZE]:
                    raise NotProved(f"its hash {number} is not that of {below}", str(path))
        raise NotProved(
            "its size or root is not that of the log's tiles: "
            + ", ".join(str(path) for path in sorted(edge)),
            CHECKPOINT,
        )

    def _hashes_below(self, path: TilePath) -> Iterator[tuple[bytes, str]]:
        """The hashes that a tile should have, computed from what is below it, and of what they are."""
        if path.level == 0:
            bundle, entries = self._entries(path)
            for number, entry in enumerate(entries):
                yield leaf_hash(entry), f"entry {number} in {bundle}"
            return
        for number in range(path.width):
            below = _below(path, number)
            yield tile_root(self._tile(below)), str(below)


def _below(path: TilePath, number: int) -> TilePath:
    """The full tile whose root is a hash of a tile at level 1 or higher."""
    return TilePath((path.level or 0) - 1, path.index * WIDTH + number)


def _split(tile: bytes) -> list[bytes]:
    return [tile[at : at + HASH_SIZE] for at in range(0, len(tile), HASH_SIZE)]
