"""Adapters of external storage: targets, which tenants own and configure, reached through a gate."""
