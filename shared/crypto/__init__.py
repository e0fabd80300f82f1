"""Cryptography: pure functions. Randomness and time are passed in; nothing here reads or writes.

The formats are described in ``docs/formats.md``, so that a person can implement each from the page.
"""
