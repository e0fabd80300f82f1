"""What ``python -m standalone`` says when it starts, and when it refuses to."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from standalone.first_steps import FILE_NAME
from tests.support.process import ServerProcess, free_port, start


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("environment", "elsewhere"),
        ("requests_per_minute", "0"),
        ("staged_public_base_url", "ftp://127.0.0.1"),
        ("outbox_relay_schedule", "every minute"),
        ("outbox_relay_schedule", "61 * * * * *"),
        ("bootstrap_secret_sha256", "secret"),
        ("key_passphrase", "eleven char"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(name: str, value: str, tmp_path: Path) -> None:
    refused = start("--port", str(free_port()), "--data", str(tmp_path / "data"), **{name: value})
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert line.startswith("strongroom: ")
    assert f"STRONGROOM_{name.upper()}" in line or value in line
    assert refused.stdout == ""


@pytest.mark.parametrize("name", ["trusted_proxis", "trusted_proxy", "trustedproxies"])
def test_a_misspelt_setting_is_refused_before_anything_is_made(name: str, tmp_path: Path) -> None:
    refused = start("--port", str(free_port()), "--data", str(tmp_path / "data"), **{name: "1"})
    assert refused.returncode == 1
    assert refused.stderr == (
        f"strongroom: There is no setting STRONGROOM_{name.upper()}."
        " Did you mean STRONGROOM_TRUSTED_PROXIES?\n"
    )
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = start("--port", str(free_port()), "--data", str(tmp_path / "file" / "data"))
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert line.startswith("strongroom: ")


@pytest.mark.parametrize("name", ["records.db", "bus.db"])
def test_a_file_that_is_no_database_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no database " * 1_000)
    refused = start("--port", str(free_port()), "--data", str(tmp_path))
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert line.startswith("strongroom: ")
    assert name in line
    assert "restore it from a backup" in line
    assert refused.stdout == ""


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("profile", "azure", "STRONGROOM_PRIMARY_ACCOUNT_URL, STRONGROOM_REPLICA_ACCOUNT_URL"),
        ("public_base_url", "127.0.0.1", "'http://127.0.0.1:7071'. The URL under which"),
        ("outbox_relay_schedule", "61 * * * * *", "(setting STRONGROOM_OUTBOX_RELAY_SCHEDULE)"),
        ("key_passphrase", "zqzq", "is not valid: it must have at least 12 characters. Embedded"),
        ("max_direct_upload_bytes", "1 MB", "The largest content of a direct upload, in bytes."),
    ],
)
def test_a_refusal_says_which_setting_and_what_it_is_for(
    name: str, value: str, hint: str, tmp_path: Path
) -> None:
    refused = start("--port", str(free_port()), "--data", str(tmp_path / "data"), **{name: value})
    [line] = refused.stderr.splitlines()
    assert hint in line
    assert "zqzq" not in line
    assert "STRONGROOM_ " not in line


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_cannot_be_is_refused(port: str, tmp_path: Path) -> None:
    refused = start("--port", port, "--data", str(tmp_path / "data"))
    assert refused.returncode == 2
    assert "argument --port" in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "data").exists()


def test_a_refused_server_leaves_the_folder_of_another_as_it_is(tmp_path: Path) -> None:
    running = ServerProcess(tmp_path / "data")
    running.start()
    try:
        running.wait_until_ready()
        (running.data / FILE_NAME).unlink()
        before = sorted(running.data.rglob("*"))
        assert start("--port", str(free_port()), "--data", str(running.data)).returncode == 1
        assert sorted(running.data.rglob("*")) == before
    finally:
        running.discard()


def test_the_first_start_prints_commands_that_work(tmp_path: Path) -> None:
    """In a folder whose name the shell would take apart, given by the setting."""
    data = tmp_path / "it's our data"
    server = ServerProcess(data)
    server.start()
    try:
        server.wait_until_ready()
        printed = (tmp_path / "it's our data.out").read_text()
        command = printed.split("temporary password:\n", 1)[1].split("\n2. ")[0]
        answer = subprocess.run(
            ["sh", "-c", command], cwd="/", capture_output=True, text=True, timeout=30, check=True
        )
        assert json.loads(answer.stdout)["temporary_password"], answer.stdout
    finally:
        server.discard()


def test_a_secret_of_ones_own_is_not_looked_for_in_a_file(tmp_path: Path) -> None:
    server = ServerProcess(
        tmp_path / "data", bootstrap_secret_sha256=hashlib.sha256(b"secret").hexdigest()
    )
    server.start()
    try:
        server.wait_until_ready()
        printed = (tmp_path / "data.out").read_text()
        assert "YOUR BOOTSTRAP SECRET" in printed
        assert FILE_NAME not in printed
    finally:
        server.discard()


def test_the_data_folder_can_be_a_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = start("--port", str(free_port()), data_dir=str(tmp_path / "file"))
    assert str(tmp_path / "file") in refused.stderr
    assert refused.returncode == 1
