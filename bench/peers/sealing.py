"""What seals and opens beside Strongroom: algorithms alone, and libraries as their manuals show them."""

import hashlib
import io
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import aws_encryption_sdk
import pyrage
from aws_encryption_sdk.identifiers import (
    Algorithm,
    CommitmentPolicy,
    EncryptionKeyType,
    WrappingAlgorithm,
)
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKey
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tink import new_keyset_handle, streaming_aead

MEBIBYTE = 1_048_576
BUFFER = 16 * MEBIBYTE
BOUND_TO = b"strongroom/content/1/production/ten_1/doc_1/1"


class Sink(io.RawIOBase):
    """Takes everything, keeps nothing but the count."""

    taken = 0

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.taken += len(data)
        return len(data)


class Kept(io.BytesIO):
    """Keeps what was written when Tink closes it."""

    def close(self) -> None:
        self.content = self.getvalue()
        super().close()


@dataclass(frozen=True)
class Contender:
    """``seal`` and ``open`` take the whole content through and return how many bytes came out."""

    name: str
    seal: Callable[[], int]
    open: Callable[[], int] | None


def buffers(content: bytes | bytearray | memoryview, size: int = BUFFER) -> Iterable[memoryview]:
    view = memoryview(content)
    return (view[start : start + size] for start in range(0, len(view), size))


def sha256(content: bytes) -> Contender:
    return Contender("SHA-256, one pass", lambda: len(content) if _digest(content) else 0, None)


def _digest(content: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in buffers(content, MEBIBYTE):
        digest.update(part)
    return digest.digest()


def bare_cipher(content: bytes) -> Contender:
    aead = AESGCM(os.urandom(32))
    nonce = bytes(12)
    sealed = [aead.encrypt(nonce, part, None) for part in buffers(content, MEBIBYTE)]
    ciphertext, plaintext = bytearray(MEBIBYTE + 16), bytearray(MEBIBYTE)

    def encrypt() -> int:
        return sum(
            aead.encrypt_into(nonce, part, None, ciphertext) for part in buffers(content, MEBIBYTE)
        )

    def decrypt() -> int:
        return sum(aead.decrypt_into(nonce, part, None, plaintext) for part in sealed)

    return Contender("AESGCM.*_into, 1 MiB", encrypt, decrypt)


def algorithms(content: bytes) -> Contender:
    """What our sealing computes, in two threads as there, and nothing around it: no copy, no store."""
    aead, nonce = AESGCM(os.urandom(32)), bytes(12)
    ciphertext = bytearray(MEBIBYTE + 16)

    def sealed() -> int:
        digest, size = blake3(), 0
        for part in buffers(content, MEBIBYTE):
            size += aead.encrypt_into(nonce, part, None, ciphertext)
            digest.update(ciphertext)
        return size if digest.digest() else 0

    def both() -> int:
        with ThreadPoolExecutor(2) as threads:
            digest, size = threads.submit(_digest, content), threads.submit(sealed)
            return size.result() if digest.result() else 0

    return Contender("its algorithms alone", both, None)


def tink(content: bytes) -> Contender:
    streaming_aead.register()
    template = streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB
    primitive = new_keyset_handle(template).primitive(streaming_aead.StreamingAead)

    def encrypt_to(destination: io.RawIOBase) -> None:
        with primitive.new_encrypting_stream(destination, BOUND_TO) as stream:
            for buffer in buffers(content):
                stream.write(buffer)

    def encrypt() -> int:
        sink = Sink()
        encrypt_to(sink)
        return sink.taken

    kept = Kept()
    encrypt_to(kept)

    def decrypt() -> int:
        with primitive.new_decrypting_stream(io.BytesIO(kept.content), BOUND_TO) as stream:
            return read_all(stream)

    return Contender("Tink streaming AEAD", encrypt, decrypt)


def aws(content: bytes) -> Contender:
    client = aws_encryption_sdk.EncryptionSDKClient(
        commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
    )
    master_key = RawMasterKey(
        provider_id="bench",
        key_id=b"raw",
        wrapping_key=WrappingKey(
            wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
            wrapping_key=os.urandom(32),
            wrapping_key_type=EncryptionKeyType.SYMMETRIC,
        ),
    )
    provider = aws_encryption_sdk.DefaultCryptoMaterialsManager(master_key)
    # Without a signature over the whole message, which none of the others makes.
    algorithm = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY

    def encrypting():
        return client.stream(
            mode="encrypt",
            source=io.BytesIO(content),
            source_length=len(content),
            materials_manager=provider,
            algorithm=algorithm,
            frame_length=MEBIBYTE,
            encryption_context={"document": "1"},
        )

    with encrypting() as stream:
        sealed = stream.read()

    def encrypt() -> int:
        with encrypting() as stream:
            return read_all(stream)

    def decrypt() -> int:
        with client.stream(
            mode="decrypt", source=io.BytesIO(sealed), materials_manager=provider
        ) as stream:
            return read_all(stream)

    return Contender("AWS Encryption SDK", encrypt, decrypt)


def age(content: bytes) -> Contender:
    identity = pyrage.x25519.Identity.generate()
    sealed = pyrage.encrypt(content, [identity.to_public()])

    def encrypt() -> int:
        sink = Sink()
        pyrage.encrypt_io(io.BytesIO(content), sink, [identity.to_public()])
        return sink.taken

    def decrypt() -> int:
        sink = Sink()
        pyrage.decrypt_io(io.BytesIO(sealed), sink, [identity])
        return sink.taken

    return Contender("pyrage (age)", encrypt, decrypt)


def read_all(stream) -> int:
    taken = 0
    while part := stream.read(BUFFER):
        taken += len(part)
    return taken
