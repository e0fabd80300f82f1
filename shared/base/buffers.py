"""The types of bytes in memory."""

from __future__ import annotations

Buffer = bytes | bytearray | memoryview
"""Contiguous bytes."""

WritableBuffer = bytearray | memoryview
"""Contiguous bytes that can be written to."""
