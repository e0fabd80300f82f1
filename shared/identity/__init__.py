"""Who exists: tenants, users and employees, their passwords and their tokens."""
