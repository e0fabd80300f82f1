"""The import contracts refuse what they are there to refuse, tried in a scratch copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import ROOT

COPIED = ("client", "functions", "shared", "standalone", "pyproject.toml", "function_app.py")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


def lint(copy: Path) -> subprocess.CompletedProcess[str]:
    linter = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [linter, "--no-cache"], cwd=copy, capture_output=True, text=True, check=False
    )


def add_import(module: Path, line: str) -> None:
    text = module.read_text()
    marker = "from __future__ import annotations\n"
    assert marker in text
    module.write_text(text.replace(marker, f"{marker}\n{line}\n", 1))


def test_the_code_as_it_is_passes(copy: Path) -> None:
    result = lint(copy)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("shared/journal/journal.py", "import shared.adapters.checks"),
        ("shared/journal/idempotency.py", "import azure.cosmos"),
        ("shared/base/ids.py", "import shared.ports.clock"),
        ("shared/documents/store.py", "import fastapi"),
        ("shared/adapters/checks.py", "import shared.identity.models"),
        ("shared/crypto/keys.py", "import os"),
        ("functions/http.py", "import shared.adapters.checks"),
        ("client/recover/source.py", "import shared.ports.blobs"),
        ("client/api.py", "import shared.wiring.settings"),
        ("client/session.py", "import standalone.errors"),
        ("client/output.py", "import fastapi"),
        ("standalone/errors.py", "import client.errors"),
    ],
)
def test_an_import_in_the_wrong_direction_is_refused(copy: Path, module: str, line: str) -> None:
    add_import(copy / module, line)
    result = lint(copy)
    assert result.returncode != 0
    assert "BROKEN" in result.stdout


def test_a_package_without_a_place_is_refused(copy: Path) -> None:
    (copy / "shared" / "misplaced").mkdir()
    (copy / "shared" / "misplaced" / "__init__.py").write_text('"""No place."""\n')
    result = lint(copy)
    assert result.returncode != 0
    assert "misplaced" in result.stdout + result.stderr
