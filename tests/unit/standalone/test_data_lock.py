"""One host at a time uses a data folder, and leaves no trace in another's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from standalone.data_lock import exclusive_data_folder
from standalone.errors import StartError
from standalone.first_steps import FILE_NAME
from tests.support.process import ROOT, environment


def test_the_folder_is_private_and_held(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    with exclusive_data_folder(folder):
        assert folder.stat().st_mode & 0o777 == 0o700
        with pytest.raises(StartError), exclusive_data_folder(folder):
            pass
    with exclusive_data_folder(folder):
        pass


def test_a_second_host_makes_no_secret_in_a_folder_that_is_in_use(tmp_path: Path) -> None:
    with exclusive_data_folder(tmp_path):
        second = subprocess.run(
            [sys.executable, "-m", "standalone", "--port", "1", "--data", str(tmp_path)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert second.returncode == 1
        assert "Another host uses the data folder" in second.stderr
        assert not (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_in_which_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(mode)
    with (
        pytest.raises(StartError, match=f"mode {mode:04o}.* Run: chmod 700 {data}"),
        exclusive_data_folder(data),
    ):
        raise AssertionError
    assert list(data.iterdir()) == []
    data.chmod(0o755)
    with exclusive_data_folder(data):
        pass
