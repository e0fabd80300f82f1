"""The key hierarchy: from a tenant's key in the key vault down to the key of each content."""
