"""HTTP clients of the benchmarks: one large content at a time, or many small requests at once.

They read and write sockets themselves: ``http.client`` would cost more than the bare app's whole request.
"""

import base64
import contextlib
import hashlib
import http.client
import os
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.servers import Server

MEBIBYTE = 1_048_576
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Rounds:
    """Seconds of each round, ours and the peer's."""

    ours: list[float]
    bare: list[float]

    @property
    def ratio(self) -> float:
        """How much of the peer's speed we reach."""
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


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def document_headers(token: str) -> dict[str, str]:
    return {
        **bearer(token),
        "Content-Disposition": 'attachment; filename="content.bin"',
        "Content-Type": "application/octet-stream",
    }


def content_path(location: str) -> str:
    """The path of a document's content, from the ``Location`` of its upload."""
    return location[location.index("/api/") :] + "/content"


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def connect(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)


@dataclass(frozen=True)
class Created:
    """What a server says of what it took: where it is, if it says so, and the body of the response."""

    location: str
    body: bytes


def post(
    server: Server,
    path: str,
    headers: dict[str, str],
    parts: Iterable[bytes | memoryview],
    size: int,
) -> Created:
    """Send a body in parts; the response must be 201."""
    with contextlib.closing(connect(server)) as connection:
        connection.putrequest("POST", path)
        for name, value in {**headers, "Content-Length": str(size)}.items():
            connection.putheader(name, value)
        connection.endheaders()
        for part in parts:
            connection.sock.sendall(part)
        response = connection.getresponse()
        body = response.read()
        if response.status != 201:
            raise RuntimeError(f"{path}: {response.status} {body.decode()}")
        return Created(response.headers.get("Location", ""), body)


def erase(server: Server, location: str, token: str) -> None:
    """Erase a document, named by the ``Location`` of its upload."""
    path = location[location.index("/api/") :] + "?erase=true"
    with contextlib.closing(connect(server)) as connection:
        connection.request("DELETE", path, headers=bearer(token))
        response = connection.getresponse()
        response.read()
        if response.status not in {200, 204}:  # 204: as releases before the trash had it
            raise RuntimeError("a document could not be deleted")


def receive(
    server: Server,
    path: str,
    headers: dict[str, str],
    buffer: memoryview,
    take: Callable[[memoryview], object] | None = None,
) -> float:
    """Get a content into a buffer; the seconds until all of it has come.

    Args:
        server: Who has it.
        path: Where.
        headers: Of the request.
        buffer: Filled; from its beginning again for each part if there is a ``take``.
        take: Gets each part as it comes.
    """
    with contextlib.closing(connect(server)) as connection:
        begin = time.perf_counter()
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {response.read().decode()}")
        filled = 0
        while size := response.readinto(buffer[filled:]):
            if take:
                take(buffer[:size])
            else:
                filled += size
                if filled == len(buffer):
                    break
        took = time.perf_counter() - begin
        response.close()
        return took


def request_bytes(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A request; its ``Content-Length`` is that of the body unless the headers name one."""
    head = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def at_once(
    server: Server,
    requests: Sequence[bytes],
    each: int,
    *,
    status: bytes = b"201",
    body: bytes | None = None,
) -> float:
    """Seconds in which clients, one for each request, get ``each`` responses to it.

    Raises:
        RuntimeError: A response does not have the status, or the body if one is given.
    """
    failures: list[BaseException] = []
    ready = threading.Barrier(len(requests) + 1)

    def client(request: bytes) -> None:
        try:
            with socket.create_connection(
                ("127.0.0.1", server.port), TIMEOUT_SECONDS
            ) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.wait()
                for _ in range(each):
                    connection.sendall(request)
                    found, received = read_response(connection)
                    if found != status or body not in {None, received}:
                        raise RuntimeError(f"{found.decode()}: {received[:500]!r}")
        except Exception as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=client, args=(request,)) for request in requests]
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


def read_response(connection: socket.socket) -> tuple[bytes, bytes]:
    """The status and the body of the next response, which has a ``Content-Length``."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _read_some(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    line, *lines = head.lower().split(b"\r\n")
    (length,) = (int(each[15:]) for each in lines if each.startswith(b"content-length:"))
    while len(body) < length:
        body += _read_some(connection)
    return line.split()[1], body


def _read_some(connection: socket.socket) -> bytes:
    received = connection.recv(65_536)
    if not received:
        raise RuntimeError("the server ended the connection")
    return received
