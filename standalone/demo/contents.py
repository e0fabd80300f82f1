"""The contents that the demo sends: the file, and something larger that begins with it.

Neither is ever held in memory as a whole, so that the file may have any size.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

MEBIBYTE: Final = 1_048_576
LARGER_BYTES: Final = 24 * MEBIBYTE
LONGEST_NAME: Final = 200

PROBES: Final = 16
PROBE_BYTES: Final = 64
SHORTEST_PROBE_BYTES: Final = 16
DISTINCT_BYTES: Final = 8
"""What a probe must have: a run of zeros, say, is in every database file and proves nothing."""


@dataclass(frozen=True)
class Content:
    """A content.

    Attributes:
        name: What it is called. It begins with random digits, so that it is found nowhere by chance.
        path: The file that it begins with.
        file_bytes: How much of the file.
        rest: What follows.
    """

    name: str
    path: Path
    file_bytes: int
    rest: bytes = b""

    @classmethod
    def of(cls, path: Path, size: int) -> Content:
        """The file itself."""
        return cls(_name(path), path, size)

    @classmethod
    def larger(cls, path: Path, size: int) -> Content:
        """The file and random bytes."""
        return cls(_name(path), path, size, secrets.token_bytes(max(64, LARGER_BYTES - size)))

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.file_bytes + len(self.rest)

    @cached_property
    def sha256(self) -> bytes:
        """Its SHA-256."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.digest()

    def chunks(self) -> Iterator[bytes]:
        """All of it, from the start."""
        for start in range(0, self.size, MEBIBYTE):
            yield self.read(start, start + MEBIBYTE)

    def read(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` to ``end`` (excluded), as far as there are any."""
        with self.path.open("rb") as file:
            file.seek(start)
            begun = file.read(max(0, min(end, self.file_bytes) - start))
        return begun + self.rest[max(0, start - self.file_bytes) : max(0, end - self.file_bytes)]

    def probes(self) -> set[bytes]:
        """Pieces of it, evenly spread, that are found nowhere by chance."""
        starts = range(0, self.size, max(PROBE_BYTES, self.size // PROBES))
        pieces = (self.read(start, start + PROBE_BYTES) for start in starts)
        return {
            piece
            for piece in pieces
            if len(piece) >= SHORTEST_PROBE_BYTES and len(set(piece)) >= DISTINCT_BYTES
        }


def _name(path: Path) -> str:
    # A disk allows what Strongroom and terminals do not: control characters, and no text at all.
    readable = "".join(each if each.isprintable() else "_" for each in path.name)
    return f"{secrets.token_hex(8)}-{readable}"[:LONGEST_NAME]
