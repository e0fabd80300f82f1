"""The server's two processes over one data folder: either is killed, both write, both stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from standalone.background import BEHIND_REQUESTS
from tests.support.accounts import bearer, bootstrap, create_tenant
from tests.support.process import ServerProcess, wait_until

UPLOADS = 60
WRITERS = 6


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(
        tmp_path / "data",
        requests_per_minute="1000000",
        outbox_relay_schedule="* * * * * *",
        audit_checkpoint_schedule="* * * * * *",
        audit_checkpoint_seconds="1",
    )
    server.start()
    server.wait_until_ready()
    yield server
    server.discard()


def background(server: ServerProcess) -> int | None:
    """The number of the second process, once there is one."""
    parent = server.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in children:
        if b"standalone.background" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    return None


def is_gone(process: int) -> bool:
    """Whether it has ended, also where nobody has asked for its exit code."""
    try:
        return ") Z " in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def ignores_signals(process: int) -> bool:
    """Whether it ignores SIGTERM, the last thing that it does before it imports the rest."""
    status = Path(f"/proc/{process}/status").read_text()
    [ignored] = [line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")]
    return bool(int(ignored, 16) >> (signal.SIGTERM - 1) & 1)


def replicated(server: ServerProcess) -> int:
    """How many events the second process has had replicated, as its log lines say."""
    return sum(
        line.get("subscription") == "replication" and line.get("outcome") == "completed"
        for line in server.log_lines()
    )


def events(server: ServerProcess) -> set[str]:
    """What its log lines are about."""
    return {str(line["event"]) for line in server.log_lines()}


def upload(http: httpx.Client, token: str, number: int) -> None:
    answer = http.post(
        "documents",
        content=b"content %d" % number,
        headers=bearer(token) | {"Content-Disposition": f'attachment; filename="{number}.txt"'},
    )
    assert answer.status_code == 201, answer.text


def test_both_processes_write_under_load_and_both_stop_in_good_order(server: ServerProcess) -> None:
    with httpx.Client(base_url=server.api, timeout=60) as http:
        token = create_tenant(http, bootstrap(http, server.data), "acme")
        with ThreadPoolExecutor(WRITERS) as threads:
            list(threads.map(lambda number: upload(http, token, number), range(UPLOADS)))
        wait_until(lambda: replicated(server) >= UPLOADS, "the replicas", seconds=60)
    every = {"request", "message", "timer"}
    wait_until(lambda: events(server) >= every, "a timer", seconds=90)
    second = wait_until(lambda: background(server), "the second process")
    first = os.getpriority(os.PRIO_PROCESS, server.process.pid)
    assert os.getpriority(os.PRIO_PROCESS, second) == min(first + BEHIND_REQUESTS, 19)
    server.stop()
    assert is_gone(second)
    lines = server.log_lines()
    assert [line for line in lines if line["level"] != "info"] == []


def test_the_second_process_dies_with_the_first_and_a_new_server_starts_at_once(
    server: ServerProcess,
) -> None:
    second = wait_until(lambda: background(server), "the second process")
    wait_until(lambda: ignores_signals(second), "it to depend on the first")
    os.kill(second, signal.SIGSTOP)  # it does not get to see that the first is gone
    server.kill()
    server.start()
    server.wait_until_ready()
    assert is_gone(second)
    server.stop()


def test_messages_take_effect_though_the_second_process_is_killed(server: ServerProcess) -> None:
    with httpx.Client(base_url=server.api, timeout=60) as http:
        token = create_tenant(http, bootstrap(http, server.data), "acme")
        second = wait_until(lambda: background(server), "the second process")
        os.kill(second, signal.SIGTERM)  # the first one alone tells it to stop
        os.kill(second, signal.SIGKILL)
        upload(http, token, 1)
        wait_until(lambda: replicated(server) >= 1, "the replica", seconds=60)
    assert "background process ended" in {line["event"] for line in server.log_lines()}
    assert background(server) not in (None, second)
    server.stop()


def test_one_process_can_do_it_all(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", arguments=("--one-process",))
    server.start()
    try:
        server.wait_until_ready()
        with httpx.Client(base_url=server.api, timeout=60) as http:
            upload(http, create_tenant(http, bootstrap(http, server.data), "acme"), 1)
        wait_until(lambda: replicated(server) >= 1, "the replica")
        assert background(server) is None
        server.stop()
    finally:
        server.discard()
