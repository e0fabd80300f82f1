"""How fast contents become durable and sealed over HTTP and come back, and what that takes.

    python -m bench.upload [--quick] [--scratch FOLDER]

The real server (``python -m standalone``) and a bare ASGI app on the same HTTP server take turns,
each in a process of its own, with this process as the client. A round begins when neither has work
left. A figure is the median of its rounds; a ratio is the median of the ratios within each round.

- One content at a time: up, against the bare app that writes the body to a file and fsyncs it; down,
  against the bare app that reads the file and sends it.
- Documents of 10 KB from eight clients: up, against the bare app that inserts one row and fsyncs. Each
  of our documents is an object, records, an audit entry and an event; the rounds of both end when
  everything has been acknowledged. What the events cause afterwards is in the time until replicated and
  logged, in the processor time, the context switches and the calls of ``futex``, which take ``strace``.
  Down, against the bare app that reads a file.
- Sign-ins from two clients, against as many Argon2id hashes verified in this process by two threads;
  and checks of a token by the code behind the API's guard, against PyJWT (HS256) and joserfc (A256GCM)
  alone, in this process.
- Memory: how far the server's peak lies above what it had before, while one large content comes in
  and goes out.

Every content is compared with what was sent, large ones by their SHA-256. Exits 1 unless every floor holds.
"""

import hashlib
import os
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench import identity, small
from bench.clients import (
    MEBIBYTE,
    Generated,
    Rounds,
    bearer,
    content_path,
    digest_header,
    document_headers,
    erase,
    post,
    receive,
    seconds,
)
from bench.report import Report
from bench.servers import (
    Server,
    free_port,
    read_arguments,
    running,
    scratch_folder,
    sign_in,
    strongroom,
    wait_until_settled,
)

OF_BARE_UPLOAD = 0.85
OF_BARE_DOWNLOAD = 0.60
OF_BARE_DOCUMENTS = 0.15
MOST_MILLISECONDS_A_DOCUMENT = 2.2
MOST_FUTEX_CALLS_A_DOCUMENT = 150
MOST_TIMES_UNTIL_SETTLED = 1.5
MAX_GROWTH = 64 * MEBIBYTE


@dataclass(frozen=True)
class Sizes:
    """How much of everything; ``documents`` and ``sign_ins`` are for each client."""

    upload: int
    uploads: int
    documents: int
    document_rounds: int
    sign_ins: int
    checks: int
    large: int


FULL = Sizes(100_000_000, 9, 60, 5, 10, 5_000, 2_000_000_000)
QUICK = Sizes(32_000_000, 3, 20, 3, 4, 500, 256_000_000)


def large_contents(
    ours: Server, bare: Server, token: str, size: int, rounds: int
) -> tuple[Rounds, Rounds]:
    """Uploads and downloads of one content at a time."""
    content = memoryview(os.urandom(size))
    digest = digest_header(hashlib.sha256(content).digest())
    up, down = Rounds([], []), Rounds([], [])
    buffer = memoryview(bytearray(size))
    locations: list[str] = []

    def to_strongroom() -> None:
        response = post(ours, "/api/v1/documents", document_headers(token), [content], size)
        if f'"repr_digest":"{digest}"'.encode() not in response.body:
            raise RuntimeError("another content than the one that was sent has been sealed")
        locations.append(response.location)

    def from_strongroom() -> float:
        return receive(ours, content_path(locations[-1]), bearer(token), buffer)

    def to_bare_app() -> None:
        post(bare, "/file", {}, [content], size)

    def from_bare_app() -> float:
        number = max(int(path.stem) for path in bare.folder.glob("*.file"))
        return receive(bare, f"/file/{number}", {}, buffer)

    turns = [
        (up.bare, to_bare_app, down.bare, from_bare_app),
        (up.ours, to_strongroom, down.ours, from_strongroom),
    ]
    for _ in range(rounds):
        for times, send, _, _ in turns:
            times.append(seconds(send))
            wait_until_settled(ours)
        for _, _, times, get in turns:
            times.append(get())
            if buffer != content:
                raise RuntimeError("what came out is not what went in")
            wait_until_settled(ours)
        turns.reverse()
        # Memory that was in use lately is the faster page cache: what a round wrote goes, so that
        # each round finds as much of it as the others.
        erase(ours, locations.pop(), token)
        wait_until_settled(ours)
        for file in bare.folder.glob("*.file"):
            file.unlink()
    return up, down


@dataclass(frozen=True)
class Large:
    """Seconds and growth in bytes of one large content, in and out."""

    upload: float
    upload_growth: int
    download: float
    download_growth: int


def large(folder: Path, settings: dict[str, str], size: int) -> Large:
    """One large content through a server that has only just started."""
    buffer = memoryview(bytearray(MEBIBYTE))
    with strongroom(folder, settings) as server:
        token = sign_in(server)
        headers = document_headers(token)
        first = Generated(small.DOCUMENT_BYTES)
        path = post(server, "/api/v1/documents", headers, first, first.size).location
        receive(server, content_path(path), bearer(token), buffer)
        wait_until_settled(server)

        content = Generated(size)
        before = watched(server)
        begin = time.perf_counter()
        created = post(server, "/api/v1/documents", headers, content, size)
        upload = time.perf_counter() - begin
        upload_growth = server.peak_resident_bytes() - before
        wait_until_settled(server)

        before = watched(server)
        path, sha256 = content_path(created.location), hashlib.sha256()
        download = receive(server, path, bearer(token), buffer, sha256.update)
        if sha256.digest() != content.sha256.digest():
            raise RuntimeError("what came out is not what went in")
        return Large(upload, upload_growth, download, server.peak_resident_bytes() - before)


def watched(server: Server) -> int:
    server.forget_peak()
    return server.resident_bytes()


def run(folder: Path, sizes: Sizes) -> int:
    """Measure in a folder, and print; the exit code."""
    settings = {
        "STRONGROOM_MAX_DIRECT_UPLOAD_BYTES": str(max(sizes.upload, sizes.large)),
        "STRONGROOM_REQUESTS_PER_MINUTE": "1000000",
        "STRONGROOM_SIGN_INS_PER_MINUTE": "1000000",
    }
    password = secrets.token_urlsafe(24)
    for part in ("ours", "bare", "large", "keys"):
        (folder / part).mkdir()
    port = free_port()
    command = ["-m", "bench.peers.bare_store", str(port), str(folder / "bare")]
    with (
        strongroom(folder / "ours", settings) as ours,
        running(command, port, folder / "bare") as bare,
    ):
        token = sign_in(ours, password)
        large_contents(ours, bare, token, sizes.upload, 1)
        up, down = large_contents(ours, bare, token, sizes.upload, sizes.uploads)
        many = small.uploads(ours, bare, token, sizes.documents, sizes.document_rounds)
        opened = small.downloads(ours, bare, token, sizes.documents, sizes.document_rounds)
        signed_in = identity.sign_ins(ours, password, sizes.sign_ins, sizes.document_rounds)
    checks = identity.measured_checks(folder / "keys", sizes.checks, sizes.document_rounds)
    big = large(folder / "large", settings, sizes.large)

    report = Report()
    report_contents(report, sizes, up, down, many, opened)
    report_identity(report, sizes, signed_in, checks)
    report_memory(report, sizes, big)
    return report.end()


def report_contents(
    report: Report, sizes: Sizes, up: Rounds, down: Rounds, many: small.Uploads, opened: Rounds
) -> None:
    megabytes = sizes.upload / 1e6
    report.head("strongroom", "bare app", "ratio")
    report.rounds(f"upload of {megabytes:,.0f} MB, MB/s", up, megabytes)
    report.at_least("upload, of the bare app", up.ratio, OF_BARE_UPLOAD)
    report.rounds(f"download of {megabytes:,.0f} MB, MB/s", down, megabytes)
    report.at_least("download, of the bare app", down.ratio, OF_BARE_DOWNLOAD)
    count = small.CLIENTS * sizes.documents
    report.rounds(f"10 KB up, {small.CLIENTS} clients, documents/s", many.rounds, count)
    report.at_least("10 KB documents, of the bare app", many.rounds.ratio, OF_BARE_DOCUMENTS)
    report.row(f"  {count} of them, until replicated and logged, s", f"{many.settled:.2f}")
    report.at_most(
        "until replicated and logged, times the uploads", many.times, MOST_TIMES_UNTIL_SETTLED
    )
    used, milliseconds = many.each, many.each.processor * 1e3
    shares = f"{used.user * 1e3:.2f} + {used.system * 1e3:.2f}"
    # What the bare app took tells how fast the processor was.
    report.row("  processor time a document, user + system, ms", shares, f"{many.bare * 1e3:.2f}")
    report.at_most("processor time a document, ms", milliseconds, MOST_MILLISECONDS_A_DOCUMENT)
    switches = f"{used.waited} + {used.displaced}"
    report.row("  context switches a document, waiting + displaced", switches)
    if many.futex_calls is None:
        report.row("  futex calls a document", "no strace")
    else:
        report.row("  futex calls a document", f"{many.futex_calls:,.0f}")
        report.at_most("futex calls a document", many.futex_calls, MOST_FUTEX_CALLS_A_DOCUMENT)
    report.rounds(f"10 KB down, {small.CLIENTS} clients, documents/s", opened, count)


def report_identity(
    report: Report, sizes: Sizes, signed_in: Rounds, checks: identity.Checks
) -> None:
    report.head("strongroom", "Argon2id", "ratio")
    title = f"sign-ins, {identity.SIGNERS} clients, a second"
    report.rounds(title, signed_in, identity.SIGNERS * sizes.sign_ins)
    report.head("strongroom", "PyJWT", "joserfc")
    report.row(
        "token checks a second, one core, of new tokens",
        *(f"{each:,.0f}" for each in (checks.ours, checks.pyjwt, checks.joserfc)),
    )
    report.row("  of tokens that were checked before", f"{checks.again:,.0f}")


def report_memory(report: Report, sizes: Sizes, big: Large) -> None:
    report.head("strongroom")
    gigabytes = sizes.large / 1e9
    for way, took, growth in (
        ("upload", big.upload, big.upload_growth),
        ("download", big.download, big.download_growth),
    ):
        report.row(f"{way} of {gigabytes:.2f} GB, MB/s", f"{gigabytes * 1e3 / took:,.0f}")
        report.row("  growth of the server at its peak, MiB", f"{growth / MEBIBYTE:.1f}")
        report.at_most(f"memory growth of the {way}, MiB", growth / MEBIBYTE, MAX_GROWTH / MEBIBYTE)


def main() -> int:
    arguments = read_arguments(
        "Uploads, downloads, sign-ins, and what they take.", quick="less data and fewer rounds"
    )
    with scratch_folder(arguments.scratch) as folder:
        return run(folder, QUICK if arguments.quick else FULL)


if __name__ == "__main__":
    sys.exit(main())
