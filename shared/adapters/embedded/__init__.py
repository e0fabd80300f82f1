"""The ports on one machine with nothing but Python: files and SQLite."""
