"""Secret sharing: the field's published values, and what the scheme promises."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.crypto.shares import MAX_SHARES, Share, combine, split

Entropy = Callable[[int], bytes]


def fixed(coefficients: bytes) -> Entropy:
    """Entropy that hands out these bytes, in order."""
    left = bytearray(coefficients)

    def take(size: int) -> bytes:
        taken = bytes(left[:size])
        del left[:size]
        return taken

    return take


def values(shares: list[Share]) -> list[int]:
    return [share.value[0] for share in shares]


@pytest.mark.parametrize(
    ("points", "secret"),
    [
        # Coda Hale's shamir for Java, GF256Test.interpolate, which is over the same field.
        ([(1, 1), (2, 2), (3, 3)], 0),
        ([(1, 80), (2, 90), (3, 20)], 30),
        ([(1, 43), (2, 22), (3, 86)], 107),
    ],
)
def test_combine_gives_the_published_interpolations(
    points: list[tuple[int, int]], secret: int
) -> None:
    shares = [Share(index, bytes([value])) for index, value in points]
    assert combine(shares) == bytes([secret])


def test_split_multiplies_as_fips_197_does() -> None:
    """A secret of 0 and one coefficient c: share i is c times i. The products of FIPS 197, section 4.2."""
    shares = split(b"\0", 2, MAX_SHARES, fixed(b"\x57"))
    products = {0x02: 0xAE, 0x04: 0x47, 0x08: 0x8E, 0x10: 0x07, 0x13: 0xFE, 0x83: 0xC1}
    assert {index: shares[index - 1].value[0] for index in products} == products


def test_split_evaluates_the_published_polynomial() -> None:
    """Coda Hale's GF256Test.eval: 1 + 0 x + 2 x^2 + 3 x^3 is 17 at 2."""
    assert values(split(b"\1", 4, 4, fixed(b"\0\2\3")))[1] == 17


@given(st.data())
def test_any_quorum_of_shares_gives_the_secret(data: st.DataObject) -> None:
    secret = data.draw(st.binary(min_size=1, max_size=80))
    shares = data.draw(st.integers(2, 12))
    threshold = data.draw(st.integers(2, shares))
    entropy = fixed(data.draw(st.binary(min_size=len(secret) * 11, max_size=len(secret) * 11)))
    made = split(secret, threshold, shares, entropy)
    assert [share.index for share in made] == list(range(1, shares + 1))
    chosen = data.draw(st.permutations(made))
    for count in range(threshold, shares + 1):
        assert combine(chosen[:count]) == secret


@given(st.binary(min_size=1, max_size=1), st.binary(min_size=2, max_size=2))
def test_fewer_shares_than_the_threshold_leave_every_byte_possible(
    secret: bytes, coefficients: bytes
) -> None:
    """For two of three shares and any guess of the secret there is one polynomial that fits all."""
    known = split(secret, 3, 3, fixed(coefficients))[:2]
    third = {combine([*known, Share(3, bytes([value]))])[0] for value in range(256)}
    assert third == set(range(256))


def test_each_secret_gives_a_share_every_value_equally_often() -> None:
    for secret in (b"\0", b"\1", b"\xff"):
        seen = {values(split(secret, 2, 2, fixed(bytes([one]))))[1] for one in range(256)}
        assert seen == set(range(256))


def test_all_255_indexes_work(entropy: Entropy) -> None:
    shares = split(b"the last index", 2, MAX_SHARES, entropy)
    for one, other in itertools.pairwise(shares):
        assert combine([one, other]) == b"the last index"


def test_too_few_shares_give_something_else(entropy: Entropy) -> None:
    secret = b"AGE-SECRET-KEY-1 and a checksum"
    shares = split(secret, 3, 5, entropy)
    for chosen in itertools.chain(
        itertools.combinations(shares, 1), itertools.combinations(shares, 2)
    ):
        assert combine(chosen) != secret


@pytest.mark.parametrize(
    ("shares", "fault"),
    [
        ([], "no shares"),
        ([Share(0, b"a"), Share(1, b"b")], "index of a share"),
        ([Share(256, b"a"), Share(1, b"b")], "index of a share"),
        ([Share(-1, b"a"), Share(1, b"b")], "index of a share"),
        ([Share(2, b"a"), Share(1, b"b"), Share(2, b"a")], "same index"),
        ([Share(1, b"a"), Share(2, b"bc")], "different lengths"),
    ],
)
def test_shares_that_cannot_belong_together_are_refused(shares: list[Share], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        combine(shares)


@pytest.mark.parametrize(
    ("secret", "threshold", "shares"),
    [(b"", 2, 3), (b"s", 1, 3), (b"s", 0, 3), (b"s", 4, 3), (b"s", 2, 256), (b"s", -1, -1)],
)
def test_impossible_splits_are_refused(
    secret: bytes, threshold: int, shares: int, entropy: Entropy
) -> None:
    with pytest.raises(ValueError):
        split(secret, threshold, shares, entropy)


def test_a_share_does_not_show_its_value() -> None:
    assert repr(Share(1, b"secret")) == "Share(index=1)"
