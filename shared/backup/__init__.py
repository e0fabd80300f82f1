"""Backups: sets of a tenant's state at points in time, their retention, verification, and restores."""
