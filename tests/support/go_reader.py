"""Go's sumdb packages, as a program that reads a log."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.support.process import ROOT
from tests.support.required import require

SOURCE: Final = ROOT / "tests" / "support" / "go" / "logreader"
PACKAGES: Final = Path("/usr/share/gocode")
"""Where Debian's golang-golang-x-mod-dev puts its sources."""


def require_go() -> None:
    """Go and its module packages must be installed; see ``require``."""
    require(
        shutil.which("go") is not None and (PACKAGES / "src/golang.org/x/mod/sumdb").exists(),
        "Go is not installed: apt-get install golang-go golang-golang-x-mod-dev",
    )


def build_reader(folder: Path) -> Path:
    """Compile the reader into a folder; the path of the program. No network is used."""
    program = folder / "logreader"
    subprocess.run(
        ["go", "build", "-o", str(program), "."],
        cwd=SOURCE,
        env=os.environ
        | {"GO111MODULE": "off", "GOPATH": str(PACKAGES), "GOFLAGS": "", "GOPROXY": "off"},
        check=True,
        timeout=300,
    )
    return program


def read_log(program: Path, folder: Path, vkey: str) -> subprocess.CompletedProcess[str]:
    """Have the program read a log."""
    return subprocess.run(
        [program, folder, vkey], capture_output=True, text=True, timeout=60, check=False
    )
