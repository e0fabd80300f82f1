"""A page of a list, as services return it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A page of items and, where there may be more, the cursor that continues after them."""

    items: Sequence[T]
    cursor: str | None
