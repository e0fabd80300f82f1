"""Webhooks: what happens to a tenant is pushed to HTTPS servers of its own, signed."""
