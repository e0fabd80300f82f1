"""What a tenant's key is called in the key vault."""

from __future__ import annotations

from typing import Final

_PREFIX: Final = "ten-"


def tenant_key_name(tenant: str) -> str:
    """The name of a tenant's key in the key vault, where ``_`` is not allowed."""
    return tenant.replace("_", "-")


def tenant_of_key(name: str) -> str | None:
    """The customer whose key has this name in the key vault; None: it is no customer's."""
    return name.replace("-", "_") if name.startswith(_PREFIX) else None
