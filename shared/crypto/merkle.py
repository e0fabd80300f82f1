"""The Merkle tree of RFC 6962 section 2.1 (also RFC 9162): growth at its right edge, proofs, their checks.

A *frontier* is the list of roots of the perfect subtrees that make up a tree, from the largest to the
smallest: one for each bit set in the tree's size. Appending needs nothing else.

A *node* ``(level, index)`` is the root of a perfect subtree: of the ``2**level`` leaves from
``index * 2**level`` on. A *range* ``(start, end)`` is the leaves from ``start`` on, before ``end``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import reduce
from typing import Final

HASH_SIZE: Final = 32
"""Bytes of every hash."""

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


class ProofError(ValueError):
    """A proof does not prove what it should; the message says why."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf: SHA-256 of 0x00 and the leaf."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256 of 0x01 and its children's hashes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def append(frontier: Sequence[bytes], size: int, leaf: bytes) -> tuple[bytes, ...]:
    """The frontier after one more leaf.

    Args:
        frontier: Of a tree of ``size`` leaves.
        size: How many leaves the tree has.
        leaf: The new leaf's hash, 32 bytes.
    """
    return extend(frontier, size, 0, leaf)


def extend(frontier: Sequence[bytes], size: int, level: int, hash: bytes) -> tuple[bytes, ...]:
    """The frontier after the leaves of one more perfect subtree.

    Args:
        frontier: Of a tree of ``size`` leaves.
        size: How many leaves the tree has: a multiple of ``2**level``.
        level: The subtree has ``2**level`` leaves.
        hash: The subtree's root, 32 bytes.

    Raises:
        ValueError: The subtree does not fit at the tree's right edge.
    """
    if size & ((1 << level) - 1):
        raise ValueError(f"a subtree of {1 << level} leaves cannot follow leaf {size - 1}")
    grown = [*frontier, hash]
    size >>= level
    while size & 1:
        right = grown.pop()
        grown.append(node_hash(grown.pop(), right))
        size >>= 1
    return tuple(grown)


def root(frontier: Sequence[bytes]) -> bytes:
    """The tree's root, 32 bytes."""
    return range_root(frontier) if frontier else EMPTY_ROOT


def range_root(hashes: Sequence[bytes]) -> bytes:
    """The Merkle tree hash (RFC 6962 section 2.1) of a range, from its perfect subtrees.

    Args:
        hashes: Of the range's ``subtrees``, one at least. The range starts where a subtree as large as the
            whole range could start, as do those of ``inclusion_ranges`` and ``consistency_ranges``.
    """
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes))


def subtrees(start: int, end: int) -> list[tuple[int, int]]:
    """The nodes ``(level, index)`` of the largest perfect subtrees that make up a range, left to right."""
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The range of each hash of an inclusion proof (``PATH`` of RFC 6962 section 2.1.1), in its order.

    Args:
        index: Of the leaf, ``0 <= index < size``.
        size: Leaves of the tree.

    Raises:
        ValueError: There is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    ranges = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """The range of each hash of a consistency proof (``PROOF`` of RFC 6962 section 2.1.2), in its order.

    Args:
        old: Leaves of the earlier tree; nothing needs to be proved where it has none.
        new: Leaves of the later tree, ``0 <= old <= new``.

    Raises:
        ValueError: The later tree is smaller.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves does not follow one of {old}")
    ranges: list[tuple[int, int]] = []
    if old == 0:
        return ranges
    start, end = 0, new
    while old < end:
        middle = start + _split(end - start)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start:
        ranges.append((start, end))
    return ranges[::-1]


def verify_inclusion(
    leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that a tree holds a leaf (RFC 9162 section 2.1.3.2).

    Args:
        leaf_hash: The leaf's hash.
        index: Where the leaf should be.
        size: Leaves of the tree.
        proof: The hashes of ``inclusion_ranges(index, size)``.
        root: Of the tree.

    Raises:
        ProofError: It does not, or the proof is not one for this leaf and size.
    """
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    ranges = inclusion_ranges(index, size)
    _check_form(proof, len(ranges), f"inclusion of leaf {index} in a tree of {size}")
    computed = leaf_hash
    for (start, _), node in zip(ranges, proof, strict=True):
        computed = node_hash(node, computed) if start < index else node_hash(computed, node)
    if computed != root:
        raise ProofError(f"leaf {index} is not in the tree of {size} leaves with this root")


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that a tree begins with all leaves of an earlier one (RFC 9162 section 2.1.4.2).

    Args:
        old: Leaves of the earlier tree. A tree without leaves is the beginning of every tree.
        new: Leaves of the later tree.
        old_root: Of the earlier tree.
        new_root: Of the later tree.
        proof: The hashes of ``consistency_ranges(old, new)``.

    Raises:
        ProofError: It does not, or the proof is not one for these sizes.
    """
    if not 0 <= old <= new:
        raise ProofError(f"a tree of {new} leaves does not follow one of {old}")
    ranges = consistency_ranges(old, new)
    _check_form(proof, len(ranges), f"growth from {old} to {new} leaves")
    if old == 0:
        if old_root != EMPTY_ROOT:
            raise ProofError("the root of the tree without leaves is wrong")
        return
    # Where the old tree is a subtree of the new one, its root is the first hash, which proofs leave out.
    hashes = [*proof]
    if not ranges or ranges[0][0] >= old:
        ranges.insert(0, (0, old))
        hashes.insert(0, old_root)
    computed_old = computed_new = hashes[0]
    for (start, _), node in zip(ranges[1:], hashes[1:], strict=True):
        if start < old:
            computed_old = node_hash(node, computed_old)
            computed_new = node_hash(node, computed_new)
        else:
            computed_new = node_hash(computed_new, node)
    if computed_old != old_root:
        raise ProofError(f"the proof is not about the tree of {old} leaves with its root")
    if computed_new != new_root:
        raise ProofError(
            f"the tree of {new} leaves does not begin with the tree of {old} leaves and its root"
        )


def _split(leaves: int) -> int:
    """The largest power of two below a number of leaves, 2 or more: where RFC 6962 splits them."""
    return 1 << ((leaves - 1).bit_length() - 1)


def _check_form(proof: Sequence[bytes], count: int, what: str) -> None:
    if len(proof) != count:
        raise ProofError(f"a proof of the {what} has {count} hashes, not {len(proof)}")
    if any(len(node) != HASH_SIZE for node in proof):
        raise ProofError(f"a hash of the proof of the {what} is not {HASH_SIZE} bytes")
