"""``pip install .`` gives the command, and the command starts quickly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import command_environment
from tests.support.process import ROOT

SLOW = ("cryptography", "httpx", "obstore", "pyrage")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip installed the project into, without what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *(
                "--no-deps",
                "--no-build-isolation",
                "--no-index",
                "--target",
                str(folder),
                str(ROOT),
            ),
        ],
        check=True,
        timeout=120,
    )
    return folder


def run(installed: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command, from where the project is not."""
    return subprocess.run(
        [installed / "bin" / "strongroom", *arguments],
        cwd=cwd,
        env=command_environment() | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_installed_command_runs(installed: Path, tmp_path: Path) -> None:
    helped = run(installed, "--help", cwd=tmp_path)
    assert helped.returncode == 0, helped.stderr
    assert all(
        name in helped.stdout
        for name in ("recover", "restore", "backups", "audit", "sign-in", "sign-out")
    )
    refused = run(installed, "recover", "--identity", "missing.txt", "a", "b", cwd=tmp_path)
    assert refused.returncode == 2
    assert "missing.txt cannot be read" in refused.stderr


def test_the_package_holds_the_packages_and_nothing_else(installed: Path) -> None:
    found = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")} - {
        "__pycache__"
    }
    assert found == {
        *("bin", "client", "function_app.py", "functions", "infra", "shared", "standalone"),
    }
    assert [path.name for path in (installed / "infra").iterdir()] == ["topology.json"]
    assert not [path for path in ROOT.iterdir() if path.name in ("build", "dist")]


def test_completion_is_offered(installed: Path, tmp_path: Path) -> None:
    asked = subprocess.run(
        [installed / "bin" / "strongroom"],
        cwd=tmp_path,
        env=command_environment(
            PYTHONPATH=str(installed),
            _STRONGROOM_COMPLETE="complete_bash",
            COMP_WORDS="strongroom backups ",
            COMP_CWORD="2",
        )
        | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert asked.stdout.split() == ["list", "show", "report", "verify"]


@pytest.mark.parametrize(
    "command", [(), ("recover",), ("restore",), ("backups", "verify"), ("audit", "verify")]
)
def test_help_imports_nothing_that_is_slow(tmp_path: Path, command: tuple[str, ...]) -> None:
    helped = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "client", *command, "--help"],
        cwd=tmp_path,
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in helped.stderr.splitlines()}
    assert "typer" in imported
    assert imported.isdisjoint(SLOW)
    assert command or "pydantic" not in imported  # typer itself needs it for a command's options
    assert not os.listdir(tmp_path)
