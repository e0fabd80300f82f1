"""The audit log as records hold it."""

from __future__ import annotations

from shared.base.models import Model
from shared.journal.entries import Entry


class LoggedEntry(Model):
    """An entry and its position in the log, from 0."""

    entry: Entry
    position: int


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


class PartHead(Model):
    """The state of the log at the end of one of its parts.

    Attributes:
        tree: The tree over the whole log up to there.
        source: The partition in which the entries waited that were appended last, as text.
        appended: Their ids. They may still wait there: removing them is the second commit.
    """

    tree: TreeHead
    source: str = ""
    appended: tuple[str, ...] = ()


class LogPointer(Model):
    """Which part of the log is being appended to: the number of the last part known to have begun."""

    part: int
