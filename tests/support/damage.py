"""Ways to damage an object."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from shared.crypto.streaming import SEGMENT_SIZE
from standalone.demo.objects import StoredObject

Harm = Callable[[StoredObject], None]
HarmOfAny = Callable[[StoredObject | Path], None]


def flip(offset: int) -> HarmOfAny:
    """Change one bit at an offset."""

    def harm(stored: StoredObject | Path) -> None:
        sealed = bytearray(stored.read_bytes())
        sealed[offset] ^= 1
        stored.write_bytes(sealed)

    return harm


def cut(size: int) -> HarmOfAny:
    """Cut the content to a size; a negative one: by so many bytes."""

    def harm(stored: StoredObject | Path) -> None:
        stored.write_bytes(stored.read_bytes()[:size])

    return harm


def zero(stored: StoredObject) -> None:
    """Overwrite all of it with zeros."""
    stored.write_bytes(bytes(len(stored.read_bytes())))


def swap_segments(stored: StoredObject) -> None:
    """Let the second and third segment change places."""
    sealed = stored.read_bytes()
    pieces = [sealed[start : start + SEGMENT_SIZE] for start in range(0, len(sealed), SEGMENT_SIZE)]
    stored.write_bytes(b"".join((pieces[0], pieces[2], pieces[1], *pieces[3:])))


def drop_segment(stored: StoredObject) -> None:
    """Remove the second segment."""
    sealed = stored.read_bytes()
    stored.write_bytes(sealed[:SEGMENT_SIZE] + sealed[2 * SEGMENT_SIZE :])


def pipe(stored: StoredObject) -> None:
    """Put a pipe in place of the object: who opens it waits for a writer that never comes."""
    stored.unlink()
    stored.file.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(stored.file)
