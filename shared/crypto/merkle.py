"""The Merkle tree of RFC 6962 section 2.1 (also RFC 9162), grown at its right edge.

A *frontier* is the list of roots of the perfect subtrees that make up a tree, from the largest to the
smallest: one for each bit set in the tree's size. Appending needs nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import reduce
from typing import Final

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


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
    grown = [*frontier, leaf]
    while size & 1:
        right = grown.pop()
        grown.append(node_hash(grown.pop(), right))
        size >>= 1
    return tuple(grown)


def root(frontier: Sequence[bytes]) -> bytes:
    """The tree's root, 32 bytes."""
    if not frontier:
        return EMPTY_ROOT
    return reduce(lambda right, left: node_hash(left, right), reversed(frontier))
