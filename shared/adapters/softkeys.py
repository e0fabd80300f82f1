"""Keys in software, for adapters without a key vault in hardware: RSA-3072 and EC P-256."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.base.errors import Damaged
from shared.ports.keys import KeyUse

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_RSA_BITS: Final = 3_072
_OAEP: Final = padding.OAEP(padding.MGF1(SHA256()), SHA256(), label=None)


def make_private_key(use: KeyUse) -> PrivateKey:
    """A new key; one for wrapping can take a second."""
    if use == "wrap":
        return rsa.generate_private_key(public_exponent=65_537, key_size=_RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1())


def wrap(key: PrivateKey, plaintext: bytes) -> bytes:
    """The plaintext under the key: RSA-OAEP with SHA-256 and MGF1-SHA-256 (RFC 8017).

    Raises:
        ValueError: The key is for signing.
    """
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("This key is for signing, not for wrapping.")
    return key.public_key().encrypt(plaintext, _OAEP)


def unwrap(key: PrivateKey, ciphertext: bytes) -> bytes:
    """Undo ``wrap``.

    Raises:
        Damaged: The ciphertext is not one that this key made.
    """
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Damaged("The wrapped key names a key that wraps nothing.")
    try:
        return key.decrypt(ciphertext, _OAEP)
    except ValueError:
        raise Damaged("The wrapped key is not one that this key made.") from None


def sign(key: PrivateKey, digest: bytes) -> bytes:
    """The ES256 signature of a SHA-256 digest in the raw form of RFC 7518, section 3.4.

    Raises:
        ValueError: The key is for wrapping.
    """
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("This key is for wrapping, not for signing.")
    r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(SHA256()))))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def public_pem(key: PrivateKey) -> bytes:
    """The public key as PEM SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
