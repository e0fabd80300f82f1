"""Total loss on Azure: all but the backups and the key vault is gone, and one command brings it back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.process import ROOT, environment
from tests.support.profiles import Azure, azure


def run(profile: Azure, data: Path, *command: str) -> str:
    """Run a module with the profile's settings; what it says."""
    settings = profile.settings | {"data_dir": str(data)}
    process = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def shown(profile: Azure, data: Path, *arguments: str) -> dict[str, Any]:
    """What an environment has."""
    lines = run(profile, data, "tests.support.azure_backups", *arguments).splitlines()
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def test_one_command_restores_an_environment_on_azure(tmp_path: Path) -> None:
    with azure() as profile:
        before = shown(profile, tmp_path, "fill")
        assert sorted(len(each) for each in before["documents"].values()) == [1, 2]
        assert profile.objects("backup-keys")
        profile.lose()
        assert profile.objects("primary") == []
        told = run(profile, tmp_path, "standalone.restore", "--data", str(tmp_path), "--yes")
        assert "In all: 1 tenants, 3 versions" in told
        assert shown(profile, tmp_path, "show", before["tenant"]) == before
