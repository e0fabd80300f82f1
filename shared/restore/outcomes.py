"""What a restore did, and what it could not do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from shared.base.models import Model

MAX_PROBLEMS: Final = 1_000
"""Problems that are listed; of more, only the number is kept."""

ProblemKind = Literal["damaged", "missing", "erased", "newer", "conflict"]
"""``damaged``, ``missing``: the backup's content is; ``erased``: the document was erased after the set;
``newer``: it was changed after the set and was left; ``conflict``: the service has another one there."""


class Problem(Model):
    """Something that was not restored.

    Attributes:
        document: The id of the document; empty: not a document's.
        version: Its version; 0: all of it.
        problem: Why.
    """

    document: str = ""
    version: int = 0
    problem: ProblemKind


@dataclass(slots=True)
class Outcome:
    """What was restored so far.

    Attributes:
        documents: That were looked at.
        restored: Documents of which anything was made again.
        versions: Whose content was put back.
        bytes: The size of these, sealed.
        records: Other records that were made again.
        problems: What was not restored, ``MAX_PROBLEMS`` at most.
        problem_count: How many there were.
    """

    documents: int = 0
    restored: int = 0
    versions: int = 0
    bytes: int = 0
    records: int = 0
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0

    def add(self, problem: ProblemKind, document: str = "", version: int = 0) -> None:
        """Note what was not restored."""
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(document=document, version=version, problem=problem))
