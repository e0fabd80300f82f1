"""Rate limits: a bucket a key, refilled by time, memory bounded. Floods: one entry, then their count."""

from __future__ import annotations

import pytest

from functions.api import floods as flood_limits
from functions.api import rate_limits
from functions.api.floods import ENDED_AFTER, LOGGED_PER_MINUTE, Caller, Floods
from functions.api.rate_limits import AddressLimit, LimitReached, RateLimit
from shared.access.principal import Origin
from shared.base.errors import RateLimited
from shared.journal.entries import ANONYMOUS
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
    assert refusals(limit, "a", 8) == [None] * 6 + [LimitReached] * 2
    clock.advance(10)
    assert refusals(limit, "a", 2) == [None, LimitReached]
    clock.advance(3_600)
    assert refusals(limit, "a", 7) == [None] * 6 + [LimitReached]


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
    assert refusals(limit, "a", 2) == [None, LimitReached]


def test_memory_is_bounded_and_the_busy_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "BUCKETS", 100)
    limit = RateLimit(2, FakeClock())
    refusals(limit, "busy", 2)
    for number in range(1_000):
        limit.take(f"passing {number}")
        assert refusals(limit, "busy", 1) != [None]
    assert len(limit._buckets) == 100


MINUTE = ENDED_AFTER.total_seconds()


def caller(key: str = "203.0.113.7", *, admitted: bool = False) -> Caller:
    return Caller(key, ANONYMOUS, "operator", Origin(key), admitted)


def ended(floods: Floods) -> list[tuple[str, int]]:
    found = []
    while (flood := floods.take_ended()) is not None:
        found.append((flood.caller.key, flood.refusals))
    return found


def test_a_flood_at_a_limit_is_one_entry_and_a_count_when_it_ends() -> None:
    clock = FakeClock()
    floods = Floods(clock)
    counted = []
    for _ in range(100):  # a token of the bucket in between re-arms nothing
        counted.append(floods.count(caller(), at_limit=True))
        clock.advance(MINUTE - 1)
        assert ended(floods) == []
    assert counted == [False] + [True] * 99
    clock.advance(1)
    assert ended(floods) == [("203.0.113.7", 100)]
    assert ended(floods) == [], "once"
    assert not floods.count(caller(), at_limit=True), "another flood"


def test_refusals_without_a_token_join_a_flood_and_many_of_them_are_one() -> None:
    clock = FakeClock()
    floods = Floods(clock)
    floods.count(caller("a"), at_limit=True)
    assert floods.count(caller("a"), at_limit=False)
    counted = [floods.count(caller("b"), at_limit=False) for _ in range(LOGGED_PER_MINUTE + 10)]
    assert counted == [False] * (LOGGED_PER_MINUTE + 1) + [True] * 9
    clock.advance(MINUTE)
    assert ended(floods) == [("a", 2), ("b", 10)]


def test_refusals_within_the_limit_of_a_user_are_all_entries() -> None:
    floods = Floods(FakeClock())
    floods.count(caller("usr_a", admitted=True), at_limit=True)
    for _ in range(LOGGED_PER_MINUTE * 2):
        assert not floods.count(caller("usr_a", admitted=True), at_limit=False)


def test_refusals_one_at_a_time_are_no_flood() -> None:
    clock = FakeClock()
    floods = Floods(clock)
    for _ in range(LOGGED_PER_MINUTE * 3):
        assert not floods.count(caller(), at_limit=False)
        clock.advance(MINUTE / LOGGED_PER_MINUTE)
    assert ended(floods) == []


def test_an_entry_that_could_not_be_made_is_made_of_the_next_refusal() -> None:
    clock = FakeClock()
    floods = Floods(clock)
    floods.count(caller(), at_limit=True)
    floods.forget(caller())
    assert not floods.count(caller(), at_limit=True)
    clock.advance(MINUTE)
    flood = floods.take_ended()
    assert flood is not None
    floods.put_back(flood)
    assert ended(floods) == [("203.0.113.7", 1)]


def test_a_flood_that_the_next_one_finds_over_is_told_too() -> None:
    clock = FakeClock()
    floods = Floods(clock)
    for refusals in (3, 2):
        for number in range(refusals):
            assert floods.count(caller(), at_limit=True) == (number > 0)
        clock.advance(MINUTE)
    assert ended(floods) == [("203.0.113.7", 2), ("203.0.113.7", 3)]


def test_a_clock_that_goes_back_ends_floods() -> None:
    clock = FakeClock()
    floods = Floods(clock)
    floods.count(caller(), at_limit=True)
    clock.advance(-3_600)
    assert ended(floods) == [("203.0.113.7", 1)]


def test_floods_of_many_are_bounded_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood_limits, "BUCKETS", 10)
    clock = FakeClock()
    floods = Floods(clock)
    for number in range(15):
        floods.count(caller(str(number)), at_limit=True)
    assert len(floods._floods) == 10
    clock.advance(MINUTE)
    assert sorted(ended(floods)) == sorted((str(number), 1) for number in range(15))
