"""How fast contents become durable and sealed over HTTP, and how much memory that takes.

    python -m bench.upload [--quick] [--scratch FOLDER]

The real server (``python -m standalone``) and a bare ASGI app on the same HTTP server take turns,
each in a process of its own, with this process as the client. A round begins when neither has work
left. A figure is the median of its rounds; a ratio is the median of the ratios within each round.

- One content at a time: against the bare app that writes the body to a file and fsyncs it. At
  least 0.50 of it.
- Documents of 10 KB from eight clients: against the bare app that inserts one row and fsyncs. Each
  of our documents is an object, records, an audit entry and an event; the rounds of both end when
  everything has been acknowledged. What the events cause afterwards is in the time to settle.
- Memory: how far the server's peak lies above what it had before, while one large content comes in
  and goes out. At most 64 MiB.

Every content is checked by its SHA-256. Exits 1 unless all of it holds.
"""

import base64
import hashlib
import http.client
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

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

MEBIBYTE = 1_048_576
OF_BARE_UPLOAD = 0.50
MAX_GROWTH = 64 * MEBIBYTE
CLIENTS = 8
DOCUMENT_BYTES = 10_000
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Sizes:
    """How much of everything; ``documents`` is for each client."""

    upload: int
    uploads: int
    documents: int
    document_rounds: int
    large: int


FULL = Sizes(100_000_000, 9, 60, 5, 2_000_000_000)
QUICK = Sizes(32_000_000, 3, 20, 3, 256_000_000)


@dataclass(frozen=True)
class Rounds:
    """Seconds of each round, ours and the bare app's."""

    ours: list[float]
    bare: list[float]

    @property
    def ratio(self) -> float:
        """How much of the bare app's speed we reach."""
        return statistics.median(b / o for o, b in zip(self.ours, self.bare, strict=True))


class Generated:
    """A content that nobody holds: one random block over and over, numbered so that none repeats."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._block = bytearray(os.urandom(MEBIBYTE))
        self.sha256 = hashlib.sha256()

    def __iter__(self) -> Iterator[memoryview]:
        for number, start in enumerate(range(0, self.size, MEBIBYTE)):
            self._block[:8] = number.to_bytes(8, "big")
            part = memoryview(self._block)[: self.size - start]
            self.sha256.update(part)
            yield part


def digest_header(sha256: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def document_headers(token: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "Content-Disposition": 'attachment; filename="content.bin"',
        "Content-Type": "application/octet-stream",
    }


def post(
    server: Server, path: str, headers: dict[str, str], parts, size: int
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)
    connection.putrequest("POST", path)
    for name, value in {**headers, "Content-Length": str(size)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    for part in parts:
        connection.sock.sendall(part)
    answer = connection.getresponse()
    if answer.status != 201:
        raise RuntimeError(f"{path} answered {answer.status}: {answer.read().decode()}")
    return answer


def remove(server: Server, location: str, token: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)
    headers = {"Authorization": f"Bearer {token}"}
    path = location[location.index("/api/") :] + "?erase=true"
    connection.request("DELETE", path, headers=headers)
    if connection.getresponse().status != 200:
        raise RuntimeError("a document could not be deleted")
    connection.close()


def receive(server: Server, path: str, token: str) -> tuple[float, bytes]:
    """Seconds until a whole content is here, and its SHA-256."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)
    sha256, buffer = hashlib.sha256(), memoryview(bytearray(MEBIBYTE))
    begin = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}: {answer.read().decode()}")
    while size := answer.readinto(buffer):
        sha256.update(buffer[:size])
    took = time.perf_counter() - begin
    connection.close()
    return took, sha256.digest()


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def uploads(ours: Server, bare: Server, token: str, size: int, rounds: int) -> Rounds:
    content = memoryview(os.urandom(size))
    digest = digest_header(hashlib.sha256(content).digest())
    measured = Rounds([], [])
    made = []

    def to_strongroom() -> None:
        answer = post(ours, "/api/v1/documents", document_headers(token), [content], size)
        if f'"repr_digest":"{digest}"'.encode() not in answer.read():
            raise RuntimeError("another content than the one that was sent has been sealed")
        made.append(answer.headers["Location"])

    def to_bare_app() -> None:
        post(bare, "/file", {}, [content], size)

    turns = [(measured.bare, to_bare_app), (measured.ours, to_strongroom)]
    for _ in range(rounds):
        for times, work in turns:
            times.append(seconds(work))
            wait_until_settled(ours)
        turns.reverse()
        # Memory that was in use lately is the faster page cache: what a round wrote goes, so that
        # each round finds as much of it as the others.
        remove(ours, made.pop(), token)
        wait_until_settled(ours)
        for file in bare.folder.glob("*.file"):
            file.unlink()
    return measured


def documents(
    ours: Server, bare: Server, token: str, each: int, rounds: int
) -> tuple[Rounds, float]:
    """The rounds, and the median of the seconds until what one of ours has caused is done, too."""
    body = os.urandom(DOCUMENT_BYTES)
    headers = document_headers(token) | {
        "Repr-Digest": digest_header(hashlib.sha256(body).digest())
    }
    measured, settled = Rounds([], []), []
    for _ in range(rounds):
        measured.bare.append(at_once(bare, request_bytes("/row", {}, body), each))
        begin = time.perf_counter()
        measured.ours.append(at_once(ours, request_bytes("/api/v1/documents", headers, body), each))
        wait_until_settled(ours)
        settled.append(time.perf_counter() - begin)
    return measured, statistics.median(settled)


def request_bytes(path: str, headers: dict[str, str], body: bytes) -> bytes:
    head = {"Host": "127.0.0.1", **headers, "Content-Length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def at_once(server: Server, request: bytes, each: int) -> float:
    """Seconds in which ``CLIENTS`` clients each get ``each`` answers to the same request."""
    failures: list[BaseException] = []
    ready = threading.Barrier(CLIENTS + 1)

    def client() -> None:
        try:
            with socket.create_connection(
                ("127.0.0.1", server.port), TIMEOUT_SECONDS
            ) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.wait()
                for _ in range(each):
                    connection.sendall(request)
                    expect_created(connection)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    ready.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begin
    if failures:
        raise failures[0]
    return took


def expect_created(connection: socket.socket) -> None:
    """Read one answer; http.client would cost more than the bare app's whole request."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += read_some(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.lower().split(b"\r\n")
    (length,) = (int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    while len(body) < length:
        body += read_some(connection)
    if status.split()[1] != b"201":
        raise RuntimeError(f"{status.decode()}: {body.decode()}")


def read_some(connection: socket.socket) -> bytes:
    received = connection.recv(65_536)
    if not received:
        raise RuntimeError("the server ended the connection")
    return received


@dataclass(frozen=True)
class Large:
    """Seconds and growth in bytes of one large content, in and out."""

    upload: float
    upload_growth: int
    download: float
    download_growth: int


def large(folder: Path, settings: dict[str, str], size: int) -> Large:
    """One large content through a server that has only just started."""
    with strongroom(folder, settings) as server:
        token = sign_in(server)
        headers = document_headers(token)
        small = Generated(DOCUMENT_BYTES)
        path = post(server, "/api/v1/documents", headers, small, small.size).headers["Location"]
        receive(server, content_path(path), token)
        wait_until_settled(server)

        content = Generated(size)
        before = watched(server)
        begin = time.perf_counter()
        answer = post(server, "/api/v1/documents", headers, content, size)
        upload = time.perf_counter() - begin
        upload_growth = server.peak_resident_bytes() - before
        wait_until_settled(server)

        before = watched(server)
        download, sha256 = receive(server, content_path(answer.headers["Location"]), token)
        if sha256 != content.sha256.digest():
            raise RuntimeError("what came out is not what went in")
        return Large(upload, upload_growth, download, server.peak_resident_bytes() - before)


def watched(server: Server) -> int:
    server.forget_peak()
    return server.resident_bytes()


def content_path(location: str) -> str:
    return location[location.index("/api/") :] + "/content"


def main() -> int:
    arguments = read_arguments(
        "Uploads, downloads and the memory they take.", quick="less data and fewer rounds"
    )
    sizes = QUICK if arguments.quick else FULL
    settings = {
        "STRONGROOM_MAX_DIRECT_UPLOAD_BYTES": str(max(sizes.upload, sizes.large)),
        "STRONGROOM_REQUESTS_PER_MINUTE": "1000000",
    }

    with scratch_folder(arguments.scratch) as folder:
        for part in ("ours", "bare", "large"):
            (folder / part).mkdir()
        port = free_port()
        command = ["-m", "bench.peers.bare_store", str(port), str(folder / "bare")]
        with (
            strongroom(folder / "ours", settings) as ours,
            running(command, port, folder / "bare") as bare,
        ):
            token = sign_in(ours)
            uploads(ours, bare, token, sizes.upload, 1)
            one = uploads(ours, bare, token, sizes.upload, sizes.uploads)
            many, settled = documents(ours, bare, token, sizes.documents, sizes.document_rounds)
        big = large(folder / "large", settings, sizes.large)

    megabytes, gigabytes = sizes.upload / 1e6, sizes.large / 1e9
    count = CLIENTS * sizes.documents
    verdicts = [
        (one.ratio >= OF_BARE_UPLOAD, f"upload at least {OF_BARE_UPLOAD:.2f} of the bare app"),
        (big.upload_growth <= MAX_GROWTH, "memory growth of the upload at most 64 MiB"),
        (big.download_growth <= MAX_GROWTH, "memory growth of the download at most 64 MiB"),
    ]
    print(f"{'':44}{'strongroom':>12}{'bare app':>12}{'ratio':>8}")
    row(f"upload of {megabytes:,.0f} MB, MB/s", one, megabytes)
    row(f"10 KB documents, {CLIENTS} clients, documents/s", many, count)
    print(f"{f'  {count} of them, until replicated and logged, s':44}{settled:12.2f}")
    for way, took, growth in (
        ("upload", big.upload, big.upload_growth),
        ("download", big.download, big.download_growth),
    ):
        print(f"{f'{way} of {gigabytes:.2f} GB, MB/s':44}{gigabytes * 1e3 / took:12,.0f}")
        print(f"{'  growth of the server at its peak, MiB':44}{growth / MEBIBYTE:12.1f}")
    for holds, promise in verdicts:
        print(f"{promise}: {'holds' if holds else 'FAILS'}")
    return 0 if all(holds for holds, _ in verdicts) else 1


def row(title: str, rounds: Rounds, amount: float) -> None:
    ours, bare = (amount / statistics.median(side) for side in (rounds.ours, rounds.bare))
    print(f"{title:44}{ours:12,.0f}{bare:12,.0f}{rounds.ratio:8.2f}")


if __name__ == "__main__":
    sys.exit(main())
