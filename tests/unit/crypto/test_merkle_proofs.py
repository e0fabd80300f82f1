"""Proofs in the Merkle tree: reference vectors, and all sizes up to 2,000 beside the RFC's recursion."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from shared.crypto import merkle
from shared.crypto.merkle import ProofError
from tests.support.audit_logs import REFERENCE_LEAVES, TextbookTree

SIZES = 2_000

# Leaves and proofs of the reference implementation's test (google/certificate-transparency,
# cpp/merkletree/merkle_tree_test.cc), which counts leaves from 1.
LEAVES = [merkle.leaf_hash(leaf) for leaf in REFERENCE_LEAVES]
A, B, C, D, E, F, G = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
)
FIRST = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
INCLUSION = [
    (1, 1, []),
    (1, 8, [A, B, C]),
    (6, 8, [D, E, F]),
    (3, 3, [G]),
    (2, 5, [FIRST, B, D]),
]
CONSISTENCY = [
    (1, 1, []),
    (1, 8, [A, B, C]),
    (6, 8, ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a", E, F]),
    (2, 5, [B, D]),
]


@pytest.fixture(scope="module")
def tree() -> TextbookTree:
    return TextbookTree([merkle.leaf_hash(b"%d" % number) for number in range(SIZES)])


@pytest.mark.parametrize(("leaf", "size", "path"), INCLUSION)
def test_inclusion_is_that_of_the_reference(leaf: int, size: int, path: list[str]) -> None:
    reference = TextbookTree(LEAVES)
    proof = reference.inclusion(leaf - 1, size)
    assert [node.hex() for node in proof] == path
    merkle.verify_inclusion(LEAVES[leaf - 1], leaf - 1, size, proof, reference.hash(0, size))


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCY)
def test_consistency_is_that_of_the_reference(old: int, new: int, path: list[str]) -> None:
    reference = TextbookTree(LEAVES)
    proof = reference.consistency(old, new)
    assert [node.hex() for node in proof] == path
    merkle.verify_consistency(old, new, reference.hash(0, old), reference.hash(0, new), proof)


def inclusion_path(tree: TextbookTree, m: int, start: int, end: int) -> list[bytes]:
    """``PATH(m, D[start:end])``, letter by letter of RFC 6962 section 2.1.1."""
    n = end - start
    if n == 1:
        return []
    k = largest_power_below(n)
    if m < k:
        return [*inclusion_path(tree, m, start, start + k), tree.hash(start + k, end)]
    return [*inclusion_path(tree, m - k, start + k, end), tree.hash(start, start + k)]


def consistency_path(
    tree: TextbookTree, m: int, start: int, end: int, *, known: bool
) -> list[bytes]:
    """``SUBPROOF(m, D[start:end], known)``, letter by letter of RFC 6962 section 2.1.2."""
    n = end - start
    if m == n:
        return [] if known else [tree.hash(start, end)]
    k = largest_power_below(n)
    if m <= k:
        below = consistency_path(tree, m, start, start + k, known=known)
        return [*below, tree.hash(start + k, end)]
    below = consistency_path(tree, m - k, start + k, end, known=False)
    return [*below, tree.hash(start, start + k)]


def largest_power_below(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def samples(size: int) -> set[int]:
    """Numbers below a size: its edges, the power of two below it and its neighbours, the middle, others."""
    power = largest_power_below(size) if size > 1 else 0
    some = {0, 1, power - 1, power, power + 1, size // 2, size - 2, size - 1}
    some |= set(random.Random(size).sample(range(size), min(4, size)))
    return {number for number in some if 0 <= number < size}


@pytest.mark.parametrize("first", range(1, SIZES + 1, 500))
def test_every_size_proves_inclusion_as_in_the_rfc(tree: TextbookTree, first: int) -> None:
    for size in range(first, first + 500):
        root = tree.hash(0, size)
        for index in samples(size):
            proof = tree.inclusion(index, size)
            assert proof == inclusion_path(tree, index, 0, size)
            merkle.verify_inclusion(tree.leaves[index], index, size, proof, root)
            if size > 1:
                with pytest.raises(ProofError):
                    merkle.verify_inclusion(tree.leaves[index - 1], index, size, proof, root)


@pytest.mark.parametrize("first", range(1, SIZES + 1, 500))
def test_every_size_proves_consistency_as_in_the_rfc(tree: TextbookTree, first: int) -> None:
    for new in range(first, first + 500):
        root = tree.hash(0, new)
        for old in samples(new + 1) - {0}:
            proof = tree.consistency(old, new)
            assert proof == consistency_path(tree, old, 0, new, known=True)
            merkle.verify_consistency(old, new, tree.hash(0, old), root, proof)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 100, 255, 256, 257])
def test_subtrees_give_the_hash_of_every_range_that_proofs_are_about(
    tree: TextbookTree, size: int
) -> None:
    for start in range(size):
        nodes = merkle.subtrees(start, size)
        assert next(index << level for level, index in nodes) == start
        assert sum(1 << level for level, _ in nodes) == size - start
        spans = merkle.inclusion_ranges(start, size) + merkle.consistency_ranges(start, size)
        for span in [(0, size), *spans]:
            hashes = [tree.node(*node) for node in merkle.subtrees(*span)]
            assert merkle.range_root(hashes) == tree.hash(*span)


@pytest.mark.parametrize("start", [0, 1, 5, 64, 77, 1_000])
def test_a_frontier_grows_by_any_subtrees(tree: TextbookTree, start: int) -> None:
    frontier = tuple(tree.node(*node) for node in merkle.subtrees(0, start))
    size = start
    for level, index in merkle.subtrees(start, SIZES):
        frontier = merkle.extend(frontier, size, level, tree.node(level, index))
        size += 1 << level
        assert merkle.root(frontier) == tree.hash(0, size)
    assert size == SIZES


def test_a_subtree_that_does_not_fit_is_refused(tree: TextbookTree) -> None:
    with pytest.raises(ValueError, match="cannot follow leaf 5"):
        merkle.extend([tree.hash(0, 4), tree.hash(4, 6)], 6, 2, tree.hash(8, 12))


def refused(error: type[Exception], call: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def changed(proof: Sequence[bytes], at: int) -> list[bytes]:
    return [node[:-1] + bytes([node[-1] ^ 1]) if at == n else node for n, node in enumerate(proof)]


@pytest.mark.parametrize("size", [2, 3, 6, 7, 8, 13, 64, 100])
def test_no_other_proof_of_inclusion_passes(tree: TextbookTree, size: int) -> None:
    root = tree.hash(0, size)
    for index in range(size):
        leaf, proof = tree.leaves[index], tree.inclusion(index, size)
        others = [changed(proof, at) for at in range(len(proof))]
        others += [proof[:-1], [*proof, root], [*proof[:-1], b"short"]]
        others += [proof[::-1]] if len(proof) > 1 else []
        for other in others:
            with pytest.raises(ProofError):
                merkle.verify_inclusion(leaf, index, size, other, root)
        for place in {*range(size)} - {index}:
            with pytest.raises(ProofError):
                merkle.verify_inclusion(leaf, place, size, proof, root)


@pytest.mark.parametrize("new", [2, 3, 6, 7, 8, 13, 64])
def test_no_other_proof_of_consistency_passes(tree: TextbookTree, new: int) -> None:
    root = tree.hash(0, new)
    for old in range(1, new):
        before, proof = tree.hash(0, old), tree.consistency(old, new)
        others = [changed(proof, at) for at in range(len(proof))]
        others += [proof[:-1], [*proof, root]]
        for other in others:
            with pytest.raises(ProofError):
                merkle.verify_consistency(old, new, before, root, other)
        for roots in [(root, root), (before, before), (tree.leaves[-1], root)]:
            if roots != (before, root):
                with pytest.raises(ProofError):
                    merkle.verify_consistency(old, new, *roots, proof)


def test_errors_say_what_is_wrong(tree: TextbookTree) -> None:
    root, leaf = tree.hash(0, 5), tree.leaves[0]
    inclusion, consistency = merkle.verify_inclusion, merkle.verify_consistency
    texts = [
        refused(ProofError, lambda: inclusion(leaf, 5, 5, [], root)),
        refused(ProofError, lambda: inclusion(leaf, 0, 5, [], root)),
        refused(ProofError, lambda: inclusion(leaf, 0, 5, [b""] * 3, root)),
        refused(ProofError, lambda: inclusion(leaf, 0, 5, [root] * 3, root)),
        refused(ProofError, lambda: consistency(6, 5, root, root, [])),
        refused(ProofError, lambda: consistency(0, 5, root, root, [])),
        refused(ProofError, lambda: consistency(5, 5, root, leaf, [])),
        refused(ProofError, lambda: consistency(4, 5, root, leaf, [leaf])),
        refused(ProofError, lambda: consistency(3, 5, root, leaf, tree.consistency(3, 5))),
        refused(ValueError, lambda: merkle.inclusion_ranges(5, 5)),
        refused(ValueError, lambda: merkle.consistency_ranges(6, 5)),
    ]
    assert texts == [
        "a tree of 5 leaves has no leaf 5",
        "a proof of the inclusion of leaf 0 in a tree of 5 has 3 hashes, not 0",
        "a hash of the proof of the inclusion of leaf 0 in a tree of 5 is not 32 bytes",
        "leaf 0 is not in the tree of 5 leaves with this root",
        "a tree of 5 leaves does not follow one of 6",
        "the root of the tree without leaves is wrong",
        "the tree of 5 leaves does not begin with the tree of 5 leaves and its root",
        "the tree of 5 leaves does not begin with the tree of 4 leaves and its root",
        "the proof is not about the tree of 3 leaves with its root",
        "a tree of 5 leaves has no leaf 5",
        "a tree of 5 leaves does not follow one of 6",
    ]
    merkle.verify_consistency(0, 5, merkle.EMPTY_ROOT, root, [])
