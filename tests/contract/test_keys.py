"""KeyVault: every adapter keeps what ``shared.ports.keys`` promises."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from shared.base.errors import Conflict, Damaged, NotFound
from shared.ports.keys import KeyVault, Signature, WrappedKey

pytestmark = pytest.mark.anyio

DIGEST = hashlib.sha256(b"a checkpoint").digest()
OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), label=None)


def verify(public_key: bytes, signature: Signature, digest: bytes) -> None:
    key = load_pem_public_key(public_key)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert len(signature.value) == 64
    r, s = (int.from_bytes(signature.value[at : at + 32], "big") for at in (0, 32))
    key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(SHA256())))


@pytest.mark.parametrize("size", [0, 1, 16, 32, 64])
async def test_what_was_wrapped_is_unwrapped(keys, size):
    version = await keys.vault.create("tenant-a", "wrap")
    plaintext = bytes(range(size))
    wrapped = await keys.vault.wrap("tenant-a", plaintext)
    assert (wrapped.name, wrapped.version) == ("tenant-a", version)
    assert plaintext not in wrapped.ciphertext or size < 2
    assert await keys.vault.unwrap(wrapped) == plaintext


async def test_wrapping_twice_gives_two_ciphertexts(keys):
    await keys.vault.create("tenant-a", "wrap")
    first, second = [await keys.vault.wrap("tenant-a", b"k" * 32) for _ in range(2)]
    assert first.ciphertext != second.ciphertext


async def test_too_much_to_wrap_is_refused(keys):
    await keys.vault.create("tenant-a", "wrap")
    with pytest.raises(ValueError, match="At most 64 bytes"):
        await keys.vault.wrap("tenant-a", bytes(65))


async def test_a_wrap_key_is_rsa_3072_and_others_can_wrap_for_it(keys):
    version = await keys.vault.create("tenant-a", "wrap")
    key = load_pem_public_key(await keys.vault.public_key("tenant-a"))
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 3072
    ciphertext = key.encrypt(b"k" * 32, OAEP)
    assert await keys.vault.unwrap(WrappedKey("tenant-a", version, ciphertext)) == b"k" * 32


async def test_a_sign_key_is_p256_and_its_signatures_verify(keys):
    version = await keys.vault.create("log", "sign")
    public_key = await keys.vault.public_key("log")
    key = load_pem_public_key(public_key)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    signature = await keys.vault.sign("log", DIGEST)
    assert (signature.name, signature.version) == ("log", version)
    verify(public_key, signature, DIGEST)
    with pytest.raises(InvalidSignature):
        verify(public_key, signature, bytes(32))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
async def test_what_is_no_sha256_digest_is_not_signed(keys, size):
    await keys.vault.create("log", "sign")
    with pytest.raises(ValueError, match="has 32 bytes"):
        await keys.vault.sign("log", bytes(size))


async def test_a_key_is_used_only_for_its_use(keys):
    await keys.vault.create("log", "sign")
    with pytest.raises(ValueError, match="for signing, not for wrapping"):
        await keys.vault.wrap("log", b"k")
    await keys.vault.create("tenant", "wrap")
    with pytest.raises(ValueError, match="for wrapping, not for signing"):
        await keys.vault.sign("tenant", DIGEST)


async def test_create_again_gives_the_current_version(keys):
    first = await keys.vault.create("log", "sign")
    assert await keys.vault.create("log", "sign") == first
    second = await keys.vault.rotate("log")
    assert second != first
    assert await keys.vault.create("log", "sign") == second


async def test_create_for_another_use_conflicts(keys):
    await keys.vault.create("log", "sign")
    with pytest.raises(Conflict):
        await keys.vault.create("log", "wrap")
    verify(await keys.vault.public_key("log"), await keys.vault.sign("log", DIGEST), DIGEST)


async def test_concurrent_creates_agree_on_one_version(keys):
    versions = await asyncio.gather(*(keys.vault.create("log", "sign") for _ in range(10)))
    assert len(set(versions)) == 1
    signature = await keys.vault.sign("log", DIGEST)
    assert signature.version == versions[0]


async def test_concurrent_rotations_all_count(keys):
    first = await keys.vault.create("log", "sign")
    versions = await asyncio.gather(*(keys.vault.rotate("log") for _ in range(10)))
    assert len({first, *versions}) == 11
    for version in (first, *versions):
        assert b"BEGIN PUBLIC KEY" in await keys.vault.public_key("log", version)


async def test_after_rotation_old_versions_still_unwrap(keys):
    first = await keys.vault.create("tenant-a", "wrap")
    old = await keys.vault.wrap("tenant-a", b"old")
    second = await keys.vault.rotate("tenant-a")
    new = await keys.vault.wrap("tenant-a", b"new")
    assert (old.version, new.version) == (first, second)
    assert await keys.vault.unwrap(old) == b"old"
    assert await keys.vault.unwrap(new) == b"new"
    with pytest.raises(Damaged):
        await keys.vault.unwrap(replace(old, version=second))


async def test_after_rotation_old_signatures_still_verify(keys):
    first = await keys.vault.create("log", "sign")
    before = await keys.vault.sign("log", DIGEST)
    second = await keys.vault.rotate("log")
    after = await keys.vault.sign("log", DIGEST)
    assert (before.version, after.version) == (first, second)
    verify(await keys.vault.public_key("log", first), before, DIGEST)
    verify(await keys.vault.public_key("log"), after, DIGEST)
    with pytest.raises(InvalidSignature):
        verify(await keys.vault.public_key("log", second), before, DIGEST)


async def test_a_changed_ciphertext_is_damaged(keys):
    await keys.vault.create("tenant-a", "wrap")
    good = await keys.vault.wrap("tenant-a", b"k" * 32)
    flipped = [
        good.ciphertext[:at] + bytes([good.ciphertext[at] ^ 1]) + good.ciphertext[at + 1 :]
        for at in (0, 100, len(good.ciphertext) - 1)
    ]
    for bad in (*flipped, b"", b"x", good.ciphertext[:-1], good.ciphertext + b"x", bytes(384)):
        with pytest.raises(Damaged):
            await keys.vault.unwrap(replace(good, ciphertext=bad))


async def test_a_key_does_not_unwrap_what_another_wrapped(keys):
    await keys.vault.create("tenant-a", "wrap")
    version = await keys.vault.create("tenant-b", "wrap")
    wrapped = await keys.vault.wrap("tenant-a", b"k" * 32)
    with pytest.raises(Damaged):
        await keys.vault.unwrap(replace(wrapped, name="tenant-b", version=version))
    with pytest.raises(NotFound):
        await keys.vault.unwrap(replace(wrapped, name="tenant-b"))


async def nothing_left(vault: KeyVault, name: str, version: str) -> None:
    for call in (
        vault.wrap(name, b"k"),
        vault.unwrap(WrappedKey(name, version, bytes(384))),
        vault.sign(name, DIGEST),
        vault.public_key(name),
        vault.public_key(name, version),
        vault.rotate(name),
    ):
        with pytest.raises(NotFound):
            await call


async def test_what_is_missing_is_not_found(keys):
    await nothing_left(keys.vault, "no-such-key", "0" * 32)
    await keys.vault.create("log", "sign")
    with pytest.raises(NotFound):
        await keys.vault.public_key("log", "0" * 32)


@pytest.mark.parametrize("use", ["wrap", "sign"])
async def test_destroy_is_for_good(keys, use):
    version = await keys.vault.create("doomed", use)
    await keys.vault.rotate("doomed")
    await keys.vault.create("other", "sign")
    await keys.vault.destroy("doomed")
    await nothing_left(keys.vault, "doomed", version)
    for again in ("wrap", "sign"):
        with pytest.raises(Conflict):
            await keys.vault.create("doomed", again)
    await keys.vault.destroy("doomed")
    await nothing_left(await keys.reopen(), "doomed", version)
    verify(await keys.vault.public_key("other"), await keys.vault.sign("other", DIGEST), DIGEST)


async def test_destroying_what_is_missing_does_nothing(keys):
    await keys.vault.destroy("no-such-key")
    await keys.vault.create("no-such-key", "sign")


async def test_keys_survive_the_process(keys):
    await keys.vault.create("tenant-a", "wrap")
    await keys.vault.create("log", "sign")
    wrapped = await keys.vault.wrap("tenant-a", b"k" * 32)
    signature = await keys.vault.sign("log", DIGEST)
    again = await keys.reopen()
    assert await again.unwrap(wrapped) == b"k" * 32
    verify(await again.public_key("log", signature.version), signature, DIGEST)
    assert await again.create("tenant-a", "wrap") == wrapped.version


@pytest.mark.parametrize(
    "name", ["", "A", "a_b", "a.b", "a/b", "../a", "a b", "é", "a\n", "a" * 128, "\x00"]
)
async def test_names_that_are_refused(keys, name):
    for call in (
        keys.vault.create(name, "sign"),
        keys.vault.wrap(name, b"k"),
        keys.vault.unwrap(WrappedKey(name, "0" * 32, bytes(384))),
        keys.vault.sign(name, DIGEST),
        keys.vault.public_key(name),
        keys.vault.rotate(name),
        keys.vault.destroy(name),
    ):
        with pytest.raises(ValueError, match="key's name must be"):
            await call


@pytest.mark.parametrize("name", ["a", "0", "-", "vault", "a" * 127])
async def test_names_that_are_allowed(keys, name):
    await keys.vault.create(name, "sign")
    verify(await keys.vault.public_key(name), await keys.vault.sign(name, DIGEST), DIGEST)
