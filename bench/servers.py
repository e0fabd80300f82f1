"""Servers in processes of their own, for the benchmarks: Strongroom as it ships, and its peers."""

import argparse
import contextlib
import http.client
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from standalone.first_steps import bootstrap_secret
from tests.support.records import under_way

ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.02
MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs"}


def read_arguments(description: str, *, quick: str) -> argparse.Namespace:
    """What the command line says: ``quick``, and ``scratch``, the folder in which to work.

    Args:
        description: Of the benchmark.
        quick: What ``--quick`` changes.
    """
    parser = argparse.ArgumentParser(description=description)
    add_arguments(parser, quick=quick)
    return parser.parse_args()


def add_arguments(parser: argparse.ArgumentParser, *, quick: str) -> None:
    """Add what every benchmark takes.

    Args:
        parser: Of the command line.
        quick: What ``--quick`` changes.
    """
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument(
        "--scratch", type=Path, default=Path("/var/tmp"), help="folder on a disk (%(default)s)"
    )


@dataclass(frozen=True)
class Server:
    """A running server: its process, the port that it listens at, the folder that it keeps things in."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def resident_bytes(self) -> int:
        """Its memory now."""
        return resident_bytes(self.process.pid)

    def peak_resident_bytes(self) -> int:
        """The most memory it had since ``forget_peak``."""
        return peak_resident_bytes(self.process.pid)

    def forget_peak(self) -> None:
        """Count peaks from now on."""
        forget_peak(self.process.pid)


def resident_bytes(pid: int) -> int:
    """The memory of a process and its children now."""
    return _status(pid, "VmRSS")


def peak_resident_bytes(pid: int) -> int:
    """The most memory that a process had since ``forget_peak``, and each of its children."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Count the peaks of a process and its children from now on: proc_pid_clear_refs(5)."""
    for process in _with_children(pid):
        Path(f"/proc/{process}/clear_refs").write_text("5")


def _with_children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(int(child) for child in children)]


def _status(pid: int, field: str) -> int:
    return sum(_status_of_one(process, field) for process in _with_children(pid))


def _status_of_one(pid: int, field: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"this system does not tell {field}")
    return int(match.group(1)) * 1024


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A folder for one run, on a disk: a file system in memory makes every fsync free."""
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-", dir=parent) as name:
        folder = Path(name)
        kind = _file_system(folder)
        if kind in MEMORY_FILE_SYSTEMS:
            raise SystemExit(f"{parent} is {kind}; choose a folder on a disk with --scratch")
        yield folder


def _file_system(folder: Path) -> str:
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2] == wanted:
            return source.split()[0]
    return "unknown"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: list[str],
    port: int,
    folder: Path,
    settings: dict[str, str] | None = None,
    *,
    root: Path = ROOT,
) -> Iterator[Server]:
    """``python`` with these arguments until the block ends, once it answers at its port.

    Args:
        command: The arguments.
        port: Where it will listen.
        folder: Gets its log.
        settings: For its environment.
        root: Where it starts: a checkout of this project.
    """
    with (folder / "server.log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=root,
            env=os.environ | (settings or {}),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{command} does not answer:\n{log.read()}")
                time.sleep(POLL_SECONDS)
            yield Server(process, port, folder)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(port: int) -> bool:
    """Whether it responds; asked as cheaply as can be, because it takes the same cores."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/api/v1/health")
        return connection.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def strongroom(
    folder: Path, settings: dict[str, str] | None = None, *, root: Path = ROOT
) -> contextlib.AbstractContextManager[Server]:
    """The real server on embedded parts, with its data in ``folder``; that of the checkout at ``root``."""
    port = free_port()
    command = ["-m", "standalone", "--port", str(port), "--data", str(folder)]
    return running(command, port, folder, settings, root=root)


def sign_in(server: Server, password: str | None = None) -> str:
    """Create the operator and a tenant; the token of the tenant's administrator."""
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}/api/v1", timeout=60) as api:
        return first_administrator(api, bootstrap_secret(server.folder), password)


def first_administrator(api: httpx.Client, secret: str, password: str | None = None) -> str:
    """Create the operator and a tenant through the API; the token of the tenant's administrator.

    Args:
        api: A client of the API.
        secret: Of the bootstrap.
        password: That the administrator is to have; None: one that nobody knows.
    """

    def post(path: str, body: dict[str, str], token: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else None
        answer = api.post(path, json=body, headers=headers)
        answer.raise_for_status()
        return answer.json()

    def token(tenant: str, username: str, temporary: str) -> str:
        body = {"tenant": tenant, "username": username, "password": temporary}
        body["new_password"] = password or secrets.token_urlsafe(24)
        return str(post("auth/sign-in", body)["token"])

    first = post("auth/bootstrap", {"username": "operator", "secret": secret})
    operator = token("operator", "operator", first["temporary_password"])
    created = post("tenants", {"slug": "bench", "administrator": "admin"}, operator)
    return token("bench", "admin", created["administrator"]["temporary_password"])


def wait_until_settled(server: Server) -> None:
    """Wait until every event has taken effect: replicas made and verified, audit entries logged."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while under_way(server.folder):
        if time.monotonic() > deadline:
            raise RuntimeError("the server does not settle")
        time.sleep(POLL_SECONDS)
