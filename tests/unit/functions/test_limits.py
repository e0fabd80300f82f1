"""Rate limits: a bucket a key, refilled by time, the first refusal of a flood marked, memory bounded."""

from __future__ import annotations

import pytest

from functions.api import limits
from functions.api.limits import AddressLimit, FirstRefusal, RateLimit
from shared.base.errors import RateLimited
from tests.support.clock import FakeClock


def refusals(limit: RateLimit, key: str, tries: int) -> list[type[RateLimited] | None]:
    found: list[type[RateLimited] | None] = []
    for _ in range(tries):
        try:
            limit.take(key)
        except RateLimited as error:
            found.append(type(error))
        else:
            found.append(None)
    return found


def test_a_bucket_empties_and_refills() -> None:
    clock = FakeClock()
    limit = RateLimit(6, clock)
    assert refusals(limit, "a", 8) == [None] * 6 + [FirstRefusal, RateLimited]
    clock.advance(10)
    assert refusals(limit, "a", 2) == [None, FirstRefusal]
    clock.advance(3_600)
    assert refusals(limit, "a", 7) == [None] * 6 + [FirstRefusal]


def test_waiting_as_long_as_told_is_long_enough() -> None:
    clock = FakeClock()
    for rate in (1, 7, 30, 1_200):
        limit = RateLimit(rate, clock)
        refusals(limit, "a", rate)
        with pytest.raises(RateLimited) as refused:
            limit.take("a")
        assert refused.value.retry_after >= 1
        clock.advance(refused.value.retry_after)
        limit.take("a")


def test_keys_do_not_share() -> None:
    limit = RateLimit(1, FakeClock())
    limit.take("a")
    limit.take("b")
    with pytest.raises(RateLimited):
        limit.take("a")


def test_an_address_of_a_network_that_one_client_owns_gains_nothing() -> None:
    limit = AddressLimit(2, FakeClock())
    limit.take("2001:db8:0:1::1")
    limit.take("2001:db8:0:1:ffff::2")
    with pytest.raises(RateLimited):
        limit.take("2001:db8:0:1::3")
    for other in ("2001:db8:0:2::1", "203.0.113.1", "203.0.113.2", "203.0.113.3", ""):
        limit.take(other)


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    clock = FakeClock()
    limit = RateLimit(2, clock)
    limit.take("a")
    clock.advance(-3_600)
    assert refusals(limit, "a", 2) == [None, FirstRefusal]


def test_memory_is_bounded_and_the_busy_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUCKETS", 100)
    limit = RateLimit(2, FakeClock())
    refusals(limit, "busy", 2)
    for number in range(1_000):
        limit.take(f"passing {number}")
        assert refusals(limit, "busy", 1) != [None]
    assert len(limit._buckets) == 100
