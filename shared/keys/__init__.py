"""The key hierarchy: from a tenant's key in the key vault to the keys of its epochs; their rotation."""
