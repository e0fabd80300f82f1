"""How fast we seal and open, against the bare cipher and against others' stream encryption.

    python -m bench.seal [--quick]

Ours is the code that uploads and staged content run through, without the hashing that an upload does
beside it. Everyone works on the same random content in memory, handed over in buffers of 16 MiB and
thrown away as it comes out, in one process. The contenders take turns, round by round. A
speed is the median of its rounds; a ratio is the median of the ratios within each round, so that a
machine that is busy for a while slows both sides of it. Exits 1 unless sealing and opening reach
0.80 of the bare cipher, ``AESGCM.encrypt_into`` and ``decrypt_into`` on buffers of 1 MiB, and twice
Tink's streaming AEAD.
"""

import argparse
import asyncio
import io
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
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
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tink import new_keyset_handle, streaming_aead

from shared.base.streams import Conversion, convert_stream
from shared.crypto.ranges import OpenedRange
from shared.crypto.streaming import HEADER_SIZE, Opener, Sealer, plaintext_size

MEBIBYTE = 1_048_576
BUFFER = 16 * MEBIBYTE
BOUND_TO = b"strongroom/content/1/production/ten_1/doc_1/1"
OF_BARE_CIPHER = 0.80
TIMES_TINK = 2.0


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
    open: Callable[[], int]


def buffers(content: bytes | memoryview, size: int = BUFFER) -> Iterable[memoryview]:
    view = memoryview(content)
    return (view[start : start + size] for start in range(0, len(view), size))


async def arriving(content: bytes | memoryview) -> AsyncIterator[memoryview]:
    for buffer in buffers(content):
        yield buffer


async def convert(conversion: Conversion, content: bytes | memoryview) -> int:
    return sum([len(part) async for part in convert_stream(conversion, arriving(content))])


def strongroom(content: bytes) -> Contender:
    key = os.urandom(32)
    # One event loop, as in a server: an upload does not start one.
    run = asyncio.Runner().run

    async def sealed_whole() -> bytes:
        parts = convert_stream(Sealer(key, BOUND_TO, os.urandom), arriving(content))
        return b"".join([bytes(part) async for part in parts])

    sealed = run(sealed_whole())

    def open_whole() -> int:
        opener = Opener(key, BOUND_TO, sealed[:HEADER_SIZE])
        whole = OpenedRange(opener, plaintext_size(len(sealed)))
        return run(convert(whole, memoryview(sealed)[HEADER_SIZE:]))

    return Contender(
        "strongroom",
        lambda: run(convert(Sealer(key, BOUND_TO, os.urandom), content)),
        open_whole,
    )


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


def main() -> int:
    parser = argparse.ArgumentParser(description="Sealing and opening, MB/s.")
    parser.add_argument("--quick", action="store_true", help="a third of the rounds")
    quick = parser.parse_args().quick
    content = os.urandom(256 * MEBIBYTE)
    rounds = 3 if quick else 9

    ours, bare, theirs = strongroom(content), bare_cipher(content), tink(content)
    contenders = [bare, ours, theirs, aws(content), age(content)]
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for way in ("seal", "open"):
            for contender in contenders:
                run = getattr(contender, way)
                begin = time.perf_counter()
                size = run()
                took = time.perf_counter() - begin
                if size < len(content):
                    raise RuntimeError(f"{contender.name} lost bytes")
                seconds.setdefault((contender.name, way), []).append(took)

    def speed(contender: Contender, way: str) -> float:
        return len(content) / 1e6 / statistics.median(seconds[contender.name, way])

    def ratio(contender: Contender, way: str) -> float:
        rounds = zip(seconds[contender.name, way], seconds[ours.name, way], strict=True)
        return statistics.median(theirs / ours for theirs, ours in rounds)

    print(f"{len(content) // MEBIBYTE} MiB, {rounds} rounds; MB/s (how many times as fast we are)")
    print(f"{'':22}{'seal':>10}{'':9}{'open':>10}")
    for contender in contenders:
        line = f"{contender.name:22}"
        for way in ("seal", "open"):
            line += f"{speed(contender, way):10,.0f} ({ratio(contender, way):5.2f}) "
        print(line.rstrip())

    failed = False
    for way in ("seal", "open"):
        for other, least in ((bare, OF_BARE_CIPHER), (theirs, TIMES_TINK)):
            reached = ratio(other, way)
            failed = failed or reached < least
            verdict = "FAILS" if reached < least else "holds"
            print(f"{way} at least {least:.2f} of {other.name}: {reached:.2f} {verdict}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
