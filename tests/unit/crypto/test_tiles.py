"""Tiles and bundles, as C2SP tlog-tiles has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.crypto import merkle, tiles
from shared.crypto.tiles import TileError, TilePath
from tests.support.audit_logs import TextbookTree, tiles_of_growth

SIZE = 2_000


@pytest.fixture(scope="module")
def tree() -> TextbookTree:
    return TextbookTree([merkle.leaf_hash(b"%d" % number) for number in range(SIZE)])


@pytest.mark.parametrize(
    ("path", "tile"),
    [
        ("tile/0/x001/x234/067", TilePath(0, 1_234_067)),  # the specification's example
        ("tile/0/000", TilePath(0, 0)),
        ("tile/1/000.p/17", TilePath(1, 0, 17)),
        ("tile/63/999.p/255", TilePath(63, 999, 255)),
        ("tile/entries/x001/000", TilePath(None, 1_000)),
        ("tile/entries/273.p/112", TilePath(None, 273, 112)),
    ],
)
def test_paths(path: str, tile: TilePath) -> None:
    assert str(tile) == path
    assert tiles.parse_tile_path(path) == tile


@given(
    st.builds(
        TilePath,
        st.none() | st.integers(0, 63),
        st.integers(0, (1 << 63) - 1),
        st.integers(1, 256),
    )
)
def test_every_path_is_parsed_into_what_it_was_made_of(tile: TilePath) -> None:
    assert tiles.parse_tile_path(str(tile)) == tile


@pytest.mark.parametrize(
    "path",
    [
        *("tile/00/000", "tile/01/000", "tile/64/000", "tile/-1/000", "tile/x/000", "tile//000"),
        *("tile/0/0", "tile/0/0000", "tile/0/x000/001", "tile/0/000/001", "tile/0/x001", "tile/0/"),
        *("tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000.p"),
        *(
            "tile/0/000.p/999",
            "tile/0/x001/x234/067/",
            "/tile/0/000",
            "tile/0/000\n",
            "tile/0/\u0660\u0660\u0660",
        ),
        *("tile/8/0/000", "tile/entries", "tile/data/000", "checkpoint", "", "tile/0/../000"),
        "tile/0/" + "x999/" * 7 + "999",
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(TileError):
        tiles.parse_tile_path(path)


@pytest.mark.parametrize(
    "tile",
    [TilePath(64, 0), TilePath(-1, 0), TilePath(0, -1), TilePath(0, 0, 0), TilePath(0, 0, 257)],
)
def test_tiles_that_cannot_be_have_no_path(tile: TilePath) -> None:
    with pytest.raises(TileError):
        str(tile)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=256))
def test_bundles_hold_entries(entries: list[bytes]) -> None:
    assert tiles.decode_bundle(tiles.encode_bundle(entries)) == entries


def test_a_bundle_byte_for_byte() -> None:
    assert tiles.encode_bundle([b"", b"abc"]) == b"\x00\x00\x00\x03abc"
    assert tiles.decode_bundle(tiles.encode_bundle([bytes(65_535)])) == [bytes(65_535)]


def test_an_entry_that_is_too_large_is_refused() -> None:
    with pytest.raises(TileError, match="65,536 bytes; at most 65,535 fit"):
        tiles.encode_bundle([bytes(65_536)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "1 to 256 entries, not 0"),
        (b"\x00", "ends within its entry 0"),
        (b"\x00\x01", "ends within its entry 0"),
        (b"\x00\x01a\x00", "ends within its entry 1"),
        (b"\x00\x01a\xff\xffa", "ends within its entry 1"),
        (b"\x00\x00" * 257, "1 to 256 entries, not 257"),
    ],
)
def test_malformed_bundles_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(TileError, match=message):
        tiles.decode_bundle(data)


def test_the_tiles_of_the_specifications_examples() -> None:
    of_70_000 = tiles_of_growth(0, 70_000)
    full = [tile for tile in of_70_000 if tile.width == tiles.WIDTH]
    partial = [str(tile) for tile in of_70_000 if tile.width < tiles.WIDTH]
    assert len([tile for tile in full if tile.level == 0]) == 273
    assert [tile for tile in full if tile.level != 0] == [TilePath(1, 0)]
    assert partial == ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    assert list(map(str, tiles_of_growth(0, 256))) == ["tile/0/000", "tile/1/000.p/1"]


@pytest.mark.parametrize("old", [0, 1, 255, 256, 257, 300, 511, 512, 513, 65_535, 65_536])
@pytest.mark.parametrize("more", [0, 1, 2, 255, 256, 257, 1_000, 65_536])
def test_growth_is_what_exists_after_and_not_before(old: int, more: int) -> None:
    new = old + more
    grown = tiles_of_growth(old, new)
    assert set(grown) == set(tiles_of_growth(0, new)) - set(tiles_of_growth(0, old))
    assert len(grown) == len(set(grown))


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 512, 700, 1_999, SIZE])
def test_every_node_is_computed_from_the_tile_that_holds_it(tree: TextbookTree, size: int) -> None:
    there = set(tiles_of_growth(0, size))
    for level in range(size.bit_length()):
        for index in range(size >> level):
            path = tiles.tile_of(level, index, size)
            assert path in there
            assert tiles.hash_in(tree.tile(path), level, index) == tree.node(level, index)


def test_the_root_of_a_full_tile_is_in_the_tile_above(tree: TextbookTree) -> None:
    tile = tree.tile(TilePath(0, 3))
    above = tree.tile(tiles.tile_of(8, 3, SIZE))
    assert tiles.tile_root(tile) == tree.node(8, 3) == tiles.hash_in(above, 8, 3)
    with pytest.raises(TileError, match="not full"):
        tiles.tile_root(tile[:-32])


@pytest.mark.parametrize("node", [(0, 70), (3, 8), (-1, 0), (0, -1)])
def test_a_node_that_the_tree_does_not_have_has_no_tile(node: tuple[int, int]) -> None:
    with pytest.raises(TileError, match="has no node"):
        tiles.tile_of(*node, 70)


def test_a_tile_that_is_too_short_is_refused(tree: TextbookTree) -> None:
    tile = tree.tile(TilePath(0, 0, 5))
    assert tiles.hash_in(tile, 2, 0) == tree.node(2, 0)
    with pytest.raises(TileError, match="hash 7 is missing"):
        tiles.hash_in(tile, 2, 1)
