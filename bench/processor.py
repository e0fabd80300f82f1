"""What a server takes of the processor: time, context switches, and calls of ``futex``.

A futex is how a thread waits for a lock, so its calls tell how often threads hand one to each other. They
are counted by ``strace``, which slows the server: in a run of its own.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a process and its children have used so far: seconds, and context switches.

    Attributes:
        user: Outside of the kernel.
        system: In the kernel.
        waited: Switches because a thread waited for something.
        displaced: Switches because its time was up.
    """

    user: float
    system: float
    waited: int
    displaced: int

    @property
    def processor(self) -> float:
        """User and system time."""
        return self.user + self.system

    def __sub__(self, before: "Usage") -> "Usage":
        return Usage(
            self.user - before.user,
            self.system - before.system,
            self.waited - before.waited,
            self.displaced - before.displaced,
        )


def usage(pid: int) -> Usage:
    """What a process and its living children have used: proc_pid_stat(5) and proc_pid_status(5)."""
    user = system = waited = displaced = 0
    for process in family(pid):
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        user, system = user + int(fields[11]), system + int(fields[12])
        for status in process.glob("task/*/status"):
            text = status.read_text()
            waited += _switches("voluntary", text)
            displaced += _switches("nonvoluntary", text)
    return Usage(user / TICK, system / TICK, waited, displaced)


def _switches(kind: str, status: str) -> int:
    found = re.search(rf"^{kind}_ctxt_switches:\s+(\d+)$", status, re.MULTILINE)
    return int(found[1]) if found else 0


def family(pid: int) -> list[Path]:
    """The folders in /proc of a process, its children and theirs."""
    folder = Path(f"/proc/{pid}")
    children = [
        int(child)
        for listed in folder.glob("task/*/children")
        for child in listed.read_text().split()
    ]
    return [folder, *(found for child in children for found in family(child))]


def futex_calls(pid: int, work: Callable[[], object]) -> int | None:
    """How often a process and its children call ``futex`` during the work; None without ``strace``."""
    if shutil.which("strace") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary"
        traced = [part for each in family(pid) for part in ("-p", each.name)]
        command = ["strace", "-f", "-c", "-e", "trace=futex", "-o", str(summary), *traced]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr
            first = tracer.stderr.readline()
            if "attached" not in first:
                tracer.kill()
                return None  # a container may forbid it
            try:
                work()
            finally:
                tracer.send_signal(signal.SIGINT)
                tracer.stderr.read()
        rows = [line.split() for line in summary.read_text().splitlines()]
    return sum(int(row[3]) for row in rows if row and row[-1] == "futex")
