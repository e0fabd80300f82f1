"""The files of an embedded key vault, and the sealing of what is in them.

    vault.json          how the root is made, and a value by which a wrong root is noticed
    keys/{name}.json    a key: its use and versions, each private key sealed; none once destroyed

A private key is PKCS #8 DER under AES-256-GCM: 12 bytes of nonce, ciphertext, 16 bytes of tag. Its
sealing key is derived from the root for it alone, and the associated data is the key's name, use
and version. Public keys are not stored: one that was exchanged would let somebody else unwrap.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.adapters.embedded.roots import Argon2Parameters
from shared.adapters.softkeys import PrivateKey
from shared.base.errors import Damaged
from shared.ports.clock import Entropy
from shared.ports.keys import KeyUse

_NONCE_BYTES = 12


class _File(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64"
    )

    format: Literal[1] = 1

    def encode(self) -> bytes:
        """The file's content."""
        return self.model_dump_json(indent=1).encode()

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Read what ``encode`` wrote.

        Raises:
            Damaged: The content is not what ``encode`` wrote.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError:
            raise Damaged("A file of the key vault is damaged; restore it from a backup.") from None


class VaultFile(_File):
    """What a vault needs to find and recognise its root."""

    argon2id: Argon2Parameters | None
    check: bytes


class KeyVersion(BaseModel):
    """One version of a key, its private part sealed."""

    model_config = _File.model_config

    version: str
    created_at: datetime
    sealed: bytes


class KeyFile(_File):
    """A key with all of its versions, the current one last; none once it is destroyed."""

    name: str
    use: KeyUse
    versions: tuple[KeyVersion, ...]


def derive_key(root: bytes, label: str) -> bytes:
    """32 bytes for one purpose: HKDF-SHA256 (RFC 5869) of the root, the label in its info."""
    info = f"strongroom/vault/1/{label}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(root)


def seal_private_key(
    root: bytes, name: str, use: KeyUse, version: str, key: PrivateKey, entropy: Entropy
) -> bytes:
    """A private key as a key file holds it."""
    plaintext = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    nonce = entropy(_NONCE_BYTES)
    sealing_key = derive_key(root, f"private-key/{name}/{version}")
    return nonce + AESGCM(sealing_key).encrypt(nonce, plaintext, _associated(name, use, version))


def open_private_key(root: bytes, name: str, use: KeyUse, stored: KeyVersion) -> PrivateKey:
    """Undo ``seal_private_key``.

    Raises:
        Damaged: The sealed key is not one that was stored here under this name.
    """
    nonce, ciphertext = stored.sealed[:_NONCE_BYTES], stored.sealed[_NONCE_BYTES:]
    sealing_key = derive_key(root, f"private-key/{name}/{stored.version}")
    associated = _associated(name, use, stored.version)
    try:
        plaintext = AESGCM(sealing_key).decrypt(nonce, ciphertext, associated)
    except (InvalidTag, ValueError):
        raise Damaged("A key in the key vault is damaged; restore it from a backup.") from None
    # The tag proves that these are the bytes of a key that was made here.
    key = load_der_private_key(plaintext, password=None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, PrivateKey):
        raise TypeError("only RSA and EC keys are ever sealed")
    return key


def _associated(name: str, use: KeyUse, version: str) -> bytes:
    return f"{name}/{use}/{version}".encode()
