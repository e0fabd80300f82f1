"""Readers of logs that are not ours, from PyPI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.support.process import ROOT
from tests.support.required import require

PACKAGES: Final = ROOT / ".log-readers"
"""Where ``make test`` installs what ``requirements-readers.txt`` pins."""


def require_readers() -> None:
    """The readers must be installed; see ``require``."""
    require(PACKAGES.exists(), "the readers of logs are not installed; make test installs them")


def read_and_cosign(
    folder: Path, vkey: str, own: Path, requests: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Have the readers audit a log and cosign checkpoints of it; see ``log_reader.py``."""
    ran = subprocess.run(
        [sys.executable, "-P", ROOT / "tests/support/log_reader.py", folder, vkey, own],
        env=os.environ | {"PYTHONPATH": str(PACKAGES)},
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    read: dict[str, Any] = json.loads(ran.stdout)
    return read
