"""What the command takes for a misspelt setting, and what it does not."""

from __future__ import annotations

import re

from standalone.command import NOT_SETTINGS
from tests.support.process import ROOT


def test_what_the_tests_read_may_be_set_where_the_server_is_started() -> None:
    tests = ROOT / "tests"
    read = {
        name
        for depth in ("*.py", "*/*.py", "*/*/*.py")
        for path in tests.glob(depth)
        for name in re.findall(r"""environ(?:\.get\(|\[)\s*"(STRONGROOM_\w+)""", path.read_text())
    }
    read |= set(re.findall(r"STRONGROOM_\w+(?==)", (ROOT / "Makefile").read_text()))
    assert {"STRONGROOM_APPEND_SECONDS", "STRONGROOM_FAULT_KILLS"} <= read
    assert read <= NOT_SETTINGS
