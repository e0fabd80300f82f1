import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.base.errors import Damaged
from shared.crypto.metadata import metadata_associated_data, open_metadata, seal_metadata

EPOCH_KEY = bytes(range(32))
BOUND_TO = metadata_associated_data("production", "ten_1", "document", "doc_1")
VALUE = {"name": "Müller & Söhne, 契約.pdf", "size": 12, "custom": {"a": [1, 2.5, None, True]}}
SEALED = seal_metadata(EPOCH_KEY, BOUND_TO, VALUE, lambda size: bytes(range(size)))

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # A lone surrogate can come out of JSON, and must not break sealing.
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_open_undoes_seal(value):
    sealed = seal_metadata(EPOCH_KEY, BOUND_TO, value, lambda size: bytes(range(size)))
    assert open_metadata(EPOCH_KEY, BOUND_TO, sealed) == value


@given(st.text(max_size=60))
def test_the_size_tells_little(name):
    sealed = seal_metadata(EPOCH_KEY, BOUND_TO, {"name": name}, bytes)
    assert (len(sealed) - 1 - 12 - 16) % 128 == 0


def test_names_of_different_lengths_seal_to_the_same_size():
    sizes = {
        len(seal_metadata(EPOCH_KEY, BOUND_TO, {"name": "x" * size}, bytes)) for size in range(100)
    }
    assert sizes == {1 + 12 + 128 + 16}


def test_each_sealing_has_a_nonce_of_its_own(entropy):
    first, second = (seal_metadata(EPOCH_KEY, BOUND_TO, VALUE, entropy) for _ in range(2))
    assert first[1:13] != second[1:13]
    assert first[13:] != second[13:]


def test_every_flipped_bit_is_refused():
    for bit in range(len(SEALED) * 8):
        mutated = bytearray(SEALED)
        mutated[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged):
            open_metadata(EPOCH_KEY, BOUND_TO, bytes(mutated))


def test_every_truncation_and_extension_is_refused():
    for sealed in (*(SEALED[:size] for size in range(len(SEALED))), SEALED + b"\0", SEALED * 2):
        with pytest.raises(Damaged):
            open_metadata(EPOCH_KEY, BOUND_TO, sealed)


@settings(max_examples=1_000)
@given(st.binary(max_size=300))
def test_noise_is_refused(sealed):
    for candidate in (sealed, b"\x01" + sealed):
        with pytest.raises(Damaged):
            open_metadata(EPOCH_KEY, BOUND_TO, candidate)


@given(st.binary(min_size=32, max_size=32))
def test_a_foreign_key_is_refused(epoch_key):
    assume(epoch_key != EPOCH_KEY)
    with pytest.raises(Damaged):
        open_metadata(epoch_key, BOUND_TO, SEALED)


@pytest.mark.parametrize(
    "parts",
    [
        ("development", "ten_1", "document", "doc_1"),
        ("production", "ten_2", "document", "doc_1"),
        ("production", "ten_1", "upload", "doc_1"),
        ("production", "ten_1", "document", "doc_2"),
    ],
)
def test_metadata_opens_only_in_its_own_record(parts):
    with pytest.raises(Damaged):
        open_metadata(EPOCH_KEY, metadata_associated_data(*parts), SEALED)


@pytest.mark.parametrize("plaintext", [b"[]", b"1", b"null", b"", b"{", b"\xff", b'{"a":1}}'])
def test_what_is_no_json_object_is_refused_even_if_authentic(plaintext):
    key = HKDF(SHA256(), 32, salt=None, info=b"strongroom/metadata/1").derive(EPOCH_KEY)
    sealed = b"\x01" + bytes(12) + AESGCM(key).encrypt(bytes(12), plaintext, BOUND_TO)
    with pytest.raises(Damaged):
        open_metadata(EPOCH_KEY, BOUND_TO, sealed)


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": float("inf")}])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(ValueError, match="JSON"):
        seal_metadata(EPOCH_KEY, BOUND_TO, value, bytes)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_keys_of_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="32 bytes"):
        seal_metadata(bytes(size), BOUND_TO, VALUE, bytes)
    with pytest.raises(ValueError, match="32 bytes"):
        open_metadata(bytes(size), BOUND_TO, SEALED)


def test_metadata_is_bound_to_environment_tenant_kind_and_id():
    assert BOUND_TO == b"strongroom/metadata/1/production/ten_1/document/doc_1"
    with pytest.raises(ValueError, match="identifier"):
        metadata_associated_data("production", "ten_1/document", "doc_1", "x/y")
