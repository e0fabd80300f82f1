"""What one hostile client can take from everybody else: memory, connections, time.

    python -m bench.hostile [--quick] [--scratch FOLDER]

The real server (``python -m standalone``), a client at 127.0.0.2 who does harm as one user, and
another user at 127.0.0.1 who works on: lists, uploads and downloads small documents all the time.

- Downloads of a large document that are never read.
- Uploads that stop after a few megabytes.
- Uploads that are broken off, round after round.
- Connections over which nothing is sent, more than the process has files at its start.

Each has 1,000 connections at a time, the last one 1,200, and whoever is refused comes again every
second. While it lasts the server's peak may lie 300 MiB above what it had before, and a while after it
100 MiB. The other user's requests all succeed, 99 in 100 of them within 2 seconds, or 5 while uploads
are broken off: these are written to the same disk as fast as it takes them. Exits 1 unless all of it
holds.
"""

import asyncio
import contextlib
import resource
import secrets
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace

import httpx

from bench.clients import document_headers
from bench.servers import Server, read_arguments, scratch_folder, sign_in, strongroom

MEBIBYTE = 1_048_576
MAX_GROWTH = 300 * MEBIBYTE
MAX_GROWTH_AFTERWARDS = 100 * MEBIBYTE
MAX_P99_SECONDS = 2.0
MAX_P99_SECONDS_OF_ROUNDS = 5.0
FILES_AT_START = 1_024
OWN_FILES = 4_096

HARMFUL = "127.0.0.2"
OTHER = "127.0.0.1"
LARGE_BYTES = 32 * MEBIBYTE
PIECE = bytes(65_536)
SENT_PIECES = 48
SILENT_CONNECTIONS = 1_200
DOCUMENT_BYTES = 10_000
PAUSE_SECONDS = 0.25
COME_BACK_SECONDS = 1.0
SETTLE_SECONDS = 15.0


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    connections: int
    seconds: float
    rounds: int


FULL = Sizes(1_000, 30.0, 5)
QUICK = Sizes(400, 6.0, 2)


@dataclass(frozen=True)
class Plan:
    """One user's harmful requests.

    Attributes:
        kind: The method of ``Attack`` that makes one of them.
        port: Of the server.
        token: Of the user.
        document: The path of a large document's content.
        sizes: How many at a time, and for how long.
        rounds: Whether they come in rounds, one after the other, instead.
    """

    kind: str
    port: int
    token: str
    document: str
    sizes: Sizes
    rounds: bool = False


class Attack:
    """Makes the harmful requests, in a process of its own.

    Attributes:
        became: What they became: a status, ``dropped``, ``broken off`` or ``connected``.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._act: Callable[[], Awaitable[None]] = getattr(self, plan.kind)
        self.became: Counter[str] = Counter()

    async def run(self) -> None:
        """Do all the harm of the plan."""
        sizes = self._plan.sizes
        if self._plan.rounds:
            for _ in range(sizes.rounds):
                await asyncio.gather(*(self._once() for _ in range(sizes.connections)))
            return
        tasks = [asyncio.create_task(self._persist()) for _ in range(sizes.connections)]
        await asyncio.sleep(sizes.seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stalled_download(self) -> None:
        """Ask for a large document, and read its head alone."""
        plan = self._plan
        head = f"GET {plan.document} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {plan.token}"
        async with self._connected() as (reader, writer):
            writer.write(f"{head}\r\n\r\n".encode())
            await self._stay(reader)

    async def slow_upload(self) -> None:
        """Send the beginning of a large document, and no more."""
        async with self._connected() as (reader, writer):
            sending = asyncio.create_task(self._send_some(writer))
            try:
                await self._stay(reader)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def aborted_upload(self) -> None:
        """Send the beginning of a large document, and break off."""
        async with self._connected() as (_, writer):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self._send_some(writer)
            self.became["broken off"] += 1

    async def silent(self) -> None:
        """Connect, and send nothing."""
        async with self._connected() as (reader, _):
            self.became["connected"] += 1
            await reader.read(1)

    async def _persist(self) -> None:
        """Who is refused comes again."""
        while True:
            await self._once()
            await asyncio.sleep(COME_BACK_SECONDS)

    async def _once(self) -> None:
        with contextlib.suppress(OSError):
            await self._act()

    async def _send_some(self, writer: asyncio.StreamWriter) -> None:
        headers = {"Host": "x", **document_headers(self._plan.token)}
        headers["Content-Length"] = str(LARGE_BYTES)
        lines = ["POST /api/v1/documents HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for _ in range(SENT_PIECES):
            writer.write(PIECE)
            await writer.drain()

    async def _stay(self, reader: asyncio.StreamReader) -> None:
        status = (await reader.readline()).split()
        self.became[status[1].decode() if status else "dropped"] += 1
        if status[1:2] == [b"200"]:
            await asyncio.Event().wait()
        await reader.read()

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._plan.port, local_addr=(HARMFUL, 0), limit=1_024
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


def do_harm(plan: Plan) -> Counter[str]:
    """What the requests of a plan became."""
    attack = Attack(plan)
    asyncio.run(attack.run())
    return attack.became


@dataclass
class Others:
    """What another user sees meanwhile: seconds of each request, and what failed."""

    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.seconds, n=100)[98] if len(self.seconds) > 1 else 1e9

    async def work(self, server: Server, token: str) -> None:
        """Work as people do, a new connection every time, until cancelled."""
        headers = document_headers(token)
        address = f"http://127.0.0.1:{server.port}/api/v1/documents"
        content = secrets.token_bytes(DOCUMENT_BYTES)
        while True:
            transport = httpx.AsyncHTTPTransport(local_address=OTHER)
            async with httpx.AsyncClient(transport=transport, timeout=30, headers=headers) as http:
                await self._timed(http.get(address, params={"limit": 20}))
                created = await self._timed(http.post(address, content=content))
                if created is not None:
                    found = await self._timed(http.get(f"{address}/{created.json()['id']}/content"))
                    if found is not None and found.content != content:
                        self.failures["another content"] += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _timed(self, request: Awaitable[httpx.Response]) -> httpx.Response | None:
        begin = time.perf_counter()
        try:
            response = await request
        except httpx.TransportError as error:
            self.failures[type(error).__name__] += 1
            return None
        self.seconds.append(time.perf_counter() - begin)
        if response.is_success:
            return response
        self.failures[str(response.status_code)] += 1
        return None


@dataclass(frozen=True)
class Outcome:
    """Of one attack: growth in bytes, at the peak and afterwards; the bar of the others' seconds."""

    title: str
    peak: int
    afterwards: int
    max_p99: float
    others: Others
    became: Counter[str]

    @property
    def holds(self) -> bool:
        return (
            self.peak <= MAX_GROWTH
            and self.afterwards <= MAX_GROWTH_AFTERWARDS
            and self.others.p99 <= self.max_p99
            and not self.others.failures
        )

    def __str__(self) -> str:
        failed = sum(self.others.failures.values())
        seen = ", ".join(f"{count} {what}" for what, count in self.became.most_common())
        return (
            f"{self.title:22}{self.peak / MEBIBYTE:10.0f}{self.afterwards / MEBIBYTE:10.0f}"
            f"{len(self.others.seconds):10}{failed:8}{self.others.p99 * 1000:10.0f}"
            f"  {'holds' if self.holds else 'FAILS'}   ({seen})"
        )


async def suffer(title: str, server: Server, token: str, plan: Plan) -> Outcome:
    """Let an attack go on, and measure what it does to the server and to the user of a token.

    Raises:
        Exception: What ended the work of that user before it was cancelled.
    """
    before = server.resident_bytes()
    server.forget_peak()
    others = Others()
    working = asyncio.create_task(others.work(server, token))
    with ProcessPoolExecutor(1) as process:
        loop = asyncio.get_running_loop()
        became = await loop.run_in_executor(process, do_harm, plan)
    peak = server.peak_resident_bytes() - before
    await asyncio.sleep(SETTLE_SECONDS)
    if working.done():
        working.result()  # it works until it is cancelled, so it raises
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    afterwards = server.resident_bytes() - before
    max_p99 = MAX_P99_SECONDS_OF_ROUNDS if plan.rounds else MAX_P99_SECONDS
    return Outcome(title, peak, afterwards, max_p99, others, became)


def member(server: Server, administrator: str) -> str:
    """Create a member; their token."""
    address = f"http://127.0.0.1:{server.port}/api/v1"
    with httpx.Client(base_url=address, timeout=60) as http:
        created = http.post(
            "/users",
            json={"username": "mallory", "roles": ["member"]},
            headers={"Authorization": f"Bearer {administrator}"},
        ).raise_for_status()
        signed_in = http.post(
            "/auth/sign-in",
            json={
                "tenant": "bench",
                "username": "mallory",
                "password": created.json()["temporary_password"],
                "new_password": secrets.token_urlsafe(24),
            },
        ).raise_for_status()
        token: str = signed_in.json()["token"]
        return token


async def attacks(server: Server, sizes: Sizes) -> list[Outcome]:
    token = sign_in(server)
    harmful = member(server, token)
    address = f"http://127.0.0.1:{server.port}/api/v1/documents"
    async with httpx.AsyncClient(timeout=60, headers=document_headers(token)) as http:
        large = (await http.post(address, content=bytes(LARGE_BYTES))).raise_for_status().json()
        # Once through everything, so that growth is not that of a server that had only just begun.
        for _ in range(20):
            await http.get(f"{address}/{large['id']}/content")
    path = f"/api/v1/documents/{large['id']}/content"
    return [
        await suffer(title, server, token, plan)
        for title, plan in plans(server.port, harmful, path, sizes).items()
    ]


def plans(port: int, token: str, document: str, sizes: Sizes) -> dict[str, Plan]:
    """All attacks by their titles."""
    plan = Plan("stalled_download", port, token, document, sizes)
    return {
        "stalled downloads": plan,
        "slow uploads": replace(plan, kind="slow_upload"),
        "aborted uploads": replace(plan, kind="aborted_upload", rounds=True),
        "silent connections": replace(
            plan, kind="silent", sizes=replace(sizes, connections=SILENT_CONNECTIONS)
        ),
    }


def main() -> int:
    arguments = read_arguments(
        "What one hostile client takes from others.", quick="fewer connections and less time"
    )
    sizes = QUICK if arguments.quick else FULL

    # The server begins with as few files as a login shell gives it; this process needs its own.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_AT_START, hard))
    with scratch_folder(arguments.scratch) as folder, strongroom(folder) as server:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, OWN_FILES), hard))
        outcomes = asyncio.run(attacks(server, sizes))

    print(f"{'':22}{'growth, MiB':>20}{'  others':>10}{'':8}{'':10}")
    print(f"{'':22}{'peak':>10}{'after':>10}{'requests':>10}{'failed':>8}{'p99, ms':>10}")
    for outcome in outcomes:
        print(outcome)
    return 0 if all(outcome.holds for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
