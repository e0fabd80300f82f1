"""Verification of backups and of the stores: everything is read and checked over a time; reports."""
