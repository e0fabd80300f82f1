"""``bench.audit`` compares a search of the largest log with one of a smaller log, and misses its bars."""

from __future__ import annotations

import pytest

from bench import audit


def measured(size: int, search_seconds: float) -> audit.Measured:
    return audit.Measured(size + 7, 32.0, 0.001, search_seconds, 500.0)


@pytest.mark.parametrize(
    ("seconds", "growth"),
    [
        ({1_000: 1.0, 10_000: 1.6}, "1.60"),  # as with --quick
        ({1_000: 1.0, 10_000: 1.0, 100_000: 1.0, 1_000_000: 1.7}, "1.70"),
        ({1_000: 5.0, 10_000: 1.0, 100_000: 5.0, 1_000_000: 1.7}, "1.70"),
    ],
)
def test_a_search_that_takes_longer_in_the_largest_log_misses_the_bar(
    seconds: dict[int, float], growth: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [measured(size, each) for size, each in seconds.items()]
    assert not audit.holds(audit.LEAST_APPENDED_A_SECOND, found)
    assert f"missed: a search took {growth} times as long" in capsys.readouterr().out


def test_a_search_that_takes_as_long_in_every_log_holds() -> None:
    found = [measured(size, 1.0) for size in audit.SIZES]
    assert audit.holds(audit.LEAST_APPENDED_A_SECOND, found)
    assert audit.holds(audit.LEAST_APPENDED_A_SECOND, found[:2])


def test_the_smallest_log_has_all_that_a_search_asks_for() -> None:
    """Or a search of a larger one would take longer because it finds more."""
    assert min(*audit.SIZES, *audit.QUICK_SIZES) / audit.EVERY >= audit.FOUND
