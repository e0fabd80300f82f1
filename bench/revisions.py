"""Revisions of this project beside each other: what a change of its code gains, or what it costs.

    git worktree add /tmp/before HEAD~1
    python -m bench.revisions /tmp/before . [--quick] [--scratch FOLDER]

A server of each revision runs, on the Python and the libraries of this one, and they take turns with the
same work: one content of 100 MB up and down, and documents of 10 KB from eight clients. A turn begins when
no server uses the processor any more. What is printed for a revision is the median of its turns, and in
brackets how many times as fast as the first revision it is, or how many times the processor time it takes:
the median of the ratios within each round, so that a machine that is busy for a while slows all of them.

It has no floor: what is better is for whoever compares to say.
"""

import argparse
import contextlib
import os
import secrets
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import bench  # noqa: F401 - run as a script, it finds the project
from bench.clients import (
    at_once,
    bearer,
    content_path,
    document_headers,
    erase,
    post,
    receive,
    request_bytes,
)
from bench.processor import TICK, usage
from bench.report import Report
from bench.servers import Server, add_arguments, scratch_folder, sign_in, strongroom
from bench.small import CLIENTS, DOCUMENT_BYTES

REST_SECONDS = 0.3
"""At rest is a server that has used nothing of the processor for so long, or one tick of its clock."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything; ``documents`` is for each client."""

    content: int
    documents: int
    rounds: int


FULL = Sizes(100_000_000, 60, 9)
QUICK = Sizes(32_000_000, 20, 3)


@dataclass(frozen=True)
class Revision:
    """A server of one revision, and what its turns took, row by row."""

    name: str
    server: Server
    token: str
    took: dict[str, list[float]] = field(default_factory=dict)

    def note(self, row: str, value: float) -> None:
        """Add what a turn took."""
        self.took.setdefault(row, []).append(value)


def rest(revisions: list[Revision]) -> None:
    """Wait until no server has anything left to do."""
    pids = [revision.server.process.pid for revision in revisions]
    used = -1.0
    while (now := sum(usage(pid).processor for pid in pids)) > used + 1.5 / TICK:
        used = now
        time.sleep(REST_SECONDS)


def measure(revisions: list[Revision], sizes: Sizes) -> None:
    """Let all revisions take their turns; a round before the first one is not noted."""
    content, small = os.urandom(sizes.content), os.urandom(DOCUMENT_BYTES)
    for number in range(sizes.rounds + 1):
        for revision in revisions if number % 2 else revisions[::-1]:
            take_turn(revisions, revision, content, small, sizes.documents)
            if not number:
                revision.took.clear()


def take_turn(
    revisions: list[Revision], revision: Revision, content: bytes, small: bytes, documents: int
) -> None:
    """Have one revision work, and note its seconds, and those of the processor until all is done."""
    server, headers = revision.server, document_headers(revision.token)
    locations: list[str] = []

    def up() -> float:
        begin = time.perf_counter()
        created = post(server, "/api/v1/documents", headers, [content], len(content))
        locations.append(created.location)
        return time.perf_counter() - begin

    def down() -> float:
        buffer = bytearray(len(content))
        path = content_path(locations[-1])
        took = receive(server, path, bearer(revision.token), memoryview(buffer))
        if buffer != content:
            raise RuntimeError("what came out is not what went in")
        return took

    def many() -> float:
        request = request_bytes("POST", "/api/v1/documents", headers, small)
        return at_once(server, [request] * CLIENTS, documents)

    for row, work in (("up", up), ("down", down), ("small", many)):
        rest(revisions)
        before = usage(server.process.pid)
        revision.note(row, work())
        rest(revisions)
        used = (usage(server.process.pid) - before).processor
        revision.note(f"{row}, processor", max(used, 1 / TICK))
    erase(server, locations[-1], revision.token)


def show(report: Report, revisions: list[Revision], sizes: Sizes) -> None:
    """Print a row for each thing that was measured, with a cell for each revision."""
    megabytes, documents = sizes.content / 1e6, CLIENTS * sizes.documents
    report.head(*(revision.name[-12:] for revision in revisions))
    for row, title, speed in (
        ("up", f"{megabytes:,.0f} MB up, MB/s", megabytes),
        ("down", f"{megabytes:,.0f} MB down, MB/s", megabytes),
        ("small", f"10 KB up, {CLIENTS} clients, documents/s", documents),
        ("up, processor", f"  processor time of {megabytes:,.0f} MB up, ms", None),
        ("down, processor", f"  processor time of {megabytes:,.0f} MB down, ms", None),
        ("small, processor", "  processor time of a document of 10 KB, ms", None),
    ):
        cells = []
        for revision in revisions:
            pairs = list(zip(revisions[0].took[row], revision.took[row], strict=True))
            middle = statistics.median(revision.took[row])
            if speed is None:
                each = documents if row.startswith("small") else 1
                ratio = statistics.median(took / first for first, took in pairs)
                cells.append(f"{middle / each * 1e3:.4g} ({ratio:.2f})")
            else:
                ratio = statistics.median(first / took for first, took in pairs)
                cells.append(f"{speed / middle:,.0f} ({ratio:.2f})")
        report.row(title, *cells)


def run(folder: Path, roots: list[Path], sizes: Sizes) -> None:
    """Measure the checkouts at these roots in a folder, and print."""
    settings = {
        "STRONGROOM_MAX_DIRECT_UPLOAD_BYTES": str(sizes.content),
        "STRONGROOM_REQUESTS_PER_MINUTE": "1000000",
        "STRONGROOM_SIGN_INS_PER_MINUTE": "1000000",
    }
    with contextlib.ExitStack() as started:
        revisions = []
        for number, root in enumerate(roots):
            data = folder / str(number)
            data.mkdir()
            server = started.enter_context(strongroom(data, settings, root=root.resolve()))
            token = sign_in(server, secrets.token_urlsafe(24))
            revisions.append(Revision(root.resolve().name, server, token))
        measure(revisions, sizes)
    show(Report(), revisions, sizes)


def main() -> int:
    parser = argparse.ArgumentParser(description="Revisions of this project beside each other.")
    parser.add_argument("roots", nargs="+", type=Path, help="a checkout of each revision")
    add_arguments(parser, quick="less data and fewer rounds")
    arguments = parser.parse_args()
    with scratch_folder(arguments.scratch) as folder:
        run(folder, arguments.roots, QUICK if arguments.quick else FULL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
