"""A page of a list, as services return it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A page of a list.

    Attributes:
        items: Those that can be read.
        cursor: Where there may be more, what continues after them.
        damaged: The ids of those that are stored and cannot be read.
    """

    items: Sequence[T]
    cursor: str | None
    damaged: Sequence[str]
