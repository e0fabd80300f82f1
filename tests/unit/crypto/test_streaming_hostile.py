"""What an attacker or a bad disk does to sealed content is refused; nothing wrong comes out."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.base.buffers import Buffer
from shared.base.errors import Damaged
from shared.crypto.streaming import (
    HEADER_SIZE,
    SEGMENT_PLAINTEXT,
    SEGMENT_SIZE,
    TAG_SIZE,
    Opener,
    segments,
)
from tests.support.sealing import opened, run, seal

KEY = bytes(range(32))
BOUND_TO = b"strongroom/content/1/production/ten_1/doc_1/1"
CONTENT = random.Random(1).randbytes(3 * SEGMENT_SIZE + 100_000)
OTHER_CONTENT = random.Random(2).randbytes(len(CONTENT))


def sealed_with(key: bytes, bound_to: bytes, content: bytes, seed: int) -> bytes:
    return seal(key, bound_to, [content], random.Random(seed).randbytes)


SEALED = sealed_with(KEY, BOUND_TO, CONTENT, 3)
SCRATCH = bytearray(SEALED)
SAME_AGAIN = sealed_with(KEY, BOUND_TO, CONTENT, 4)
OTHER = sealed_with(KEY, BOUND_TO, OTHER_CONTENT, 5)
SHORT = sealed_with(KEY, BOUND_TO, b"a short one", 6)
PARTS = [SEALED[start : start + SEGMENT_SIZE] for start in range(0, len(SEALED), SEGMENT_SIZE)]
OTHER_PARTS = [OTHER[start : start + SEGMENT_SIZE] for start in range(0, len(OTHER), SEGMENT_SIZE)]


def assert_refused(
    sealed: Buffer, key: bytes = KEY, bound_to: bytes = BOUND_TO, content: bytes = CONTENT
) -> None:
    """Opening raises, and what it gave before is the true content's beginning."""

    async def read() -> None:
        given_out = 0
        async for view in opened(key, bound_to, sealed):
            assert bytes(view) == content[given_out : given_out + len(view)]
            given_out += len(view)

    with pytest.raises(Damaged):
        run(read())


positions = st.one_of(
    st.integers(0, len(SEALED) - 1),
    st.integers(0, HEADER_SIZE - 1),
    # Around each segment's border, where the tags are.
    st.builds(
        lambda n, d: min(len(SEALED) - 1, n * SEGMENT_SIZE + d),
        st.integers(1, 4),
        st.integers(-20, 20),
    ),
)


@settings(max_examples=2_000, deadline=None)
@given(positions, st.integers(1, 255))
def test_flipped_bits_are_refused(position, mask):
    SCRATCH[position] ^= mask
    try:
        assert_refused(SCRATCH)
    finally:
        SCRATCH[position] ^= mask


@settings(max_examples=1_000, deadline=None)
@given(positions)
def test_truncation_is_refused(size):
    assert_refused(SEALED[:size])


@pytest.mark.parametrize("count", range(len(PARTS)))
def test_truncation_at_a_segment_border_is_refused(count):
    assert_refused(b"".join(PARTS[:count]))


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.binary(min_size=1, max_size=200), st.sampled_from(PARTS + OTHER_PARTS)))
def test_extension_is_refused(tail):
    assert_refused(SEALED + tail)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, len(SEALED)), st.binary(min_size=1, max_size=100))
def test_insertion_is_refused(position, inserted):
    mutated = SEALED[:position] + inserted + SEALED[position:]
    if mutated != SEALED:
        assert_refused(mutated)


@settings(max_examples=500, deadline=None)
@given(positions, st.integers(1, 2 * SEGMENT_SIZE))
def test_a_missing_part_is_refused(position, size):
    assert_refused(SEALED[:position] + SEALED[position + size :])


@settings(max_examples=500, deadline=None)
@given(st.lists(st.integers(0, len(PARTS) - 1), max_size=len(PARTS) + 2))
def test_reordered_dropped_and_repeated_segments_are_refused(order):
    if order != list(range(len(PARTS))):
        assert_refused(b"".join(PARTS[index] for index in order))


@settings(max_examples=500, deadline=None)
@given(st.lists(st.booleans(), min_size=len(PARTS), max_size=len(PARTS)))
def test_segments_of_another_content_under_the_same_key_are_refused(foreign):
    if any(foreign) and not all(foreign):
        parts = zip(PARTS, OTHER_PARTS, foreign, strict=True)
        mixed = b"".join(theirs if swap else ours for ours, theirs, swap in parts)
        assert_refused(mixed, content=OTHER_CONTENT if foreign[0] else CONTENT)


def test_the_header_of_another_sealing_is_refused():
    assert_refused(SAME_AGAIN[:HEADER_SIZE] + SEALED[HEADER_SIZE:])


@pytest.mark.parametrize("first", [0, 1, 39, 41, 72, 255])
def test_another_header_length_is_refused(first):
    assert_refused(bytes([first]) + SEALED[1:])


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_a_foreign_key_is_refused(key):
    assert_refused(SEALED, key=key if key != KEY else bytes(32))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=100),
        st.sampled_from(
            [
                BOUND_TO[:-1],
                BOUND_TO + b"0",
                BOUND_TO.replace(b"production", b"development"),
                BOUND_TO.replace(b"ten_1", b"ten_2"),
                BOUND_TO.replace(b"doc_1", b"doc_2"),
                BOUND_TO[:-1] + b"2",
            ]
        ),
    )
)
def test_foreign_associated_data_is_refused(bound_to):
    assert_refused(SEALED, bound_to=bound_to)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused(sealed):
    assert_refused(sealed)
    assert_refused(bytes([HEADER_SIZE]) + sealed)


@pytest.mark.parametrize("position", range(len(SHORT)))
def test_every_byte_of_a_short_content_counts(position):
    for bit in range(8):
        mutated = bytearray(SHORT)
        mutated[position] ^= 1 << bit
        assert_refused(bytes(mutated))
    assert_refused(SHORT[:position])


@settings(max_examples=1_000, deadline=None)
@given(
    st.sampled_from(list(segments(len(CONTENT)))),
    st.integers(-1, len(PARTS)) | st.sampled_from([2**32 - 1, 2**32, 2**64]),
    st.booleans(),
    st.integers(-1, 2**21),
)
def test_a_segment_opens_only_at_its_place_and_leaves_nothing_behind(segment, index, last, flip):
    part = bytearray(SEALED[segment.sealed_start : segment.sealed_end])
    true_place = (index, last) == (segment.index, segment.last)
    if 0 <= flip < len(part):
        part[flip] ^= 1
    elif true_place:
        part = part[:-1]
    out = bytearray(SEGMENT_PLAINTEXT)
    with pytest.raises(Damaged):
        Opener(KEY, BOUND_TO, SEALED[:HEADER_SIZE]).open_segment(index, part, out, last=last)
    assert not any(out[:SEGMENT_PLAINTEXT:997])
    assert not any(out[:64])


@pytest.mark.parametrize("size", [0, 1, TAG_SIZE - 1])
def test_a_segment_shorter_than_its_tag_is_refused(size):
    opener = Opener(KEY, BOUND_TO, SEALED[:HEADER_SIZE])
    with pytest.raises(Damaged):
        opener.open_segment(0, bytes(size), bytearray(100), last=True)


def test_an_empty_segment_after_a_full_one_is_refused():
    # Its size is one that no writer makes, so it is refused before its tag is looked at.
    opener = Opener(KEY, BOUND_TO, SEALED[:HEADER_SIZE])
    with pytest.raises(Damaged):
        opener.open_segment(1, bytes(TAG_SIZE), bytearray(100), last=True)
