"""Verifies the audit log offline: nothing here needs the server, or trusts it."""
