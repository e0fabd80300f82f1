"""Programs that tests use and that are not of this project."""

from __future__ import annotations

import os

import pytest


def require(is_there: bool, reason: str) -> None:
    """Skip the test where something is not installed, and say so.

    With ``STRONGROOM_REQUIRE_EMULATORS=1``, which ``.ci/run`` sets, it fails instead.

    Args:
        is_there: Whether it is installed.
        reason: What is missing, and how to install it.
    """
    if is_there:
        return
    if os.environ.get("STRONGROOM_REQUIRE_EMULATORS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
