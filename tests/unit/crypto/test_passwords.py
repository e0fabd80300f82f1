import statistics
import time
import unicodedata

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from shared.base.errors import InvalidInput
from shared.crypto.passwords import (
    DUMMY_HASH,
    check_new_password,
    hash_password,
    needs_rehash,
    temporary_password,
    verify_password,
)

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def stored() -> str:
    return hash_password(PASSWORD, lambda size: bytes(range(size)))


def test_argon2id_gives_the_vector_of_rfc_9106_section_5_3():
    tag = Argon2id(
        salt=bytes([2] * 16),
        length=32,
        iterations=3,
        lanes=4,
        memory_cost=32,
        ad=bytes([4] * 12),
        secret=bytes([3] * 8),
    ).derive(bytes([1] * 32))
    assert tag.hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"


def test_a_hash_verifies_its_password_alone(stored):
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    assert verify_password(PASSWORD, stored)
    for wrong in ("", PASSWORD + " ", PASSWORD[:-1], PASSWORD.upper(), "x" * 257, "\ud800"):
        assert not verify_password(wrong, stored)


def test_a_password_longer_than_any_that_can_be_chosen_fits_nothing(entropy):
    # Normalising is slow for some long texts, so they are refused by their length alone.
    assert not verify_password("x" * 257, hash_password("x" * 257, entropy))


def test_hashes_of_one_password_differ(entropy, stored):
    other = hash_password(PASSWORD, entropy)
    assert other != stored
    assert verify_password(PASSWORD, other)


def test_ways_to_type_the_same_characters_are_one_password(entropy):
    typed = "Ångström ﬁle ½ éé"
    stored = hash_password(typed, entropy)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert verify_password(unicodedata.normalize(form, typed), stored)


@pytest.mark.parametrize(
    "phc",
    [
        "",
        "x",
        "$argon2id$",
        "$argon2i$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43,
        "$argon2id$v=16$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43,
        "$argon2id$v=19$m=0,t=0,p=0$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43,
        "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$",
        "$argon2id$v=19$m=65536,t=3,p=1$AA$" + "A" * 43,
        "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAB$" + "A" * 43,
        # What would take all memory, or all day, is refused before it is tried.
        "$argon2id$v=19$m=4294967295,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43,
        "$argon2id$v=19$m=65536,t=4294967295,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43,
        "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43 + "\n",
        "\ud800",
    ],
)
def test_what_is_no_hash_of_ours_fits_no_password(phc):
    assert not verify_password(PASSWORD, phc)
    assert not verify_password("", phc)


def test_a_hash_with_other_parameters_verifies_and_needs_a_rehash(stored):
    weaker = Argon2id(
        salt=bytes(16), length=32, iterations=2, lanes=1, memory_cost=19_456
    ).derive_phc_encoded(PASSWORD.encode())
    assert verify_password(PASSWORD, weaker)
    assert needs_rehash(weaker)
    assert needs_rehash("sha256:from elsewhere")
    assert not needs_rehash(stored)


def test_an_unknown_user_costs_what_a_known_one_costs(stored):
    assert not needs_rehash(DUMMY_HASH)
    assert len(DUMMY_HASH) == len(stored)

    def cost(phc: str) -> float:
        taken = []
        for _ in range(5):
            begin = time.thread_time()
            assert not verify_password("a wrong password", phc)
            taken.append(time.thread_time() - begin)
        return statistics.median(taken)

    assert 0.5 < cost(DUMMY_HASH) / cost(stored) < 2


@pytest.mark.parametrize(
    "password", ["x" * 12, "x" * 256, "twelve chars", "пароль пароль", "密" * 12, "🔐" * 12]
)
def test_long_enough_text_is_a_password(password):
    check_new_password(password)


@pytest.mark.parametrize("password", ["", "x" * 11, "x" * 257])
def test_other_lengths_are_refused(password):
    with pytest.raises(InvalidInput, match="12 to 256 characters"):
        check_new_password(password)


@pytest.mark.parametrize("character", ["\0", "\n", "\x7f", "\ud800", "\U0005ffff", "\u0378"])
def test_what_is_not_printable_text_is_refused(character):
    password = "long enough in itself" + character
    with pytest.raises(InvalidInput, match="printable") as refusal:
        check_new_password(password)
    assert password not in refusal.value.detail


def test_temporary_passwords_are_readable_and_long_enough(entropy):
    passwords = {temporary_password(entropy) for _ in range(1_000)}
    assert len(passwords) == 1_000
    for password in passwords:
        groups = password.split("-")
        assert [len(group) for group in groups] == [4] * 6
        assert not set("ilouABC") & set(password)
        check_new_password(password)


def test_temporary_passwords_use_all_of_the_entropy():
    assert temporary_password(lambda size: bytes(size)) == "-".join(["0000"] * 6)
    assert temporary_password(lambda size: b"\xff" * size) == "-".join(["zzzz"] * 6)
    made = {
        temporary_password(lambda size, bit=bit: (1 << bit).to_bytes(size, "big"))  # type: ignore[misc]
        for bit in range(120)
    }
    assert len(made) == 120
