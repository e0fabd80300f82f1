"""Running the ``strongroom`` command: in a process of its own, or in this one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.main import run
from tests.support.process import ROOT

COMMAND = (sys.executable, "-m", "client")
TERMINAL_SECONDS = 60
CREDENTIALS = ("AWS_", "AZURE_", "GOOGLE_", "STRONGROOM_", "XDG_")


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def events(self) -> list[dict[str, Any]]:
        """With ``--json``: every line."""
        return [json.loads(line) for line in self.lines]

    def events_of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]


def command_environment(**variables: str) -> dict[str, str]:
    """This process's environment without anybody's credentials, and with these variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CREDENTIALS)}
    return kept | {"PYTHONPATH": str(ROOT)} | variables


def strongroom(
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
) -> Ran:
    """Run the command in a process of its own, to its end."""
    ran = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=dict(environment) if environment is not None else command_environment(),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


def on_terminal(
    *arguments: object,
    environment: Mapping[str, str],
    answers: Sequence[tuple[str, str]] = (),
) -> Ran:
    """Run the command on a terminal of its own, and answer what it asks.

    Args:
        arguments: Of the command.
        environment: Environment variables.
        answers: Pairs of a text to wait for and of what to type then.
    """
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env={**environment, "TERM": "xterm", "COLUMNS": "100"},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    shown = ""
    waiting = list(answers)
    watchdog = threading.Timer(TERMINAL_SECONDS, process.kill)
    watchdog.start()
    try:
        # A terminal that nobody holds open any more reads as an error.
        with contextlib.suppress(OSError):
            while chunk := os.read(terminal, 65_536):
                shown += chunk.decode("utf-8", "replace")
                if waiting and waiting[0][0] in shown:
                    os.write(terminal, f"{waiting.pop(0)[1]}\n".encode())
        process.wait()
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        os.close(terminal)
    return Ran(process.returncode, shown, "")


def invoke(*arguments: object) -> Ran:
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    former = sys.argv
    sys.argv = ["strongroom", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run()
    finally:
        sys.argv = former
    return Ran(code, out.getvalue(), err.getvalue())
