"""Signed notes (c2sp.org/signed-note) and the cosignatures of checkpoints (c2sp.org/tlog-cosignature).

A key's name and its key id say which signature is its own; signatures of unknown keys say nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from shared.crypto.cosignatures import TIME_SIZE, cosignature_v1_message, ml_dsa_44_message
from shared.crypto.notation import from_base64, to_base64

MAX_SIGNATURES: Final = 100
"""Signatures of a note at most, as in Go's sumdb/note."""

_SIGNATURE_LINE: Final = "\u2014 "  # an em dash and a space
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_ID_SIZE: Final = 4


class NoteError(ValueError):
    """A note, a key or a signature is malformed or does not verify; the message says which and why."""


class SignatureType(IntEnum):
    """How a key signs: the type byte of signed-note."""

    ED25519 = 0x01
    ECDSA = 0x02
    COSIGNATURE_V1 = 0x04
    ML_DSA_44 = 0x06


_PUBLIC_KEY_SIZES: Final = {
    SignatureType.ED25519: 32,
    SignatureType.COSIGNATURE_V1: 32,
    SignatureType.ML_DSA_44: 1312,
}
_COSIGNATURE_SIZES: Final = {
    SignatureType.COSIGNATURE_V1: TIME_SIZE + 64,
    SignatureType.ML_DSA_44: TIME_SIZE + 2420,
}


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """A signature of a note, not yet verified.

    Attributes:
        name: Of the key.
        key_id: Of the key, an unsigned 32-bit number; together with the name it tells which key.
        signature: The bytes, whose form depends on the key's type.
    """

    name: str
    key_id: int
    signature: bytes

    def encode(self) -> str:
        """The line of a note, without its end."""
        data = self.key_id.to_bytes(_KEY_ID_SIZE) + self.signature
        return f"{_SIGNATURE_LINE}{self.name} {to_base64(data)}"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name: who signs, and how.

    Attributes:
        name: Without spaces and plus signs.
        type: How it signs.
        public_key: For ECDSA, DER of the SubjectPublicKeyInfo of a P-256 key; else the raw bytes.
    """

    name: str
    type: SignatureType
    public_key: bytes

    def __post_init__(self) -> None:
        """Check the name and the public key.

        Raises:
            NoteError: One of them is not valid.
        """
        _check_name(self.name)
        if self.type is SignatureType.ECDSA:
            _load_p256(self.public_key)
        elif len(self.public_key) != _PUBLIC_KEY_SIZES[self.type]:
            raise NoteError(f"the public key of {self.name} has a wrong size")

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key of a *vkey*, ``<name>+<key id in hex>+<base64 of type and public key>``.

        Raises:
            NoteError: The text is not a vkey, or its type is not one of ``SignatureType``.
        """
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            data = from_base64(encoded)
            signature_type = SignatureType(data[0])
        except (IndexError, ValueError):
            raise NoteError("not a vkey, or of an unknown type: <name>+<key id>+<base64>") from None
        key = cls(name, signature_type, data[1:])
        if f"{key.key_id:08x}" != key_id:
            raise NoteError(f"the key id of {name} is {key.key_id:08x}, not what the vkey says")
        return key

    def __str__(self) -> str:
        """The vkey."""
        return f"{self.name}+{self.key_id:08x}+{to_base64(bytes([self.type]) + self.public_key)}"

    @property
    def key_id(self) -> int:
        """The first 4 bytes of a SHA-256: of name and key, and for ECDSA of the key alone."""
        data = self.public_key
        if self.type is not SignatureType.ECDSA:
            data = self.name.encode() + b"\n" + bytes([self.type]) + data
        return int.from_bytes(hashlib.sha256(data).digest()[:_KEY_ID_SIZE], "big")

    def made(self, signature: NoteSignature) -> bool:
        """Whether a signature says that it is this key's."""
        return (signature.name, signature.key_id) == (self.name, self.key_id)

    def verify(self, text: str, signature: bytes) -> None:
        """Check a signature of a text, which for cosignatures is a checkpoint.

        Args:
            text: Of the note, with its final newline.
            signature: As in ``NoteSignature``.

        Raises:
            NoteError: The signature is not one of this text by this key.
        """
        try:
            match self.type:
                case SignatureType.ED25519:
                    key = Ed25519PublicKey.from_public_bytes(self.public_key)
                    key.verify(signature, text.encode())
                case SignatureType.ECDSA:
                    p256 = _load_p256(self.public_key)
                    p256.verify(signature, text.encode(), ec.ECDSA(hashes.SHA256()))
                case SignatureType.COSIGNATURE_V1:
                    message = cosignature_v1_message(text, self.cosigned_at(signature))
                    key = Ed25519PublicKey.from_public_bytes(self.public_key)
                    key.verify(signature[TIME_SIZE:], message)
                case SignatureType.ML_DSA_44:
                    message = ml_dsa_44_message(self.name, text, self.cosigned_at(signature))
                    MLDSA44PublicKey.from_public_bytes(self.public_key).verify(
                        signature[TIME_SIZE:], message
                    )
        except (InvalidSignature, ValueError) as error:
            reason = f": {error}" if str(error) else ""
            raise NoteError(f"the signature by {self.name} is invalid{reason}") from None

    def cosigned_at(self, signature: bytes) -> int:
        """When a cosignature was made: POSIX time in seconds; 0 where it makes no statement of it.

        Raises:
            NoteError: It is not a cosignature of this key's type.
        """
        if len(signature) != _COSIGNATURE_SIZES.get(self.type):
            raise NoteError("not a cosignature, whose size is fixed")
        return int.from_bytes(signature[:TIME_SIZE], "big")


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures, which are not yet verified.

    Attributes:
        text: With its final newline.
        signatures: In the order of the note.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        return "\n".join([self.text, *(one.encode() for one in self.signatures), ""]).encode()

    def verified_by(self, keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
        """Verify every signature by one of the keys.

        Returns:
            The keys that signed, in the order of ``keys``.

        Raises:
            NoteError: A signature by one of the keys is invalid.
        """
        signed = []
        for key in dict.fromkeys(keys):
            own = [one.signature for one in self.signatures if key.made(one)]
            for signature in own:
                key.verify(self.text, signature)
            if own:
                signed.append(key)
        return tuple(signed)


def parse_note(data: bytes) -> Note:
    """The note of some bytes; it encodes into the same bytes again.

    Raises:
        NoteError: The bytes are not a signed note.
    """
    try:
        message = data.decode("utf-8")
    except UnicodeDecodeError:
        raise NoteError("the note is not UTF-8") from None
    if _CONTROL.search(message):
        raise NoteError("the note has control characters")
    text, found, block = message.rpartition("\n\n")
    if not found or not block.endswith("\n"):
        raise NoteError("the note has no signatures after its last empty line, or ends within one")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"the note has more than {MAX_SIGNATURES} signatures")
    return Note(f"{text}\n", tuple(parse_signature(line) for line in lines))


def parse_signature(line: str) -> NoteSignature:
    """The signature of a note's line without its end, which is also what a witness responds with.

    Raises:
        NoteError: The line is not a signature.
    """
    name, _, encoded = line.removeprefix(_SIGNATURE_LINE).partition(" ")
    try:
        data = from_base64(encoded)
    except ValueError:
        data = b""
    if not line.startswith(_SIGNATURE_LINE) or len(data) <= _KEY_ID_SIZE:
        raise NoteError("a line below the note's text is not a signature")
    _check_name(name)
    key_id = int.from_bytes(data[:_KEY_ID_SIZE], "big")
    return NoteSignature(name, key_id, data[_KEY_ID_SIZE:])


def sign_ed25519(key: Ed25519PrivateKey, name: str, text: str) -> NoteSignature:
    """Sign a text (type 0x01)."""
    verifier = VerifierKey(name, SignatureType.ED25519, key.public_key().public_bytes_raw())
    return NoteSignature(name, verifier.key_id, key.sign(text.encode()))


def cosign_ml_dsa_44(key: MLDSA44PrivateKey, name: str, text: str, at: int) -> NoteSignature:
    """Cosign a checkpoint (ML-DSA-44, type 0x06) at a POSIX time in seconds, or 0 to state none."""
    verifier = VerifierKey(name, SignatureType.ML_DSA_44, key.public_key().public_bytes_raw())
    signature = key.sign(ml_dsa_44_message(name, text, at))
    return NoteSignature(name, verifier.key_id, at.to_bytes(TIME_SIZE, "big") + signature)


def ecdsa_digest(text: str) -> bytes:
    """What a P-256 key elsewhere, such as in a key vault, signs for a text (type 0x02): its SHA-256."""
    return hashlib.sha256(text.encode()).digest()


def ecdsa_signature(name: str, spki_der: bytes, der_signature: bytes) -> NoteSignature:
    """The signature that a P-256 key made of ``ecdsa_digest``.

    Args:
        name: Of the key.
        spki_der: The public key, as in ``VerifierKey``.
        der_signature: The signature, DER encoding of its two integers.
    """
    verifier = VerifierKey(name, SignatureType.ECDSA, spki_der)
    return NoteSignature(name, verifier.key_id, der_signature)


def _check_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() for character in name):
        raise NoteError("a key's name is empty, or has spaces or plus signs")


def _load_p256(spki_der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_der_public_key(spki_der)
    except (ValueError, TypeError):
        raise NoteError("not the DER encoding of a public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != ec.SECP256R1.name:
        raise NoteError("not a public key of P-256")
    return key
