"""How many HTTP requests one instance of the function app serves at once, and what they take.

    python -m bench.concurrency [--quick] [--scratch FOLDER]

The app runs in Azure's own Python worker, in a process that may use one core: what an instance of 2,048 MB
has. Clients in this process upload and open without a pause: one upload to three opens, nine in ten of
100 KB and one of 5 MB. For each number of clients: requests and processor time a second, processor time a
request, the median and the 99th percentile of the time that a request took, and the peak of the memory.

On both profiles: embedded parts; and Azure's services as the tests emulate them, where Node is there, for
what the SDKs take. There the emulators are the bottleneck, so only processor time and memory say something.

On Azure a request waits for its stores most of the time, here it does not. From the processor time of a
request and the time that it waits, ``at_once`` computes how many requests keep one core busy.

Exits 1 if a request failed, or if ``REQUESTS_PER_INSTANCE`` of them took more memory than an instance has.
"""

import contextlib
import hashlib
import os
import random
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.profiles import profiles
from bench.servers import (
    ROOT,
    first_administrator,
    forget_peak,
    peak_resident_bytes,
    read_arguments,
    resident_bytes,
    scratch_folder,
)
from tests.support.functions_host import FunctionsHost
from tests.support.infra.promises_operation import REQUESTS_PER_INSTANCE

MEBIBYTE = 1_048_576
INSTANCE_MEGABYTES = 2048
HOST_MEGABYTES = 600
"""Left to the Functions host, which shares the instance."""

SMALL, LARGE = 100_000, 5_000_000
CLIENTS = (1, 4, 8, 16, 32)
WAIT_SECONDS = (0.05, 0.1, 0.2)
"""What a request may wait for Azure's stores: ten to twenty calls in a row, of 5 to 10 ms each."""


@dataclass(frozen=True)
class Measured:
    """What a number of clients took: seconds, requests, bytes."""

    clients: int
    elapsed: float
    processor: float
    took: list[float]
    peak: int

    @property
    def each(self) -> float:
        """Processor seconds a request."""
        return self.processor / len(self.took)


def at_once(processor: float, waiting: float) -> float:
    """How many requests at once keep one core busy: each needs it for a part of its time alone."""
    return (processor + waiting) / processor


def processor_seconds(pid: int) -> float:
    """The processor time of a process so far: proc_pid_stat(5), utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Client:
    """Uploads and opens, one request after the other."""

    def __init__(self, host: FunctionsHost, token: str, seed: int) -> None:
        self._http = httpx.Client(transport=host, base_url="http://edge.test/api/v1/", timeout=120)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._random = random.Random(seed)
        self._made: dict[int, tuple[str, bytes]] = {}

    def upload(self, size: int) -> None:
        content = self._random.randbytes(size)
        answer = self._http.post(
            "documents",
            content=content,
            headers=self._headers | {"Content-Disposition": 'attachment; filename="content.bin"'},
        )
        if answer.status_code != 201:
            raise RuntimeError(f"an upload got {answer.status_code}: {answer.text}")
        self._made[size] = (answer.json()["id"], hashlib.sha256(content).digest())

    def open(self, size: int) -> None:
        document, digest = self._made[size]
        answer = self._http.get(f"documents/{document}/content", headers=self._headers)
        if answer.status_code != 200 or hashlib.sha256(answer.content).digest() != digest:
            raise RuntimeError(f"an open got {answer.status_code}")

    def work(self) -> float:
        """One request of the mix; the seconds that it took."""
        size = LARGE if self._random.random() < 0.1 else SMALL
        act = self.upload if self._random.random() < 0.25 else self.open
        begin = time.perf_counter()
        act(size)
        return time.perf_counter() - begin


def measure(host: FunctionsHost, token: str, clients: int, seconds: float) -> Measured:
    """The mix from so many clients for so long."""
    working = [Client(host, token, seed) for seed in range(clients)]
    for client in working:
        client.upload(SMALL)
        client.upload(LARGE)
    took: list[float] = []
    failures: list[BaseException] = []
    forget_peak(host.pid)
    before, begin = processor_seconds(host.pid), time.perf_counter()

    def run(client: Client) -> None:
        try:
            while time.perf_counter() - begin < seconds:
                took.append(client.work())
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(client,)) for client in working]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - begin
    if failures:
        raise failures[0]
    processor = processor_seconds(host.pid) - before
    return Measured(clients, elapsed, processor, took, peak_resident_bytes(host.pid))


@contextlib.contextmanager
def worker(folder: Path, settings: dict[str, str]) -> Iterator[tuple[FunctionsHost, str]]:
    """Azure's worker with the app on one core, and the token of an administrator."""
    secret = secrets.token_urlsafe(24)
    host = FunctionsHost(
        ROOT,
        folder,
        data_dir=str(folder / "data"),
        bootstrap_secret_sha256=hashlib.sha256(secret.encode()).hexdigest(),
        requests_per_minute="1000000",
        **settings,
    )
    try:
        os.sched_setaffinity(host.pid, {min(os.sched_getaffinity(0))})
        host.start()
        with httpx.Client(transport=host, base_url="http://edge.test/api/v1/", timeout=60) as http:
            yield host, first_administrator(http, secret)
    finally:
        host.stop()


def main() -> int:
    arguments = read_arguments(
        "Requests at once in one instance.", quick="less time for each number of clients"
    )
    seconds = 5 if arguments.quick else 20
    limit = (INSTANCE_MEGABYTES - HOST_MEGABYTES) * MEBIBYTE
    held = True
    with scratch_folder(arguments.scratch) as scratch, profiles() as found:
        for name, settings in found.items():
            folder = Path(tempfile.mkdtemp(dir=scratch))
            with worker(folder, settings) as (host, token):
                idle = resident_bytes(host.pid)
                print(f"{name}: idle {idle / MEBIBYTE:.0f} MiB")
                for clients in CLIENTS:
                    m = measure(host, token, clients, seconds)
                    slow = statistics.quantiles(m.took, n=100)[98]
                    waits = ", ".join(
                        f"{at_once(m.each, wait):.0f} at {wait * 1000:.0f} ms"
                        for wait in WAIT_SECONDS
                    )
                    print(
                        f"  {clients:3} clients: {len(m.took) / m.elapsed:6.1f} requests/s, "
                        f"{m.processor / m.elapsed:4.0%} of a core, {m.each * 1000:5.1f} ms each; "
                        f"{statistics.median(m.took) * 1000:5.0f} ms, p99 {slow * 1000:5.0f} ms; "
                        f"peak {m.peak / MEBIBYTE:4.0f} MiB; a core is busy with {waits} of waiting"
                    )
                    if clients == REQUESTS_PER_INSTANCE[INSTANCE_MEGABYTES]:
                        held = held and m.peak <= limit
    print("held" if held else f"MISSED: more than {limit / MEBIBYTE:.0f} MiB")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
