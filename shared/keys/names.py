"""What a tenant's key is called in the key vault."""

from __future__ import annotations


def tenant_key_name(tenant: str) -> str:
    """The name of a tenant's key in the key vault, where ``_`` is not allowed."""
    return tenant.replace("_", "-")
