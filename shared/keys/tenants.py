"""A tenant's key from its creation to its destruction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.keys.names import tenant_key_name
from shared.keys.rotation import KeyRotation
from shared.ports.keys import KeyVault


@dataclass(slots=True)
class TenantKeys:
    """Creates and destroys the keys of tenants."""

    key_vault: KeyVault
    key_rotation: KeyRotation

    async def create(self, tenant: str, at: datetime) -> None:
        """Create a tenant's key and put its first rotation on the agenda; durable on return.

        Args:
            tenant: The tenant.
            at: When the tenant is created; the rotation is due a rotation period later.

        Raises:
            Unavailable: The key vault or the record store does not respond.
        """
        await self.key_vault.create(tenant_key_name(tenant), "wrap")
        await self.key_rotation.schedule(tenant, at)

    async def destroy(self, tenant: str) -> None:
        """Destroy a tenant's key: whatever hangs from it can never be opened again.

        Raises:
            Unavailable: The key vault does not respond.
        """
        await self.key_vault.destroy(tenant_key_name(tenant))
