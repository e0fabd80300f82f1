"""Digests of sealed content: today's and that of earlier releases, each told from the other."""

from __future__ import annotations

import hashlib

import pytest

from shared.crypto.sealed_digests import ALGORITHM, Algorithm, SealedDigest, new_hasher

SEALED = bytes(range(251)) * 9

# From the test vectors of BLAKE3: this pattern, cut to 1,025 bytes.
BLAKE3_OF_1025 = "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"


def test_blake3_is_the_published_one() -> None:
    hasher = new_hasher()
    hasher.update(SEALED[:1_024])
    hasher.update(memoryview(SEALED)[1_024:1_025])
    assert (ALGORITHM, hasher.digest().hex()) == ("blake3", BLAKE3_OF_1025)


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [
        ("blake3", bytes.fromhex(BLAKE3_OF_1025)),
        ("sha256", hashlib.sha256(SEALED[:1_025]).digest()),
    ],
)
def test_a_digest_is_that_of_the_same_bytes_alone(algorithm: Algorithm, value: bytes) -> None:
    digest = SealedDigest(algorithm, value)
    assert digest.matches(SEALED[:1_025])
    assert not digest.matches(SEALED[:1_024])
    assert not digest.matches(SEALED[1:1_026])

    check = digest.check()
    for start in range(0, 1_025, 100):
        assert not check.passed
        check.update(SEALED[start : min(start + 100, 1_025)])
    assert check.passed


def test_the_digest_of_one_algorithm_is_not_taken_for_that_of_the_other() -> None:
    assert not SealedDigest("blake3", hashlib.sha256(SEALED).digest()).matches(SEALED)
    assert not SealedDigest("sha256", bytes.fromhex(BLAKE3_OF_1025)).matches(SEALED[:1_025])
