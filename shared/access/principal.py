"""Principal: who makes a request, as far as a service needs to know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from shared.access.permissions import Role
from shared.base.partitions import OPERATOR


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from, for the audit entry.

    Attributes:
        address: The client's network address; empty for work that no client requested.
        traceparent: The W3C trace context that the request carried or was given.
        user_agent: What the client says it is: any text of a bounded length.
        request: The id of the request, which its response carries.
    """

    address: str = ""
    traceparent: str | None = None
    user_agent: str = ""
    request: str = ""


async def _nothing_to_confirm() -> None:
    """For a principal that no token stands for."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated user and the request they make.

    Attributes:
        tenant: The tenant whose records they can reach; for an employee ``OPERATOR``, unless they act under
            a grant.
        user: The id of the user.
        roles: The roles of the user.
        origin: Where the request came from.
        signed_in_at: When they gave their password; None where no token stands for them.
        grant: The id of the staff grant under which an employee acts in a customer's tenant; empty: none.
        confirm: Reads again whether the user may still act, and raises ``TokenRevoked`` where not. What
            takes long, such as content that arrives, is followed by it right before the commit.
    """

    tenant: str
    user: str
    roles: tuple[Role, ...]
    origin: Origin = Origin()
    signed_in_at: datetime | None = None
    grant: str = ""
    confirm: Callable[[], Awaitable[None]] = field(
        default=_nothing_to_confirm, compare=False, repr=False
    )

    @property
    def kind(self) -> Literal["user", "employee"]:
        """Whether the user belongs to a customer or to the operator."""
        return "employee" if self.tenant == OPERATOR or self.grant else "user"
