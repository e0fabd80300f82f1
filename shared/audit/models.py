"""The audit log as records hold it."""

from __future__ import annotations

from shared.base.models import Model
from shared.journal.entries import Entry


class LoggedEntry(Model):
    """An entry and its position in the log; None until the audit function has appended it."""

    entry: Entry
    position: int | None = None


class TreeHead(Model):
    """The log's size and the root of the tree over it, 64 hexadecimal digits (RFC 6962 section 2.1).

    Attributes:
        size: How many entries the log holds.
        root: The Merkle tree hash of their leaves.
        frontier: The hashes of the perfect subtrees from which the next root is computed, from the
            largest to the smallest.
    """

    size: int
    root: str
    frontier: tuple[str, ...]
