"""Leases on a clock that may have been set back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.base.leases import lasts

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "goes_on"), [(-1, False), (0, False), (1, True), (60, True), (61, False)]
)
def test_a_lease_lasts_no_longer_than_one_that_begins_now(seconds: int, goes_on: bool) -> None:
    until = NOW + timedelta(seconds=seconds)
    assert lasts(until, NOW, timedelta(seconds=60)) is goes_on


def test_without_an_end_there_is_none() -> None:
    assert not lasts(None, NOW, timedelta(days=1))
