"""Conditional requests and ranges: every combination has the outcome that RFC 9110 gives it."""

from __future__ import annotations

import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.api.conditional import Conditions, Outcome, evaluate, matches

ETAG = "doc_1.2"
SIZE = 10
WHOLE = Outcome(200, 0, SIZE)
HEADERS = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\x00"), max_size=200)
"""What a server hands over: Latin-1 without line ends."""


def of_range(value: str, size: int) -> Outcome:
    return evaluate("GET", Conditions(range=value), ETAG, size)


STRONG = {
    None: None,
    f'"{ETAG}"': True,
    f' "{ETAG}" ': True,
    "*": True,
    f'"a", "{ETAG}", "b"': True,
    f'W/"{ETAG}"': False,
    '"other"': False,
    "": False,
    ETAG: False,
}
"""Values of If-Match, and whether they name the content; None: there is no header."""

WEAK = STRONG | {f'W/"{ETAG}"': True, f'W/"a", W/"{ETAG}"': True}
"""The same for If-None-Match."""

IF_RANGE = {
    None: True,
    f'"{ETAG}"': True,
    f' "{ETAG}" ': True,
    f'W/"{ETAG}"': False,
    '"other"': False,
    "*": False,
    "": False,
    "Wed, 21 Oct 2026 07:28:00 GMT": False,
}
"""Values of If-Range, and whether the range is to be looked at."""

RANGES = {
    None: WHOLE,
    "bytes=2-4": Outcome(206, 2, 5),
    "bytes=0-9": Outcome(206, 0, 10),
    "bytes=10-": Outcome(416),
    "bytes=4-2": WHOLE,
    "lines=1-2": WHOLE,
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("if_match", STRONG)
def test_every_combination(method: str, if_match: str | None) -> None:
    for if_none_match, if_range, wanted in product(WEAK, IF_RANGE, RANGES):
        conditions = Conditions(if_match, if_none_match, if_range, wanted)
        if STRONG[if_match] is False:
            expected = Outcome(412)
        elif WEAK[if_none_match]:
            expected = Outcome(304)
        elif method == "GET" and IF_RANGE[if_range]:
            expected = RANGES[wanted]
        else:
            expected = WHOLE
        assert evaluate(method, conditions, ETAG, SIZE) == expected, conditions


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        # The examples of section 14.1.2, for a representation of 10,000 bytes.
        ("bytes=0-499", 0, 500),
        ("bytes=500-999", 500, 1_000),
        ("bytes=-500", 9_500, 10_000),
        ("bytes=9500-", 9_500, 10_000),
        ("bytes=0-0", 0, 1),
        ("bytes=-20000", 0, 10_000),
        ("bytes=9999-20000", 9_999, 10_000),
        (" bytes=1-2 ", 1, 3),
    ],
)
def test_a_range(value: str, start: int, end: int) -> None:
    assert of_range(value, 10_000) == Outcome(206, start, end)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1-2,4-5",
        "bytes=0-0,-1",
        "bytes= 1-2",
        "Bytes=1-2",
        "bytes=1-2-3",
        "bytes=5-4",
        "bytes=+1-2",
        "bytes=\u0661-\u0662",
        "bytes=0-" + "9" * 10_000,
        "none",
    ],
)
def test_a_range_that_is_ignored(value: str) -> None:
    assert of_range(value, SIZE) == WHOLE


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-0", "bytes=-0", "bytes=-000"])
def test_no_range_lies_inside_empty_content(value: str) -> None:
    assert of_range(value, 0) == Outcome(416)


@pytest.mark.parametrize("value", ["bytes=-1", "bytes=-5", "bytes=-" + "9" * 18])
def test_the_last_bytes_of_empty_content_are_all_of_it(value: str) -> None:
    # Satisfiable, says RFC 9110 section 14.1.2, and without a Content-Range that could say which.
    assert of_range(value, 0) == Outcome(200, 0, 0)


def test_empty_content_is_sent_whole() -> None:
    assert evaluate("GET", Conditions(), ETAG, 0) == Outcome(200, 0, 0)


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_ranges_are_slices(size: int, first: int, last: int) -> None:
    content = bytes(range(size))
    expected = content[first : last + 1]
    for value, wanted in (
        (f"bytes={first}-{last}", expected if first <= last else None),
        (f"bytes={first}-", content[first:]),
        (f"bytes=-{last}", content[-last:] if last else b""),
    ):
        found = of_range(value, size)
        if wanted is None:
            # A malformed range; it may be ignored even where it also lies outside.
            assert found == Outcome(200, 0, size)
        elif wanted == b"":
            empty = Outcome(200, 0, 0) if value != "bytes=-0" and "=-" in value else Outcome(416)
            assert found == empty
        else:
            assert found.status == 206
            assert content[found.start : found.end] == wanted


@given(HEADERS, st.integers(0, 10**12))
def test_any_range_is_inside_or_ignored_or_refused(value: str, size: int) -> None:
    for sent in (value, f"bytes={value}", f"bytes={value}-{value}"):
        found = of_range(sent, size)
        if found.status == 206:
            assert 0 <= found.start < found.end <= size
        else:
            assert found in {Outcome(416), Outcome(200, 0, size)}


@pytest.mark.parametrize("value", ["bytes=" + " " * 60_000 + "x", "bytes=0-" + "\t" * 60_000 + "x"])
def test_a_range_takes_no_more_time_than_its_length(value: str) -> None:
    started = time.process_time()
    assert of_range(value, 10) == WHOLE
    assert time.process_time() - started < 0.1


@given(HEADERS, st.from_regex(r"[a-z0-9_.]{1,30}", fullmatch=True))
def test_conditions_match_whole_tags(value: str, tag: str) -> None:
    for weak in (True, False):
        assert matches(f'"{tag}"', tag, weak=weak)
        assert matches(f'"{tag}x", W/"{tag}"', tag, weak=weak) == weak
        assert matches(f'W/"{tag}", "{tag}"', tag, weak=weak)
        assert matches(" * ", tag, weak=weak)
        assert not matches(f'"{tag}x"', tag, weak=weak)
        assert not matches(None, tag, weak=weak)
    if matches(value, tag, weak=True):
        assert value.strip() == "*" or f'"{tag}"' in value


@given(HEADERS, HEADERS, HEADERS, HEADERS, st.sampled_from(["GET", "HEAD"]))
def test_any_headers_have_an_outcome(
    if_match: str, if_none_match: str, if_range: str, wanted: str, method: str
) -> None:
    conditions = Conditions(if_match, if_none_match, if_range, wanted)
    found = evaluate(method, conditions, ETAG, SIZE)
    assert 0 <= found.start <= found.end <= SIZE
