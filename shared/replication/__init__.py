"""Replicas: made, verified, and used to heal the primary."""
