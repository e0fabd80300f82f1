"""Restores from backup sets: planned, run as jobs, rehearsed by drills; of all of the service too."""
