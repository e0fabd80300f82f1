"""Principal: who makes a request, as far as a service needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.access.permissions import Role
from shared.base.partitions import OPERATOR


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from, for the audit entry.

    Attributes:
        address: The client's network address; empty for work that no client requested.
        traceparent: The W3C trace context that the request carried or was given.
    """

    address: str = ""
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated user and the request they make.

    Attributes:
        tenant: The tenant whose records they can reach; ``OPERATOR`` for an employee.
        user: The id of the user.
        roles: The roles of the user.
        origin: Where the request came from.
    """

    tenant: str
    user: str
    roles: tuple[Role, ...]
    origin: Origin = Origin()

    @property
    def kind(self) -> Literal["user", "employee"]:
        """Whether the user belongs to a customer or to the operator."""
        return "employee" if self.tenant == OPERATOR else "user"
