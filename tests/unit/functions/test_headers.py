"""Headers: whatever a client sends is understood or refused, never an error of our own."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from functions.api.headers import (
    byte_range,
    describe,
    digest_header,
    disposition_header,
    entity_tag,
    matches,
    repr_digest,
)
from shared.base.errors import InvalidInput, RangeNotSatisfiable
from shared.documents.models import Name

HEADERS = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\x00"), max_size=200)
"""What a server hands over: Latin-1 without line ends."""

NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60)  # type: ignore[arg-type]


def acceptable(name: str) -> bool:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        return False
    return name == name.strip()


@given(NAMES)
def test_every_name_survives_the_way_there_and_back(name: str) -> None:
    assume(acceptable(name))
    sent = disposition_header(name)
    assert sent.isascii()
    assert sent.isprintable()
    assert describe(sent, None, None).name == name
    assert quote(name, safe="") in sent


@given(HEADERS, HEADERS, HEADERS)
def test_any_description_is_understood_or_refused(
    disposition: str, media_type: str, metadata: str
) -> None:
    for first in (
        disposition,
        f"attachment; filename={disposition}",
        f"a; filename*={disposition}",
    ):
        with suppress(InvalidInput):
            assert acceptable(describe(first, media_type, metadata).name)


@given(st.dictionaries(st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True), NAMES, max_size=32))
def test_metadata_comes_through(labels: dict[str, str]) -> None:
    for ascii_only in (True, False):
        sent = json.dumps(labels, ensure_ascii=ascii_only).encode().decode("latin-1")
        assert describe('a; filename="x"', None, sent).metadata == labels


@given(st.binary(max_size=50))
def test_a_digest_survives_the_way_there_and_back(content: bytes) -> None:
    digest = hashlib.sha256(content).digest()
    assert repr_digest(digest_header(digest)) == digest
    assert repr_digest(f"sha-512=:AAAA:, {digest_header(digest)}") == digest


@given(HEADERS)
def test_any_digest_is_understood_or_refused(value: str) -> None:
    for sent in (value, f"sha-256=:{value}:"):
        try:
            found = repr_digest(sent)
        except InvalidInput:
            continue
        assert found is not None
        assert base64.b64encode(found).decode() in sent


def test_no_digest_is_none() -> None:
    assert repr_digest(None) is None


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_ranges_are_slices(size: int, first: int, last: int) -> None:
    content = bytes(range(size))
    expected = content[first : last + 1]
    for value, wanted in (
        (f"bytes={first}-{last}", expected if first <= last else None),
        (f"bytes={first}-", content[first:]),
        (f"bytes=-{last}", content[-last:] if last else b""),
    ):
        if wanted == b"":
            with pytest.raises(RangeNotSatisfiable) as refused:
                byte_range(value, size)
            assert refused.value.size == size
            continue
        found = byte_range(value, size)
        if wanted is None:
            # A malformed range; it may be ignored even where it also lies outside.
            assert found is None
        else:
            assert found is not None
            assert content[slice(*found)] == wanted


@given(HEADERS, st.integers(0, 10**12))
def test_any_range_is_inside_or_ignored_or_refused(value: str, size: int) -> None:
    for sent in (value, f"bytes={value}", f"bytes={value}-{value}"):
        try:
            found = byte_range(sent, size)
        except RangeNotSatisfiable:
            continue
        assert found is None or 0 <= found[0] < found[1] <= size


def test_numbers_without_end_are_ignored() -> None:
    assert byte_range("bytes=0-" + "9" * 10_000, 10) is None


@pytest.mark.parametrize("value", ["bytes=" + " " * 60_000 + "x", "bytes=0-" + "\t" * 60_000 + "x"])
def test_a_range_takes_no_more_time_than_its_length(value: str) -> None:
    started = time.process_time()
    assert byte_range(value, 10) is None
    assert time.process_time() - started < 0.1


@given(HEADERS)
def test_any_entity_tag_is_understood_or_refused(value: str) -> None:
    try:
        tag = entity_tag(value)
    except InvalidInput:
        return
    assert tag is not None
    assert f'"{tag}"' == value.strip()


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
