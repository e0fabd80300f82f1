"""The real server, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx

from standalone.demo.report import PromiseBroken, check, console, stage, wait_until

ROOT: Final = Path(__file__).parents[2]
LOG_LINES: Final = 20


@contextlib.contextmanager
def server(data: Path, largest: int) -> Iterator[str]:
    """The server on an empty data folder and a free port, until the end of the block; its URL.

    Args:
        data: The data folder. The log goes beside it, and onto the console when a promise is broken.
        largest: The size of the largest content that it has to take.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base_url = f"http://127.0.0.1:{port}"
    log = data.with_name("server.log")
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "standalone", "--port", str(port), "--data", str(data)],
            cwd=ROOT,
            env=_environment(largest),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends the server
        )
    try:
        with stage("Start the server on an empty data folder") as done:
            wait_until(lambda: _responds(base_url, process), "the server to respond")
            done(base_url)
        yield base_url
        with stage("Stop the server") as done:
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: process.poll() is not None, "the server to stop")
            check(process.returncode == 0, "the server stops cleanly")
            done("every request and message had finished")
    except (PromiseBroken, httpx.HTTPError):
        lines = log.read_text(errors="replace").splitlines()
        said = [line for line in lines if '"level":"info"' not in line]
        console.print("\n".join(said[-LOG_LINES:]), markup=False)
        raise
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _environment(largest: int) -> dict[str, str]:
    """This process's environment with the demo's settings, whatever else is set in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STRONGROOM_")}
    return kept | {
        "STRONGROOM_MAX_DIRECT_UPLOAD_BYTES": str(largest),
        "STRONGROOM_MAX_STAGED_UPLOAD_BYTES": str(largest),
        "STRONGROOM_OUTBOX_RELAY_SCHEDULE": "*/5 * * * * *",
    }


def _responds(base_url: str, process: subprocess.Popen[bytes]) -> bool:
    check(process.poll() is None, "the server starts")
    try:
        return httpx.get(f"{base_url}/api/v1/health").status_code == 200
    except httpx.TransportError:
        return False
