"""Small documents from clients at once: how many a second, and what each takes of the processor."""

import hashlib
import os
import statistics
import time
from dataclasses import dataclass

from bench.clients import (
    Rounds,
    at_once,
    bearer,
    content_path,
    digest_header,
    document_headers,
    post,
    request_bytes,
)
from bench.processor import Usage, futex_calls, usage
from bench.servers import Server, wait_until_settled

CLIENTS = 8
DOCUMENT_BYTES = 10_000
TRACED_EACH = 25
"""Documents of each client in the run in which calls are counted."""


@dataclass(frozen=True)
class Uploads:
    """What the uploads took.

    Attributes:
        rounds: Seconds until all had been acknowledged.
        settled: The median of the seconds until all that they cause was done as well.
        times: The same as a multiple of the seconds until they were acknowledged.
        each: Used for one document, with its replica and its log entries.
        bare: Seconds of the processor that the bare app used for one.
        futex_calls: For one document; None where they cannot be counted.
    """

    rounds: Rounds
    settled: float
    times: float
    each: Usage
    bare: float
    futex_calls: float | None


def uploads(ours: Server, bare: Server, token: str, each: int, rounds: int) -> Uploads:
    """Upload documents to both, in turn.

    Args:
        ours: Strongroom.
        bare: The bare app, which inserts each body as a row.
        token: For ours.
        each: Documents of each client in a round.
        rounds: How many.
    """
    body = os.urandom(DOCUMENT_BYTES)
    headers = document_headers(token) | {
        "Repr-Digest": digest_header(hashlib.sha256(body).digest())
    }
    to_ours = [request_bytes("POST", "/api/v1/documents", headers, body)] * CLIENTS
    to_bare = [request_bytes("POST", "/row", {}, body)] * CLIENTS

    def traced() -> None:
        at_once(ours, to_ours, TRACED_EACH)
        wait_until_settled(ours)

    # First: a backup of what the rounds upload would be counted as well.
    calls = futex_calls(ours.process.pid, traced)
    measured, settled, times, used, used_bare = Rounds([], []), [], [], [], []
    for _ in range(rounds):
        before = usage(bare.process.pid)
        measured.bare.append(at_once(bare, to_bare, each))
        used_bare.append((usage(bare.process.pid) - before).processor)
        before, begin = usage(ours.process.pid), time.perf_counter()
        measured.ours.append(at_once(ours, to_ours, each))
        wait_until_settled(ours)
        settled.append(time.perf_counter() - begin)
        times.append(settled[-1] / measured.ours[-1])
        used.append(usage(ours.process.pid) - before)

    count = CLIENTS * each
    middle = Usage(
        statistics.median(one.user for one in used) / count,
        statistics.median(one.system for one in used) / count,
        round(statistics.median(one.waited for one in used) / count),
        round(statistics.median(one.displaced for one in used) / count),
    )
    return Uploads(
        measured,
        statistics.median(settled),
        statistics.median(times),
        middle,
        statistics.median(used_bare) / count,
        None if calls is None else calls / (CLIENTS * TRACED_EACH),
    )


def downloads(ours: Server, bare: Server, token: str, each: int, rounds: int) -> Rounds:
    """Open documents of both, in turn; each client one of its own, which it compares."""
    body = os.urandom(DOCUMENT_BYTES)
    to_ours, to_bare = [], []
    for _ in range(CLIENTS):
        created = post(ours, "/api/v1/documents", document_headers(token), [body], len(body))
        path = content_path(created.location)
        to_ours.append(request_bytes("GET", path, bearer(token)))
        number = put_file(bare, body)
        to_bare.append(request_bytes("GET", f"/file/{number}", {}))
    measured = Rounds([], [])
    for _ in range(rounds):
        measured.bare.append(at_once(bare, to_bare, each, status=b"200", body=body))
        measured.ours.append(at_once(ours, to_ours, each, status=b"200", body=body))
        wait_until_settled(ours)
    return measured


def put_file(bare: Server, body: bytes | memoryview) -> int:
    """Give the bare app a file; the number that it has there."""
    post(bare, "/file", {}, [body], len(body))
    return max(int(path.stem) for path in bare.folder.glob("*.file"))
