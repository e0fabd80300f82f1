"""What the catalogue says of an action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

ANY_ID: Final = "*"
"""In place of a prefix: any id that a request may name, or none."""

CALLER: Final = ("user", "employee")
SYSTEM: Final = ("system",)
ANONYMOUS: Final = ("anonymous",)


@dataclass(frozen=True, slots=True)
class Description:
    """What the entries of an action say.

    Attributes:
        when: When there is one, as a sentence without its full stop.
        by: The kinds of actors.
        resource: The prefixes of the ids that it names; an empty one: none as well. Empty: it never
            names any.
        details: What it tells besides, and the type of each. All of it is there with the ordinary
            outcome, but for what is ``optional``.
        optional: Names of details.
        outcomes: Those that occur, the ordinary one first.
        reasons: Of refusals and failures; empty: the slug of any problem.
        former: Whether only releases before 0.2 made such entries.
    """

    when: str
    by: tuple[str, ...] = CALLER
    resource: tuple[str, ...] = ()
    details: Mapping[str, type[str] | type[int] | type[list[str]]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    optional: frozenset[str] = frozenset()
    outcomes: tuple[str, ...] = ("allowed",)
    reasons: tuple[str, ...] = ()
    former: bool = False
