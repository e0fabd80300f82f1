"""The embedded adapters: files and SQLite, on one machine with Python alone."""
