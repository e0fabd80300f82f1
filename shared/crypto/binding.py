"""Associated data: what a ciphertext is bound to, so that it opens nowhere else."""

from __future__ import annotations

import re
from typing import Final

_PART: Final = re.compile(r"[a-z0-9_-]+")


def bind(purpose: str, *parts: str) -> bytes:
    """``strongroom/{purpose}/1/{part}/{part}...`` in ASCII; 1 is the version of the formats.

    Raises:
        ValueError: A part is empty or has characters outside ``[a-z0-9_-]``, which could make two
            different bindings read the same.
    """
    if not all(_PART.fullmatch(part) for part in parts):
        raise ValueError("an identifier has only lower-case letters, digits, '_' and '-'")
    return "/".join(("strongroom", purpose, "1", *parts)).encode("ascii")
