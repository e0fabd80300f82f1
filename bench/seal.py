"""How fast content is sealed and opened on the way that documents take, against the bare algorithms.

    python -m bench.seal [--quick]

Ours is what a direct upload runs, ``ContentSealer.seal``: plaintext in, sealed segments and the digests of
both forms out; and what a download runs, ``ContentOpener.open``. Behind them is a store that throws away
what it gets, and gives what it has in pieces of 1 MiB. Plaintext comes in chunks of 64 KiB, which are
smaller than those of our server under load; the others get theirs in buffers of 16 MiB.

Everyone works on the same random content in memory, in one process. The contenders take turns, round by
round. A speed is the median of its rounds; a ratio is the median of the ratios within each round, so that
a machine that is busy for a while slows both sides of it. Ours works in two threads, so what runs beside
it on two cores slows it alone. Exits 1 unless sealing reaches 0.80 of one SHA-256 pass over the same
bytes, and opening 0.60 of the bare cipher, ``AESGCM.decrypt_into`` on buffers of 1 MiB.
"""

import argparse
import asyncio
import hashlib
import io
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import aws_encryption_sdk
import pyrage
import uvloop
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

import bench  # noqa: F401 - run as a script, it finds the project
from shared.adapters.memory.records import MemoryRecords
from shared.documents.models import Description
from shared.documents.opening import ContentOpener
from shared.documents.sealing import ContentSealer, Incoming, Sealed
from shared.documents.store import DocumentRecords
from shared.journal.agenda import Agenda
from shared.keys.models import EpochKey
from shared.ports.clock import Runtime, SystemClock

MEBIBYTE = 1_048_576
BUFFER = 16 * MEBIBYTE
CHUNK = 65_536
BOUND_TO = b"strongroom/content/1/production/ten_1/doc_1/1"
OF_SHA256 = 0.80
OF_BARE_CIPHER = 0.60


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


def buffers(content: bytes | memoryview, size: int = BUFFER) -> Iterable[memoryview]:
    view = memoryview(content)
    return (view[start : start + size] for start in range(0, len(view), size))


async def arriving(content: bytes) -> AsyncIterator[memoryview]:
    for chunk in buffers(content, CHUNK):
        yield chunk


class Store:
    """Of a blob store what sealing and opening use.

    Attributes:
        keeps: Whether what is put is kept.
        kept: What was put then, in pieces of 1 MiB.
        size: Of what was put last, bytes.
    """

    def __init__(self) -> None:
        self.keeps = True
        self.kept: list[bytes] = []
        self.size = 0

    async def put(self, name: str, content: AsyncIterator[memoryview]) -> int:
        kept, self.size = [], 0
        async for piece in content:
            self.size += len(piece)
            if self.keeps:
                kept.append(bytes(piece))
        self.kept = kept or self.kept
        return self.size

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        if start or end != sum(map(len, self.kept)):
            raise ValueError("only whole contents are read here")
        for piece in self.kept:
            yield piece


class Epochs:
    """One key, at hand."""

    def __init__(self) -> None:
        self._key = EpochKey("epo_1", os.urandom(32))

    async def current(self, tenant: str) -> EpochKey:
        return self._key

    async def of(self, tenant: str, epoch: str) -> EpochKey:
        return self._key

    async def of_all(self, tenant: str, epochs: Collection[str]) -> Mapping[str, EpochKey]:
        return dict.fromkeys(epochs, self._key)


def strongroom(content: bytes) -> Contender:
    # One event loop, as in the server: an upload does not start one.
    run = asyncio.Runner(loop_factory=uvloop.new_event_loop).run
    runtime = Runtime(SystemClock(), os.urandom)
    records = MemoryRecords(runtime.clock)
    store, epochs = Store(), Epochs()
    documents = DocumentRecords(records, Agenda(records, runtime))
    sealer = ContentSealer(store, epochs, documents, "production", runtime)
    opener = ContentOpener(store, store, epochs, "production")
    tenant, document = runtime.new_id("ten"), runtime.new_id("doc")

    async def sealed() -> Sealed:
        incoming = Incoming(
            tenant,
            document,
            number=1,
            user="usr_1",
            description=Description(name="content"),
            content=arriving(content),
            max_size=len(content),
            sha256=None,
        )
        return await sealer.seal(incoming)

    version = run(sealed()).version
    store.keeps = False

    def seal() -> int:
        run(sealed())
        return store.size

    async def no_damage(place: str, name: str) -> str:
        raise RuntimeError(f"{name} in {place} is damaged")

    async def opened() -> int:
        parts = await opener.open(tenant, document, version, 0, len(content), no_damage)
        return sum([len(part) async for part in parts])

    return Contender("strongroom", seal, lambda: run(opened()))


def sha256(content: bytes) -> Contender:
    def take() -> int:
        digest = hashlib.sha256()
        for part in buffers(content, MEBIBYTE):
            digest.update(part)
        return len(content) if digest.digest() else 0

    return Contender("SHA-256, one pass", take, None)


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

    ours, bare, one_pass = strongroom(content), bare_cipher(content), sha256(content)
    contenders = [one_pass, bare, ours, tink(content), aws(content), age(content)]
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for way in ("seal", "open"):
            for contender in contenders:
                run = getattr(contender, way)
                if run is None:
                    continue
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
            if getattr(contender, way) is not None:
                line += f"{speed(contender, way):10,.0f} ({ratio(contender, way):5.2f}) "
        print(line.rstrip())

    failed = False
    for way, other, least in (("seal", one_pass, OF_SHA256), ("open", bare, OF_BARE_CIPHER)):
        reached = ratio(other, way)
        failed = failed or reached < least
        verdict = "FAILS" if reached < least else "holds"
        print(f"{way} at least {least:.2f} of {other.name}: {reached:.2f} {verdict}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
