from __future__ import annotations

from pathlib import Path

from standalone.first_steps import FILE_NAME, bootstrap_secret, forget_secret


def test_the_secret_stays_until_it_is_forgotten(tmp_path: Path) -> None:
    data = tmp_path / "data"
    secret = bootstrap_secret(data)
    assert bootstrap_secret(data) == secret
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / FILE_NAME).stat().st_mode & 0o777 == 0o600
    forget_secret(data)
    assert not (data / FILE_NAME).exists()
    assert bootstrap_secret(data) != secret


def test_an_empty_file_is_not_an_empty_secret(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch()
    secret = bootstrap_secret(tmp_path)
    assert len(secret) >= 43
    assert bootstrap_secret(tmp_path) == secret
