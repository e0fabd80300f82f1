"""How fast content is sealed and opened on the way that documents take, against the bare algorithms.

    python -m bench.seal [--quick]

Ours is what a direct upload runs, ``ContentSealer.seal``: plaintext in, sealed segments and the digests of
both forms out; and what a download runs, ``ContentOpener.open``. Behind them is a store that throws away
what it gets, and gives what it has in pieces of 2 MiB, as the embedded one does. Plaintext comes in chunks
of 64 KiB, which are smaller than those of our server under load; the others get theirs in buffers of
16 MiB.

Everyone works on the same random content in memory, in one process. The contenders take turns, round by
round. A speed is the median of its rounds; a ratio is the median of the ratios within each round, so that
a machine that is busy for a while slows both sides of it. Ours works in two threads, so what runs beside
it on two cores slows it alone; its algorithms alone, in two threads as well, say what the machine gives.
Exits 1 unless sealing reaches 0.80 of one SHA-256 pass over the same bytes, and opening 0.60 of the bare
cipher, ``AESGCM.decrypt_into`` on buffers of 1 MiB.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Collection, Mapping

import uvloop

import bench  # noqa: F401 - run as a script, it finds the project
from bench.peers.sealing import (
    MEBIBYTE,
    Contender,
    age,
    algorithms,
    aws,
    bare_cipher,
    buffers,
    sha256,
    tink,
)
from shared.adapters.embedded.pieces import READ_PIECE
from shared.adapters.memory.records import MemoryRecords
from shared.documents.models import Description
from shared.documents.opening import ContentOpener
from shared.documents.sealing import ContentSealer, Incoming, Sealed
from shared.documents.store import DocumentRecords
from shared.journal.agenda import Agenda
from shared.keys.models import EpochKey
from shared.ports.clock import Runtime, SystemClock

CHUNK = 65_536
OF_SHA256 = 0.80
OF_BARE_CIPHER = 0.60


async def arriving(content: bytes) -> AsyncIterator[memoryview]:
    for chunk in buffers(content, CHUNK):
        yield chunk


class Store:
    """Of a blob store what sealing and opening use.

    Attributes:
        keeps: Whether what is put is kept.
        kept: What was put then, in pieces of ``READ_PIECE`` bytes.
        size: Of what was put last, bytes.
    """

    def __init__(self) -> None:
        self.keeps = True
        self.kept: list[bytes] = []
        self.size = 0

    async def put(self, name: str, content: AsyncIterator[memoryview]) -> int:
        kept, self.size = bytearray(), 0
        async for piece in content:
            self.size += len(piece)
            if self.keeps:
                kept += piece
        self.kept = [bytes(piece) for piece in buffers(kept, READ_PIECE)] or self.kept
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


def main() -> int:
    parser = argparse.ArgumentParser(description="Sealing and opening, MB/s.")
    parser.add_argument("--quick", action="store_true", help="a third of the rounds")
    quick = parser.parse_args().quick
    content = os.urandom(256 * MEBIBYTE)
    rounds = 3 if quick else 9

    ours, bare, one_pass = strongroom(content), bare_cipher(content), sha256(content)
    alone, others = algorithms(content), [tink(content), aws(content), age(content)]
    contenders = [one_pass, bare, alone, ours, *others]
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
