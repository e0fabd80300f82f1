"""Ways to damage a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from shared.crypto.streaming import SEGMENT_SIZE

Harm = Callable[[Path], None]


def flip(offset: int) -> Harm:
    """Change one bit at an offset."""

    def harm(path: Path) -> None:
        sealed = bytearray(path.read_bytes())
        sealed[offset] ^= 1
        path.write_bytes(sealed)

    return harm


def cut(size: int) -> Harm:
    """Cut the file to a size; a negative one: by so many bytes."""
    return lambda path: path.write_bytes(path.read_bytes()[:size]) and None  # type: ignore[return-value]


def swap_segments(path: Path) -> None:
    """Let the second and third segment change places."""
    sealed = path.read_bytes()
    pieces = [sealed[start : start + SEGMENT_SIZE] for start in range(0, len(sealed), SEGMENT_SIZE)]
    path.write_bytes(b"".join((pieces[0], pieces[2], pieces[1], *pieces[3:])))


def drop_segment(path: Path) -> None:
    """Remove the second segment."""
    sealed = path.read_bytes()
    path.write_bytes(sealed[:SEGMENT_SIZE] + sealed[2 * SEGMENT_SIZE :])


def pipe(path: Path) -> None:
    """Put a pipe in place of the file: who opens it waits for a writer that never comes."""
    path.unlink()
    os.mkfifo(path)
