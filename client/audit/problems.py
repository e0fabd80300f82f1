"""What an audit log, or evidence from it, does not prove."""

from __future__ import annotations


class NotProved(Exception):
    """Something is wrong, or is not proved by what is there.

    Args:
        detail: A sentence without its first capital and its full stop.
        where: What is wrong: a position, the path of a tile or bundle, a line of an export.
        position: Of the entry in the log, where it is about one.
    """

    def __init__(self, detail: str, where: str = "", position: int | None = None) -> None:
        self.detail = detail
        self.position = position
        self.where = where if position is None else f"position {position}"
        super().__init__(f"{self.where}: {detail}" if self.where else detail)


class QuorumMissed(NotProved):
    """The log has signed, and too few of the trusted witnesses have cosigned."""
