"""A writer in a process of its own, killed in the middle of its work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_and_kill(program: str, path: Path, lines: int) -> list[str]:
    """Run a program on a path, kill -9 it after so many lines of output; all lines it told.

    A line that the kill cut short was never told.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:
        told = [process.stdout.readline() for _ in range(lines)]  # type: ignore[union-attr]
        process.kill()
        told += process.stdout.read().splitlines(keepends=True)  # type: ignore[union-attr]
    return [line.strip() for line in told if line.endswith("\n")]
