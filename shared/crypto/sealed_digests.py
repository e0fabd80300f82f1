"""The digest of sealed content, by which a copy that is what was sealed is told from one that is not.

BLAKE3 for what is sealed today, because it takes less than half the time of SHA-256 and every copy is
read against it again and again; SHA-256 for what earlier releases sealed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from blake3 import blake3

from shared.base.buffers import Buffer

Algorithm = Literal["blake3", "sha256"]


class Hasher(Protocol):
    """A digest that is being taken. ``update`` releases the GIL for pieces that are not small."""

    def update(self, data: Buffer, /) -> object:
        """Take the next piece."""
        ...

    def digest(self) -> bytes:
        """Of all pieces so far, 32 bytes."""
        ...


_HASHERS: Final[Mapping[Algorithm, Callable[[], Hasher]]] = {
    "blake3": blake3,
    "sha256": hashlib.sha256,
}


@dataclass(frozen=True, slots=True)
class SealedDigest:
    """The digest of sealed content.

    Attributes:
        algorithm: How it was taken.
        value: 32 bytes.
    """

    algorithm: Algorithm
    value: bytes

    def check(self) -> DigestCheck:
        """Begin to check whether what is read has this digest."""
        return DigestCheck(self)

    def matches(self, data: Buffer) -> bool:
        """Whether these bytes have it."""
        check = self.check()
        check.update(data)
        return check.passed


class DigestCheck:
    """Whether bytes that come piece by piece are what was sealed."""

    __slots__ = ("_expected", "_hasher", "update")

    def __init__(self, expected: SealedDigest) -> None:
        self._expected = expected.value
        self._hasher = _HASHERS[expected.algorithm]()
        self.update: Callable[[Buffer], object] = self._hasher.update

    @property
    def passed(self) -> bool:
        """Whether all pieces so far have the digest."""
        return hmac.compare_digest(self._hasher.digest(), self._expected)


def new_hasher() -> Hasher:
    """Takes the digest of what is being sealed."""
    return _HASHERS[ALGORITHM]()


ALGORITHM: Final[Algorithm] = "blake3"
"""Of what is sealed today."""
