"""Identifiers: ULIDs with a prefix, in the order of their making."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from shared.base.ids import created_at, earliest_id, ids_of_period, is_id, new_id

MOMENTS = st.integers(0, 7 * 10**12).map(lambda ms: datetime.fromtimestamp(ms / 1_000, UTC))
PREFIXES = st.from_regex(r"[a-z]{1,8}", fullmatch=True)


def test_the_example_of_the_specification() -> None:
    # ULID "01ARZ3NDEKTSV4RRFFQ69G5FAV" is 2016-07-30T23:54:10.259Z and these 80 bits.
    at = datetime(2016, 7, 30, 23, 54, 10, 259_000, tzinfo=UTC)
    number = 0xD6764C61EFB99302BD5B
    assert new_id("doc", at, lambda size: number.to_bytes(size)) == "doc_01arz3ndektsv4rrffq69g5fav"


@given(PREFIXES, MOMENTS, st.binary(min_size=10, max_size=10))
def test_every_identifier_is_one(prefix: str, at: datetime, random: bytes) -> None:
    made = new_id(prefix, at, lambda _: random)
    assert is_id(made, prefix)
    assert is_id(made, "other", prefix)
    assert not is_id(made, prefix + "x")
    assert not is_id(made)
    assert not is_id(made + "0", prefix)
    assert not is_id(made.upper(), prefix)
    assert not is_id(made + "\n", prefix)


@given(MOMENTS, st.integers(1, 10**9))
def test_they_sort_by_time(at: datetime, later_by: int) -> None:
    later = at + timedelta(milliseconds=later_by)
    assert new_id("doc", at, os.urandom) < new_id("doc", later, os.urandom)
    assert earliest_id("doc", at) <= new_id("doc", at, os.urandom)
    assert new_id("doc", at, os.urandom) < earliest_id("doc", later)


def test_no_two_are_the_same() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({new_id("doc", at, os.urandom) for _ in range(10_000)}) == 10_000


def test_letters_that_are_mistaken_for_digits_are_refused() -> None:
    good = "doc_" + "0" * 26
    assert is_id(good, "doc")
    for letter in "iluo":
        assert not is_id(good[:-1] + letter, "doc")
    assert not is_id("doc_8" + "0" * 25, "doc"), "more than 128 bits"


@given(MOMENTS, st.integers(0, 999))
def test_what_is_made_in_the_millisecond_in_which_a_period_begins_or_ends_is_in_it(
    at: datetime, microseconds: int
) -> None:
    within = at.replace(microsecond=at.microsecond // 1_000 * 1_000 + microseconds)
    made = new_id("doc", at, os.urandom)
    first, end = ids_of_period("doc", within, within)
    assert first is not None
    assert end is not None
    assert first <= made
    assert (made < end) is (microseconds > 0)
    assert ids_of_period("doc", None, None) == (None, None)


def test_a_moment_that_no_identifier_says_counts_as_the_nearest_that_one_says() -> None:
    ahead, behind = timezone(timedelta(hours=23)), timezone(-timedelta(hours=23))
    for early in (datetime.min.replace(tzinfo=ahead), datetime(1969, 12, 31, tzinfo=UTC)):
        assert ids_of_period("doc", early, early) == ("doc_" + "0" * 26,) * 2
    last = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    for late in (datetime.max.replace(tzinfo=behind), last):
        first, end = ids_of_period("doc", late, late)
        assert first == end == earliest_id("doc", last)
        assert created_at(str(end)) == last
