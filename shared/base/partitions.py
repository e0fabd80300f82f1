"""Partitions: the records that one commit can change together.

A partition never grows with a tenant's age. A document, or a grant, lies in the month of its id, so its
partition is found from the id alone; users, keys and settings lie in ``main``; an audit log in parts of a
fixed number of entries. ``docs/decisions/0022-small-partitions.md`` has the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from shared.base.ids import created_at

OPERATOR: Final = "operator"
"""The operator's own tenant: the directory of tenants, its employees, the token keys, the agenda."""

MAIN: Final = "main"
"""The part of a tenant that holds its users, keys and settings."""

_BY_MONTH: Final = frozenset({"doc", "grt", "upl"})
"""The prefixes of ids whose records lie in the month of the id."""


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """Names a partition: a tenant, and a part of its records.

    Attributes:
        tenant: The id of the tenant, or ``OPERATOR``.
        part: ``[a-z0-9-]``: ``MAIN``, a month such as ``2026-11``, or a part of the audit log.
    """

    tenant: str
    part: str = MAIN

    def __str__(self) -> str:
        return f"{self.tenant}/{self.part}"

    @classmethod
    def parse(cls, text: str) -> Partition:
        """The partition that ``str`` gave this text.

        Raises:
            ValueError: The text is not a partition's.
        """
        tenant, slash, part = text.partition("/")
        if not (tenant and slash and part) or "/" in part:
            raise ValueError("a partition is written tenant/part")
        return cls(tenant, part)


@lru_cache(maxsize=4_096)
def month_of(id: str) -> str:
    """The month in which an id was made, such as ``2026-11``.

    Raises:
        ValueError: It is not an id.
    """
    at = created_at(id)
    return f"{at.year}-{at.month:02}"  # strftime takes several times as long


def partition_of(tenant: str, id: str) -> Partition:
    """The partition of the record that an id names, and of the audit entries about it.

    Args:
        tenant: Whose it is.
        id: Of a document, an upload or a grant: its month. Any other id, or none: ``MAIN``.

    Raises:
        ValueError: It begins like the id of one of these and is not one.
    """
    if id.partition("_")[0] in _BY_MONTH:
        return Partition(tenant, month_of(id))
    return Partition(tenant)
