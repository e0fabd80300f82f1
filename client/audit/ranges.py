"""The tree over a range of a log's entries, in memory that grows with the logarithm of their number."""

from __future__ import annotations

from shared.crypto.merkle import node_hash


class RangeTree:
    """Takes the leaves of a range in order, and keeps the roots of its perfect subtrees.

    Args:
        start: The position of the first leaf.

    Attributes:
        end: The position after the last leaf so far.
        hashes: Of ``merkle.subtrees(start, end)``, in its order.
    """

    def __init__(self, start: int) -> None:
        self.end = start
        self.hashes: list[bytes] = []
        self._start = start

    def append(self, leaf_hash: bytes) -> None:
        """Take the next leaf."""
        self.hashes.append(leaf_hash)
        self.end += 1
        leaves = 2
        # Two subtrees of one size are one, where the larger one starts within the range.
        while self.end % leaves == 0 and self.end - leaves >= self._start:
            right = self.hashes.pop()
            self.hashes[-1] = node_hash(self.hashes[-1], right)
            leaves *= 2
