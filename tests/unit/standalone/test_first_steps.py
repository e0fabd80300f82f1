from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.adapters.embedded.folders import write_private_file
from standalone.errors import StartError
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
    (tmp_path / FILE_NAME).touch(0o600)
    secret = bootstrap_secret(tmp_path)
    assert len(secret) >= 43
    assert bootstrap_secret(tmp_path) == secret


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o622])
def test_a_secret_that_others_could_have_planted_is_not_used(tmp_path: Path, mode: int) -> None:
    planted = tmp_path / FILE_NAME
    planted.write_text("planted by somebody else, long enough to pass")
    planted.chmod(mode)
    with pytest.raises(StartError, match=r"could become the first operator. Run: rm "):
        bootstrap_secret(tmp_path)
    planted.unlink()
    assert bootstrap_secret(tmp_path)


def test_a_secret_of_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap_secret(tmp_path)
    monkeypatch.setattr(os, "fstat", lambda _: _owned_by(4_711))
    with pytest.raises(StartError, match="Other users have access"):
        bootstrap_secret(tmp_path)


def test_what_is_no_text_is_no_secret(tmp_path: Path) -> None:
    write_private_file(tmp_path / FILE_NAME, b"\xff\xfe\x00")
    with pytest.raises(StartError, match=r"holds no secret\. Run: rm "):
        bootstrap_secret(tmp_path)


def _owned_by(user: int) -> os.stat_result:
    return os.stat_result((0o100600, 0, 0, 1, user, 0, 0, 0, 0, 0))
