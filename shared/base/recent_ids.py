"""Ids that a process remembers, so that it does not do again what it has just done."""

from __future__ import annotations


class RecentIds:
    """The ids that were added last.

    Args:
        limit: How many, at most.
    """

    __slots__ = ("_ids", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ids: dict[str, None] = {}

    def add(self, id_: str) -> None:
        """Remember an id, in place of the oldest where there are too many."""
        self._ids[id_] = None
        if len(self._ids) > self._limit:
            del self._ids[next(iter(self._ids))]

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids
