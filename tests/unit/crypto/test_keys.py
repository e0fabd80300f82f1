import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.base.errors import Damaged
from shared.crypto.keys import content_associated_data, unwrap_key, wrap_key

EPOCH_KEY = bytes(range(32))
DATA_KEY = bytes(range(100, 132))
WRAPPED = wrap_key(EPOCH_KEY, DATA_KEY)

keys = st.binary(min_size=32, max_size=32)


def test_wrap_gives_the_256_bit_vector_of_rfc_3394_section_4_6():
    data_key = bytes.fromhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
    wrapped = bytes.fromhex(
        "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"
    )
    assert wrap_key(EPOCH_KEY, data_key) == wrapped
    assert unwrap_key(EPOCH_KEY, wrapped) == data_key


@given(keys, keys)
def test_unwrap_undoes_wrap(epoch_key, data_key):
    wrapped = wrap_key(epoch_key, data_key)
    assert len(wrapped) == 40
    assert unwrap_key(epoch_key, wrapped) == data_key


def test_every_flipped_bit_is_refused():
    for bit in range(len(WRAPPED) * 8):
        mutated = bytearray(WRAPPED)
        mutated[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged):
            unwrap_key(EPOCH_KEY, bytes(mutated))


@settings(max_examples=1_000)
@given(st.binary(max_size=80))
def test_noise_is_refused(wrapped):
    with pytest.raises(Damaged):
        unwrap_key(EPOCH_KEY, wrapped)


def test_a_shorter_key_that_unwraps_is_refused():
    # RFC 3394 wraps any multiple of 8 bytes; a 16-byte key in place of ours is still not ours.
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap

    with pytest.raises(Damaged):
        unwrap_key(EPOCH_KEY, aes_key_wrap(EPOCH_KEY, bytes(16)))


@given(keys)
def test_a_foreign_epoch_key_is_refused(epoch_key):
    assume(epoch_key != EPOCH_KEY)
    with pytest.raises(Damaged) as refusal:
        unwrap_key(epoch_key, WRAPPED)
    assert epoch_key.hex() not in repr(refusal.value)


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_keys_of_other_sizes_are_refused(size):
    for call in (
        lambda: wrap_key(bytes(size), DATA_KEY),
        lambda: wrap_key(EPOCH_KEY, bytes(size)),
        lambda: unwrap_key(bytes(size), WRAPPED),
    ):
        with pytest.raises(ValueError, match="32 bytes"):
            call()


def test_content_is_bound_to_environment_tenant_document_and_version():
    bound_to = content_associated_data("production", "ten_01jd", "doc_01je", 3)
    assert bound_to == b"strongroom/content/1/production/ten_01jd/doc_01je/3"


@pytest.mark.parametrize("part", ["", "a/b", "A", "a b", "ä", "a\n", "..", "a\x00", "٣"])
def test_ambiguous_parts_are_refused(part):
    for parts in [(part, "ten", "doc"), ("env", part, "doc"), ("env", "ten", part)]:
        with pytest.raises(ValueError, match="identifier"):
            content_associated_data(*parts, 1)
