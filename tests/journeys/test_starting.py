"""What ``python -m standalone`` says when it starts, and when it refuses to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process import free_port, start


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("environment", "elsewhere"),
        ("requests_per_minute", "0"),
        ("staged_public_base_url", "ftp://127.0.0.1"),
        ("outbox_relay_schedule", "every minute"),
        ("outbox_relay_schedule", "61 * * * * *"),
        ("bootstrap_secret_sha256", "secret"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(name: str, value: str, tmp_path: Path) -> None:
    refused = start("--port", str(free_port()), "--data", str(tmp_path / "data"), **{name: value})
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert line.startswith("strongroom: ")
    assert f"STRONGROOM_{name.upper()}" in line or value in line
    assert refused.stdout == ""


def test_a_data_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = start("--port", str(free_port()), "--data", str(tmp_path / "file" / "data"))
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert line.startswith("strongroom: ")
