"""What could not be recovered, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ProblemKind(StrEnum):
    """What is wrong."""

    MISSING = "missing"
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"  # encrypted to another identity
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    IN_THE_WAY = "in-the-way"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be recovered.

    Attributes:
        kind: What is wrong.
        object: The name of the object in the target.
        detail: A sentence for people, without its first capital and its full stop.
        document: Whose it is, where that is known.
        version: Which version of it.
        name: What the document is called.
    """

    kind: ProblemKind
    object: str
    detail: str
    document: str | None = None
    version: int | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """The problem in a line."""
        what = self.object if self.name is None else f"{self.name} ({self.object})"
        return f"{what}: {self.detail}"
