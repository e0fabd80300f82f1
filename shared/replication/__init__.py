"""Replicas: made, verified, and used to repair the primary copy."""
