"""``bench.backup`` measures what it says: in small, and with what it takes to be on any machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import backup


@pytest.mark.timeout(300)  # with the peers, where they are installed
def test_all_steps_are_measured_and_what_depends_on_no_machine_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = backup.Sizes(files=12, total=400_000, large_tenant=60, small_tenant=20, minutes=8)
    *_, (point_holds, _), _ = backup.run(sizes, tmp_path)
    printed = capsys.readouterr().out
    assert point_holds, printed
    for step in (*backup.STEPS, "with primary and replica", "recovery time", "ratio"):
        assert step in printed
