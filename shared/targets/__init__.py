"""Targets: independent copies of a tenant's documents in storage that the tenant owns."""
