"""Shamir's secret sharing: a secret becomes n shares, any k of which give it back; fewer say nothing.

Adi Shamir, "How to Share a Secret" (CACM 22, 1979), for each byte by itself, over GF(2^8) with the
polynomial of AES (x^8 + x^4 + x^3 + x + 1, FIPS 197 section 4.2). The secret's byte is the value at 0 of a
polynomial of degree k - 1 whose other coefficients are random; share i holds its value at i.

Nothing in shares tells whether they belong together: too few of them, or shares of different secrets,
combine to other bytes without an error. So a shared secret needs a checksum of its own, as an age
identity has one. Shares are made and combined once in a lifetime, on a machine that holds the secret, so
the tables below need not hide which of their entries are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

MAX_SHARES: Final = 255
"""The field has no more indexes than these, from 1; at 0 lies the secret."""

_POLYNOMIAL: Final = 0x11B
_GENERATOR_OUTPUTS: Final = 255


@dataclass(frozen=True, slots=True)
class Share:
    """One holder's part of a secret.

    Attributes:
        index: Where the polynomials were evaluated, 1 to 255.
        value: As many bytes as the secret has.
    """

    index: int
    value: bytes = field(repr=False)


def split(
    secret: bytes, threshold: int, shares: int, entropy: Callable[[int], bytes]
) -> list[Share]:
    """Split a secret into shares with the indexes 1, 2, ...

    Args:
        secret: At least one byte.
        threshold: How many shares give it back; at least 2.
        shares: How many to make.
        entropy: Cryptographically secure random bytes.

    Raises:
        ValueError: An empty secret, or not ``2 <= threshold <= shares <= MAX_SHARES``.
    """
    if not secret:
        raise ValueError("an empty secret needs no shares")
    if not 2 <= threshold <= shares <= MAX_SHARES:
        raise ValueError(f"the threshold is at least 2, and of at most {MAX_SHARES} shares")
    coefficients = [secret, *(entropy(len(secret)) for _ in range(threshold - 1))]
    return [
        Share(
            index,
            bytes(_value_at(index, polynomial) for polynomial in zip(*coefficients, strict=True)),
        )
        for index in range(1, shares + 1)
    ]


def combine(shares: Sequence[Share]) -> bytes:
    """The secret that shares were split from, if they are as many as the threshold or more.

    Raises:
        ValueError: No share, two of the same index, an index outside 1 to 255, or values of
            different lengths.
    """
    indexes = [share.index for share in shares]
    if not shares:
        raise ValueError("there are no shares")
    if not all(1 <= index <= MAX_SHARES for index in indexes):
        raise ValueError(f"the index of a share is 1 to {MAX_SHARES}")
    if len(set(indexes)) < len(indexes):
        raise ValueError("two shares have the same index")
    if len({len(share.value) for share in shares}) > 1:
        raise ValueError("the shares are of secrets of different lengths")
    weights = [_weight(index, indexes) for index in indexes]
    secret = bytearray(len(shares[0].value))
    for weight, share in zip(weights, shares, strict=True):
        for position, value in enumerate(share.value):
            secret[position] ^= _multiply(weight, value)
    return bytes(secret)


def _value_at(index: int, polynomial: Sequence[int]) -> int:
    """The value of a polynomial, its lowest coefficient first (Horner's rule)."""
    value = 0
    for coefficient in reversed(polynomial):
        value = _multiply(value, index) ^ coefficient
    return value


def _weight(index: int, indexes: Sequence[int]) -> int:
    """What the value at an index counts for in the value at 0 (Lagrange's basis polynomial)."""
    weight = 1
    for other in indexes:
        if other != index:
            weight = _multiply(weight, _divide(other, other ^ index))
    return weight


def _tables() -> tuple[bytes, bytes]:
    """The powers of 3, which generates the field, and their logarithms."""
    powers = bytearray(2 * _GENERATOR_OUTPUTS)
    logarithms = bytearray(_GENERATOR_OUTPUTS + 1)
    value = 1
    for exponent in range(_GENERATOR_OUTPUTS):
        powers[exponent] = powers[exponent + _GENERATOR_OUTPUTS] = value
        logarithms[value] = exponent
        value ^= value << 1
        if value > _GENERATOR_OUTPUTS:
            value ^= _POLYNOMIAL
    return bytes(powers), bytes(logarithms)


_POWERS, _LOGARITHMS = _tables()


def _multiply(left: int, right: int) -> int:
    if not left or not right:
        return 0
    return _POWERS[_LOGARITHMS[left] + _LOGARITHMS[right]]


def _divide(left: int, right: int) -> int:
    if not left:
        return 0
    return _POWERS[_LOGARITHMS[left] + _GENERATOR_OUTPUTS - _LOGARITHMS[right]]
