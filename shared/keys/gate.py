"""The gate before the keys of tenants: an employee gets through under a grant for that tenant alone.

Who acts is known from the moment when the request was authenticated, whatever its route then does, so a
route with a defect opens nothing either. Work of the service itself, such as timers and events, passes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from shared.base.errors import Forbidden
from shared.base.partitions import OPERATOR
from shared.keys.names import tenant_of_key
from shared.ports.keys import KeyUse, KeyVault, Signature, WrappedKey


@dataclass(slots=True)
class Acting:
    """An employee whose request is being worked on.

    Attributes:
        employee: Their id.
        grant: The id of the grant under which they act at present; empty: none.
    """

    employee: str
    grant: str = ""


_ACTING: Final[ContextVar[Acting | None]] = ContextVar("strongroom_acting", default=None)

Admits = Callable[[str, Acting], Awaitable[None]]
"""Raises ``Forbidden`` unless an employee may get at the keys of a tenant."""


def act_as(employee: str) -> None:
    """From here to the end of the request an employee acts, under no grant yet."""
    _ACTING.set(Acting(employee))


def act_under(grant: str) -> None:
    """From here to the end of the request the employee acts under this grant."""
    found = _ACTING.get()
    if found is not None:
        found.grant = grant


@contextmanager
def as_the_service() -> Iterator[None]:
    """Work for nobody who could see it: until it is known who asks, or where they see numbers alone."""
    before = _ACTING.set(None)
    try:
        yield
    finally:
        _ACTING.reset(before)


@dataclass(slots=True)
class KeyGate:
    """Lets through who may get at the keys of a tenant.

    Attributes:
        admits: Decides about employees; None: there are no grants, and none gets through.
    """

    admits: Admits | None = None

    async def admit(self, tenant: str) -> None:
        """Check that who acts may get at a tenant's keys.

        Raises:
            Forbidden: It is an employee, and no live grant of theirs is for this tenant.
            Unavailable: The record store does not respond.
        """
        found = _ACTING.get()
        if found is None or tenant == OPERATOR:
            return
        if self.admits is None or not found.grant:
            raise Forbidden("Employees get at the keys of a tenant under a grant alone.")
        await self.admits(tenant, found)


@dataclass(frozen=True, slots=True)
class GatedKeyVault:
    """A ``KeyVault`` that unwraps nothing of a tenant's without asking the gate.

    Attributes:
        key_vault: Does the rest.
        gate: Is asked.
    """

    key_vault: KeyVault
    gate: KeyGate

    async def create(self, name: str, use: KeyUse) -> str:
        """See ``KeyVault.create``."""
        return await self.key_vault.create(name, use)

    async def wrap(self, name: str, plaintext: bytes) -> WrappedKey:
        """See ``KeyVault.wrap``."""
        return await self.key_vault.wrap(name, plaintext)

    async def unwrap(self, wrapped: WrappedKey) -> bytes:
        """See ``KeyVault.unwrap``.

        Raises:
            Forbidden: As for ``KeyGate.admit``.
        """
        tenant = tenant_of_key(wrapped.name)
        if tenant is not None:
            await self.gate.admit(tenant)
        return await self.key_vault.unwrap(wrapped)

    async def sign(self, name: str, digest: bytes) -> Signature:
        """See ``KeyVault.sign``."""
        return await self.key_vault.sign(name, digest)

    async def public_key(self, name: str, version: str | None = None) -> bytes:
        """See ``KeyVault.public_key``."""
        return await self.key_vault.public_key(name, version)

    async def rotate(self, name: str) -> str:
        """See ``KeyVault.rotate``."""
        return await self.key_vault.rotate(name)

    async def destroy(self, name: str) -> None:
        """See ``KeyVault.destroy``."""
        await self.key_vault.destroy(name)
