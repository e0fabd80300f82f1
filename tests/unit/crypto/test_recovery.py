"""Recovery keys: whom the files of an independent copy are for."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pyrage
import pytest

from shared.crypto.recovery import (
    MAX_HOLDERS,
    canonical_recipient,
    encrypt_to,
    make_recovery_keys,
)
from shared.crypto.shares import combine

Entropy = Callable[[int], bytes]

IDENTITIES = [pyrage.x25519.Identity.generate() for _ in range(4)]
HOLDERS = [str(identity.to_public()) for identity in IDENTITIES]


def test_each_of_several_holders_opens_a_file_without_the_others(entropy: Entropy) -> None:
    keys = make_recovery_keys(HOLDERS, 1, entropy)
    assert (keys.recipients, keys.shares) == (tuple(HOLDERS), ())
    file = encrypt_to(keys.recipients, b"a data key")
    assert file.startswith(b"age-encryption.org/v1\n")
    for identity in IDENTITIES:
        assert pyrage.decrypt(file, [identity]) == b"a data key"


def test_a_quorum_opens_a_file_and_no_single_holder_does(entropy: Entropy) -> None:
    keys = make_recovery_keys(HOLDERS, 3, entropy)
    file = encrypt_to(keys.recipients, b"a data key")
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(file, IDENTITIES)
    for quorum in itertools.combinations(keys.shares, 3):
        identity = pyrage.x25519.Identity.from_str(combine(quorum).decode())
        assert pyrage.decrypt(file, [identity]) == b"a data key"


def test_too_few_shares_are_refused_by_the_checksum_of_the_identity(entropy: Entropy) -> None:
    shares = make_recovery_keys(HOLDERS, 3, entropy).shares
    with pytest.raises((UnicodeDecodeError, pyrage.IdentityError)):
        pyrage.x25519.Identity.from_str(combine(shares[:2]).decode())


def test_every_quorum_has_an_identity_of_its_own(entropy: Entropy) -> None:
    made = {make_recovery_keys(HOLDERS, 2, entropy).recipients for _ in range(3)}
    assert len(made) == 3
    assert not made & {(holder,) for holder in HOLDERS}


@pytest.mark.parametrize(
    ("holders", "quorum"),
    [
        ([], 0),
        ([], 1),
        (HOLDERS, 0),
        (HOLDERS, 5),
        ([HOLDERS[0], HOLDERS[0]], 1),
        ([f"age1{number}" for number in range(MAX_HOLDERS + 1)], 2),
    ],
)
def test_impossible_quorums_are_refused(holders: list[str], quorum: int, entropy: Entropy) -> None:
    with pytest.raises(ValueError):
        make_recovery_keys(holders, quorum, entropy)


def test_a_recipient_has_one_spelling() -> None:
    assert canonical_recipient(HOLDERS[0].upper()) == canonical_recipient(HOLDERS[0]) == HOLDERS[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "age1",
        HOLDERS[0][:-1],
        HOLDERS[0][:-1] + ("q" if HOLDERS[0][-1] != "q" else "p"),
        str(IDENTITIES[0]),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN",
        "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
    ],
    # The keys are new in every process that collects the tests.
    ids=["empty", "no key", "cut short", "changed", "an identity", "ssh", "a plugin's"],
)
def test_what_is_not_an_x25519_recipient_is_refused_without_repeating_an_identity(
    text: str,
) -> None:
    with pytest.raises(ValueError, match="X25519") as refusal:
        canonical_recipient(text)
    assert str(IDENTITIES[0]) not in str(refusal.value)
    with pytest.raises(ValueError):
        encrypt_to([text], b"")


def test_a_file_is_for_somebody() -> None:
    with pytest.raises(ValueError, match="for somebody"):
        encrypt_to([], b"a data key")
