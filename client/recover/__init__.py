"""Recovering documents from a target with age identities alone; ``docs/formats.md`` has the format."""
