"""How 100 clients at once are served, beside 10: throughput, percentiles, errors, memory.

    python -m bench.load [--quick] [--seed NUMBER] [--scratch FOLDER]

The real server (``python -m standalone``), and clients in this process on one event loop. Each sends one
request after the other for a minute: 70 % open a document, 20 % upload one, 10 % list the newest 50. Sizes
have a long tail: log-normal around 16 KiB, one in a hundred above half a MiB, 8 MiB at most. What is opened
is compared with what was uploaded. The clients are ten users at ten addresses.

One client in twenty, and one at least, reads a large document slowly; as many send one slowly; as many ask
for a large document and read nothing of it. That is 15 of 100 clients and 3 of 10; the others work. What
the slow ones wait for is not in the percentiles; what they hold of the server is in everybody's. Throughput
is that of the clients that work, of all of them and of each.

A 429 with ``Retry-After`` is no error: the client comes back when it says. Everything else but success is
one. Exits 1 if there was an error, if the 99th percentile of 100 clients is more than 8 times their median,
or if the server's memory grew by more than 200 MiB from what it had before the first of them came.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import secrets
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import uvloop

from bench.clients import MEBIBYTE, bearer, document_headers, request_bytes
from bench.report import Report
from bench.servers import (
    Server,
    add_arguments,
    scratch_folder,
    sign_in,
    strongroom,
    wait_until_settled,
)

FEW, MANY = 10, 100
SECONDS, QUICK_SECONDS = 60.0, 5.0
MOST_TIMES_MEDIAN = 8.0
MOST_GROWTH = 200 * MEBIBYTE

USERS = 10
DOCUMENTS_BEFORE = 200
OPENS, UPLOADS = 0.70, 0.20
MEDIAN_BYTES = 16_384
SIGMA = 1.5
"""Of the logarithm of a size: one in a hundred is e^(2.33 * 1.5), or 33 times the median."""
MOST_BYTES = 8 * MEBIBYTE
LARGE_BYTES = 4 * MEBIBYTE
ONE_IN = 20
"""One client in so many, and one at least, is of each of the slow kinds."""
SLOW_KINDS = 3
SLOW_PIECE = 65_536
SLOW_PAUSE = 0.2
STALLED_SECONDS = 10.0


class Refused(Exception):
    """The server asks to come back after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Left(Exception):
    """The client has gone, and comes again over another connection."""


@dataclass
class Load:
    """A number of clients for a while.

    Attributes:
        port: Of the server.
        tokens: Of the users; each has an address of its own.
        block: The random bytes that every content is the beginning of.
        stored: Path and size of the documents that can be opened.
        large: The path of one that is read slowly.
        seed: Of the mix and the sizes.
    """

    port: int
    tokens: list[str]
    block: memoryview
    stored: list[tuple[str, int]]
    large: str
    seed: int
    took: list[float] = field(default_factory=list)
    became: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    async def run(self, clients: int, seconds: float) -> None:
        """Let so many clients work for so long."""
        at_work = working(clients)
        slow = [self.read_slowly, self.send_slowly, self.stall]
        kinds = [act for act in slow for _ in range((clients - at_work) // SLOW_KINDS)]
        kinds += [self.work] * at_work
        end = time.perf_counter() + seconds
        async with asyncio.TaskGroup() as group:
            for number, act in enumerate(kinds):
                group.create_task(self._client(number, act, end))

    async def _client(
        self, number: int, act: "Callable[[Connection], Awaitable[None]]", end: float
    ) -> None:
        chance = random.Random(f"{self.seed} {number}")
        user = number % len(self.tokens)
        while (left := end - time.perf_counter()) > 0:
            try:
                async with connected(self.port, user, self.tokens[user], chance) as connection:
                    async with asyncio.timeout(None if act == self.work else left):
                        while time.perf_counter() < end:
                            await act(connection)
            except TimeoutError:
                return
            except Left:
                continue
            except Refused as refused:
                self.became["429"] += 1
                await asyncio.sleep(min(refused.seconds, max(0.0, end - time.perf_counter())))
            except (OSError, RuntimeError, asyncio.IncompleteReadError) as error:
                self.errors[str(error)] += 1
                await asyncio.sleep(0.1)

    async def work(self, connection: "Connection") -> None:
        """One request of the mix."""
        chance = connection.chance
        kind, begin = chance.random(), time.perf_counter()
        if kind < OPENS:
            path, size = chance.choice(self.stored)
            if await connection.get(path) != self.block[:size]:
                raise RuntimeError("what came out is not what went in")
            what = "opens"
        elif kind < OPENS + UPLOADS:
            size = drawn_size(chance)
            self.stored.append((await connection.upload(self.block[:size]), size))
            what = "uploads"
        else:
            page = await connection.get("/api/v1/documents?limit=50")
            if not json.loads(page)["items"]:
                raise RuntimeError("the list is empty")
            what = "lists"
        self.took.append(time.perf_counter() - begin)
        self.became[what] += 1

    async def read_slowly(self, connection: "Connection") -> None:
        """Open a large document, a little at a time."""
        left = await connection.begin_get(self.large)
        while left:
            left -= len(await connection.reader.readexactly(min(left, SLOW_PIECE)))
            await asyncio.sleep(SLOW_PAUSE)
        self.became["slow opens"] += 1

    async def send_slowly(self, connection: "Connection") -> None:
        """Upload a large document, a little at a time."""
        await connection.upload(self.block[:LARGE_BYTES], SLOW_PAUSE)
        self.became["slow uploads"] += 1

    async def stall(self, connection: "Connection") -> None:
        """Ask for a large document, take nothing of it for a while, then come again."""
        connection.ask("GET", self.large)
        await asyncio.sleep(STALLED_SECONDS)
        self.became["stalled"] += 1
        raise Left


def working(clients: int) -> int:
    """How many of so many clients are of no slow kind."""
    return clients - SLOW_KINDS * max(1, clients // ONE_IN)


def drawn_size(chance: random.Random) -> int:
    """A size from the long-tailed distribution."""
    return max(1, min(round(chance.lognormvariate(math.log(MEDIAN_BYTES), SIGMA)), MOST_BYTES))


@dataclass(frozen=True)
class Connection:
    """One client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    token: str
    chance: random.Random

    def ask(self, method: str, path: str) -> None:
        """Send a request without a body."""
        self.writer.write(request_bytes(method, path, bearer(self.token)))

    async def get(self, path: str) -> bytes:
        """The body of a response."""
        return await self.reader.readexactly(await self.begin_get(path))

    async def begin_get(self, path: str) -> int:
        """Ask for something; how many bytes of body follow."""
        self.ask("GET", path)
        return (await self._head(b"200"))[0]

    async def upload(self, content: memoryview, pause: float = 0.0) -> str:
        """Upload a document, in pieces if there is a pause; the path of its content."""
        headers = document_headers(self.token) | {"Content-Length": str(len(content))}
        self.writer.write(request_bytes("POST", "/api/v1/documents", headers))
        step = SLOW_PIECE if pause else len(content)
        for start in range(0, len(content), step):
            self.writer.write(content[start : start + step])
            await self.writer.drain()
            await asyncio.sleep(pause)
        length, _ = await self._head(b"201")
        document = json.loads(await self.reader.readexactly(length))["id"]
        return f"/api/v1/documents/{document}/content"

    async def _head(self, expected: bytes) -> tuple[int, dict[bytes, bytes]]:
        """The length of the body that follows, and the headers.

        Raises:
            Refused: The response is 429 with ``Retry-After``.
            RuntimeError: It is another one than expected.
        """
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *lines = head.lower().split(b"\r\n")
        headers = {
            name: value.strip() for name, _, value in (each.partition(b":") for each in lines)
        }
        status, length = line.split()[1], int(headers.get(b"content-length", b"0"))
        if status == b"429" and b"retry-after" in headers:
            raise Refused(float(headers[b"retry-after"]))
        if status != expected:
            body = await self.reader.readexactly(length)
            raise RuntimeError(f"{status.decode()} {body.decode()[:300]}")
        return length, headers


@contextlib.asynccontextmanager
async def connected(
    port: int, user: int, token: str, chance: random.Random
) -> AsyncIterator[Connection]:
    """A connection of a user, from their address."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * SLOW_PIECE)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.bind((f"127.0.0.{user + 1}", 0))
    one.setblocking(False)
    await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=one, limit=2 * SLOW_PIECE)
    try:
        yield Connection(reader, writer, token, chance)
    finally:
        writer.transport.abort()


def members(server: Server, administrator: str) -> list[str]:
    """Tokens of new users of the tenant."""
    tokens = []
    base = f"http://127.0.0.1:{server.port}/api/v1/"
    with httpx.Client(base_url=base, timeout=60) as http:
        for number in range(USERS):
            user = {"username": f"user{number}", "roles": ["member"]}
            created = http.post("users", json=user, headers=bearer(administrator))
            created.raise_for_status()
            credentials = {"tenant": "bench", "username": f"user{number}"}
            credentials["password"] = created.json()["temporary_password"]
            credentials["new_password"] = secrets.token_urlsafe(24)
            signed_in = http.post("auth/sign-in", json=credentials)
            signed_in.raise_for_status()
            tokens.append(signed_in.json()["token"])
    return tokens


async def prepare(server: Server, tokens: list[str], seed: int) -> Load:
    """Upload what can be opened from the beginning."""
    block, chance = memoryview(os.urandom(MOST_BYTES)), random.Random(seed)
    load = Load(server.port, tokens, block, [], "", seed)
    async with connected(server.port, 0, tokens[0], chance) as connection:
        load.large = await connection.upload(block[:LARGE_BYTES])
        for _ in range(DOCUMENTS_BEFORE):
            size = drawn_size(chance)
            load.stored.append((await connection.upload(block[:size]), size))
    return load


@dataclass(frozen=True)
class Measured:
    """What a number of clients got: requests a second, seconds, what the requests became."""

    clients: int
    throughput: float
    median: float
    p95: float
    p99: float
    load: Load

    @property
    def each(self) -> float:
        """Requests a second of each client that works."""
        return self.throughput / working(self.clients)


async def measure(
    server: Server, tokens: list[str], clients: int, seconds: float, seed: int
) -> Measured:
    """So many clients for so long."""
    load = await prepare(server, tokens, seed)
    await asyncio.to_thread(wait_until_settled, server)
    await load.run(clients, seconds)
    cuts = statistics.quantiles(load.took, n=100)
    count = len(load.took)
    return Measured(clients, count / seconds, cuts[49], cuts[94], cuts[98], load)


def show(report: Report, measured: Measured) -> None:
    milliseconds = (f"{each * 1e3:,.0f}" for each in (measured.median, measured.p95, measured.p99))
    title = f"{measured.clients} clients"
    report.row(title, f"{measured.throughput:,.0f}", f"{measured.each:,.1f}", *milliseconds)
    became = ", ".join(f"{count:,} {what}" for what, count in measured.load.became.most_common())
    report.row(f"  {became}")
    for error, count in measured.load.errors.most_common(5):
        report.row(f"  error, {count} times: {error}")


def run(folder: Path, seconds: float, seed: int) -> int:
    """Measure, print; the exit code."""
    settings = {
        "STRONGROOM_REQUESTS_PER_MINUTE": "1000000",
        "STRONGROOM_SIGN_INS_PER_MINUTE": "1000000",
    }
    report = Report()
    with strongroom(folder, settings) as server:
        tokens = members(server, sign_in(server))
        server.forget_peak()
        before = server.resident_bytes()
        report.head("requests/s", "of each", "median ms", "p95 ms", "p99 ms")
        few = uvloop.run(measure(server, tokens, FEW, seconds, seed))
        show(report, few)
        many = uvloop.run(measure(server, tokens, MANY, seconds, seed + 1))
        growth = (server.peak_resident_bytes() - before) / MEBIBYTE
        show(report, many)
    report.row("memory growth of the server at its peak, MiB", f"{growth:.0f}")
    report.row(
        "throughput of 100 clients, of that of 10", f"{many.throughput / few.throughput:.2f}"
    )
    report.at_most("100 clients: p99, times the median", many.p99 / many.median, MOST_TIMES_MEDIAN)
    report.at_most("errors", few.load.errors.total() + many.load.errors.total(), 0)
    report.at_most("memory growth, MiB", growth, MOST_GROWTH / MEBIBYTE)
    return report.end()


def main() -> int:
    parser = argparse.ArgumentParser(description="100 clients at once, beside 10.")
    add_arguments(parser, quick=f"{QUICK_SECONDS:.0f} seconds each")
    parser.add_argument("--seed", type=int, default=14, help="of mix and sizes (%(default)s)")
    arguments = parser.parse_args()
    seconds = QUICK_SECONDS if arguments.quick else SECONDS
    with scratch_folder(arguments.scratch) as folder:
        return run(folder, seconds, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
