"""Ways to damage a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Harm = Callable[[Path], None]


def flip(offset: int) -> Harm:
    """Change one bit at an offset."""

    def harm(path: Path) -> None:
        sealed = bytearray(path.read_bytes())
        sealed[offset] ^= 1
        path.write_bytes(sealed)

    return harm
