"""The mark of a data folder: the first environment to come stays."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from shared.adapters.embedded import environment
from shared.adapters.embedded.environment import FILE_NAME, marked_environment

pytestmark = pytest.mark.anyio


async def test_a_new_folder_is_marked_and_stays_so(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert await marked_environment(data, "staging") == "staging"
    assert await marked_environment(data, "production") == "staging"
    [mark] = data.iterdir()
    assert (mark.name, stat.S_IMODE(mark.stat().st_mode)) == (FILE_NAME, 0o600)


async def test_of_two_that_come_at_once_the_first_counts_for_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = environment.write_private_file  # type: ignore[attr-defined]

    def late(path: Path, content: bytes, **options: bool) -> None:
        write(path, b"production")
        write(path, content, **options)

    monkeypatch.setattr(environment, "write_private_file", late)
    assert await marked_environment(tmp_path, "development") == "production"
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
