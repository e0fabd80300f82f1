"""Canonical JSON, with the vectors of RFC 8785."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.crypto.canonical import MAX_INTEGER, canonical_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


def test_keys_are_sorted_by_utf_16_as_in_section_3_2_3() -> None:
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\x80": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    assert list(json.loads(canonical_json(value)).values()) == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]


def test_the_example_of_section_3_2_2_byte_for_byte() -> None:
    given_text = r"""{
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"""
    # The bytes of section 3.2.4, without the numbers, which are fractions.
    expected = bytes.fromhex(
        "7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c"
        "22737472696e67223a22e282ac245c75303030665c6e4127425c225c5c5c5c5c222f227d"
    )
    assert canonical_json(json.loads(given_text)) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # github.com/cyberphone/json-canonicalization/testdata, without fractions.
        ([56, {"d": True, "10": None, "1": []}], '[56,{"1":[],"10":null,"d":true}]'),
        (
            {"1": {"f": {"f": "hi", "F": 5}, "\n": 56}, "10": {}, "": "empty", "a": {}, "A": {}},
            '{"":"empty","1":{"\\n":56,"f":{"F":5,"f":"hi"}},"10":{},"A":{},"a":{}}',
        ),
        ({"Unnormalized Unicode": "A\u030a"}, '{"Unnormalized Unicode":"A\u030a"}'),
        ("\b\t\n\f\r\x00\x1f\x7f\u2028", '"\\b\\t\\n\\f\\r\\u0000\\u001f\x7f\u2028"'),
        ([0, -1, MAX_INTEGER, -MAX_INTEGER], "[0,-1,9007199254740991,-9007199254740991]"),
        ((), "[]"),
    ],
)
def test_published_and_edge_values(value: Any, text: str) -> None:
    assert canonical_json(value) == text.encode()


@given(VALUES)
def test_canonical_json_is_json_and_stays_canonical(value: Any) -> None:
    encoded = canonical_json(value)
    assert json.loads(encoded) == value
    assert canonical_json(json.loads(encoded)) == encoded


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
        b"bytes",
        {1: 2},
        {"a": [1.5]},
        object(),
    ],
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="has no canonical JSON"):
        canonical_json(value)


@pytest.mark.parametrize("value", ["\ud800", {"\udc00": 1}])
def test_lone_surrogates_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        canonical_json(value)


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_nesting_is_refused_before_the_interpreter_gives_up(depth: int) -> None:
    value: Any = 0
    for _ in range(depth):
        value = {"a": value}
    with pytest.raises(ValueError, match="nested too deeply"):
        canonical_json(value)


SHORT = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def test_every_character_is_written_as_rfc_8785_has_it() -> None:
    """Section 3.2.2.2."""
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    escaped = [
        SHORT.get(point, f"\\u{point:04x}" if point < 32 else chr(point)) for point in points
    ]
    assert (
        canonical_json({"a": "".join(map(chr, points))}) == f'{{"a":"{"".join(escaped)}"}}'.encode()
    )
    with pytest.raises(ValueError, match="surrogate"):
        canonical_json({"a": "\ud800"})
