"""The real server in a process of its own, on 127.0.0.1, to be stopped and killed by tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx

ROOT = Path(__file__).parents[2]
POLL_SECONDS = 0.02
T = TypeVar("T")


def wait_until(probe: Callable[[], T | None], what: str, *, seconds: float = 30) -> T:
    """Ask until there is an answer; fail when it takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(POLL_SECONDS)


def environment(**settings: str) -> dict[str, str]:
    """This process's environment, with these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STRONGROOM_")}
    # A server that is started again and again would compile every module each time.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {f"STRONGROOM_{name.upper()}": value for name, value in settings.items()}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def start(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Start a server that is expected to refuse."""
    return subprocess.run(
        [sys.executable, "-m", "standalone", *arguments],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


class ServerProcess:
    """``python -m standalone`` on a data folder, at the same address at each start.

    Args:
        data: The data folder; the server's output goes to files beside it.
        root: Where the project is.
        arguments: Of the command, in addition.
        settings: App settings, without their prefix.
    """

    def __init__(
        self, data: Path, *, root: Path = ROOT, arguments: Sequence[str] = (), **settings: str
    ) -> None:
        self.data = data
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.base_url}/api/v1"
        self._root = root
        self._arguments = arguments
        self._environment = environment(**settings)
        self._log = data.with_name(data.name + ".log")
        self._output = data.with_name(data.name + ".out")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server was not started"
        return self._process

    def start(self) -> None:
        """Start it, and go on at once."""
        with self._log.open("ab") as log, self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "standalone"),
                    *("--port", str(self.port), "--data", str(self.data)),
                    *self._arguments,
                ],
                cwd=self._root,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
            )

    def configure(self, **settings: str) -> None:
        """Change settings, from the next start on."""
        self._environment |= {f"STRONGROOM_{name.upper()}": settings[name] for name in settings}

    def wait_until_ready(self) -> None:
        """Wait until it answers."""
        wait_until(self._answers, "the server to answer")

    def kill(self) -> None:
        """SIGKILL: it does not get to finish anything."""
        assert self.process.poll() is None, f"the server ended by itself:\n{self.log()[-3_000:]}"
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """SIGTERM, and go on at once."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """SIGTERM; it must end well."""
        self.terminate()
        assert self.process.wait(60) == 0

    def discard(self) -> None:
        """Leave no process behind, however the test ended."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        """Everything that it wrote to standard error, in all of its lives."""
        return self._log.read_text()

    def log_lines(self) -> list[dict[str, Any]]:
        """The log, parsed: every line of it is a JSON object."""
        return [json.loads(line) for line in self.log().splitlines()]

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"the server did not start:\n{self.log()[-3_000:]}"
        try:
            return httpx.get(f"{self.api}/health").status_code == 200
        except httpx.TransportError:
            return False
