"""Sealed content: sizes, segments, whole streams, and both ways against Tink."""

import io
import random
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st
from tink import streaming_aead  # type: ignore[import-untyped]

from shared.base.buffers import Buffer
from shared.base.errors import Damaged, TooLarge
from shared.base.streams import Conversion, convert_stream
from shared.crypto import streaming
from shared.crypto.ranges import OpenedRange
from shared.crypto.streaming import (
    FIRST_SEGMENT_PLAINTEXT,
    HEADER_SIZE,
    SEGMENT_PLAINTEXT,
    SEGMENT_SIZE,
    TAG_SIZE,
    Opener,
    Sealer,
    plaintext_size,
    sealed_size,
    segments,
)
from tests.support.sealing import open_sealed, run, seal, stream
from tests.support.stock_tink import stock_tink

KEY = bytes(range(32))
BOUND_TO = b"strongroom/content/1/production/ten_1/doc_1/1"

BORDERS = [FIRST_SEGMENT_PLAINTEXT + n * SEGMENT_PLAINTEXT for n in range(3)]
SIZES = [0, 1, *(b + d for b in BORDERS for d in (-1, 0, 1)), 5_000_000]


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def chunks(content: bytes, size: int) -> Iterator[memoryview]:
    view = memoryview(content)
    return (view[start : start + size] for start in range(0, len(view), size))


@pytest.fixture(scope="module")
def tink() -> streaming_aead.StreamingAead:
    return stock_tink(KEY)


class Kept(io.BytesIO):
    """A buffer whose content outlives ``close``, which Tink's stream calls on its destination."""

    def close(self) -> None:
        self.content = self.getvalue()
        super().close()


@pytest.mark.parametrize("size", SIZES)
def test_tink_opens_what_we_seal(tink, entropy, size):
    content = noise(size)
    sealed = seal(KEY, BOUND_TO, chunks(content, 300_000), entropy)
    with tink.new_decrypting_stream(io.BytesIO(sealed), BOUND_TO) as stream:
        assert stream.read() == content


@pytest.mark.parametrize("size", SIZES)
def test_we_open_what_tink_seals(tink, size):
    content = noise(size)
    destination = Kept()
    stream: BinaryIO
    with tink.new_encrypting_stream(destination, BOUND_TO) as stream:
        stream.write(content)
    assert len(destination.content) == sealed_size(size)
    assert open_sealed(KEY, BOUND_TO, destination.content) == content


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_what_sealing_gives(entropy, size):
    sealed = seal(KEY, BOUND_TO, [noise(size)], entropy)
    assert len(sealed) == sealed_size(size)
    assert plaintext_size(len(sealed)) == size


@given(st.integers(0, 2**52))
def test_sizes_are_inverse(size):
    assert plaintext_size(sealed_size(size)) == size


@pytest.mark.parametrize(
    "size",
    [-1, 0, HEADER_SIZE, HEADER_SIZE + TAG_SIZE - 1]
    # A later segment holds at least one byte besides its tag.
    + [n * SEGMENT_SIZE + extra for n in (1, 2, 7) for extra in range(1, TAG_SIZE + 1)],
)
def test_impossible_sizes_are_refused(size):
    with pytest.raises(Damaged):
        plaintext_size(size)


@pytest.mark.parametrize("chunk", [1_000, 65_536, SEGMENT_PLAINTEXT, SEGMENT_SIZE, 10_000_000])
@pytest.mark.parametrize("size", [0, 1, BORDERS[0], BORDERS[1], BORDERS[1] + 1, 4_000_000])
def test_the_cut_of_the_incoming_buffers_does_not_matter(entropy, size, chunk):
    content = noise(size)
    sealed = seal(KEY, BOUND_TO, chunks(content, chunk), entropy)
    assert open_sealed(KEY, BOUND_TO, sealed, chunk) == content


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 1_500_000), max_size=5))
def test_any_cut_opens_to_the_same_content(cut):
    content = noise(sum(cut))
    starts = [sum(cut[:i]) for i in range(len(cut))]
    pieces = [content[start : start + size] for start, size in zip(starts, cut, strict=True)]
    sealed = seal(KEY, BOUND_TO, pieces, bytes)
    assert open_sealed(KEY, BOUND_TO, sealed) == content


def test_sealed_views_are_whole_segments(entropy):
    async def sizes() -> list[int]:
        plaintext = stream(chunks(noise(3_000_000), 70_000))
        return [
            len(view) async for view in convert_stream(Sealer(KEY, BOUND_TO, entropy), plaintext)
        ]

    views = run(sizes())
    assert views[:-1] == [SEGMENT_SIZE] * (len(views) - 1)


def test_buffers_of_other_items_count_bytes(entropy):
    content = noise(80_000)
    items = memoryview(content).cast("d")
    sealed = seal(KEY, BOUND_TO, [items], entropy)  # type: ignore[list-item]
    assert open_sealed(KEY, BOUND_TO, sealed) == content


def test_a_content_ends_once(entropy):
    sealer = Sealer(KEY, BOUND_TO, entropy)
    sealed = bytes(sealer.convert(b"all of it", last=True))
    with pytest.raises(ValueError, match="sealed before"):
        sealer.convert(b"", last=True)
    opened = OpenedRange(Opener(KEY, BOUND_TO, sealed[:HEADER_SIZE]), len(b"all of it"))
    assert bytes(opened.convert(sealed[HEADER_SIZE:], last=True)) == b"all of it"
    with pytest.raises(Damaged):
        opened.convert(b"", last=True)


def test_each_content_has_a_header_of_its_own(entropy):
    first, second = (seal(KEY, BOUND_TO, [b"same"], entropy) for _ in range(2))
    assert first[:HEADER_SIZE] != second[:HEADER_SIZE]
    assert first[HEADER_SIZE:] != second[HEADER_SIZE:]
    assert first[0] == second[0] == 40


SEGMENTED = 3_500_000
CONTENT = noise(SEGMENTED)
SEALED = seal(KEY, BOUND_TO, [CONTENT], noise)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, SEGMENTED), st.integers(0, SEGMENTED))
def test_any_range_opens_from_its_segments_alone(one, other):
    start, end = sorted((one, other))
    opener = Opener(KEY, BOUND_TO, SEALED[:HEADER_SIZE])
    out = bytearray(SEGMENT_PLAINTEXT)
    opened = bytearray()
    covering = list(segments(SEGMENTED, start, end))
    for segment in covering:
        part = SEALED[segment.sealed_start : segment.sealed_end]
        size = opener.open_segment(segment.index, part, out, last=segment.last)
        assert size == segment.plaintext_end - segment.plaintext_start
        assert segment.plaintext_start < end
        assert segment.plaintext_end > start
        opened += out[:size]
    if covering:
        skipped = start - covering[0].plaintext_start
        assert opened[skipped : skipped + end - start] == CONTENT[start:end]
    else:
        assert start == end


@pytest.mark.parametrize("size", SIZES)
def test_segments_tile_the_content(size):
    parts = list(segments(size))
    assert [part.index for part in parts] == list(range(len(parts)))
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert [part.plaintext_start for part in parts] == [0, *(p.plaintext_end for p in parts[:-1])]
    assert [part.sealed_start for part in parts] == [40, *(p.sealed_end for p in parts[:-1])]
    assert parts[-1].plaintext_end == size
    assert parts[-1].sealed_end == sealed_size(size)


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (3, 2), (0, 11), (11, None)])
def test_ranges_outside_the_content_are_refused(start, end):
    with pytest.raises(ValueError, match="outside the content"):
        list(segments(10, start, end))


def test_an_empty_range_needs_no_segment():
    assert not list(segments(10, 5, 5))


def test_the_sealer_refuses_wrong_segment_sizes(entropy):
    out = bytearray(SEGMENT_SIZE)
    sealer = Sealer(KEY, BOUND_TO, entropy)
    for size, last in [(FIRST_SEGMENT_PLAINTEXT - 1, False), (FIRST_SEGMENT_PLAINTEXT + 1, True)]:
        with pytest.raises(ValueError, match="size of this segment"):
            sealer.seal_segment(bytes(size), out, last=last)
    sealer.seal_segment(bytes(FIRST_SEGMENT_PLAINTEXT), out, last=False)
    for size, last in [(0, True), (1, False), (SEGMENT_PLAINTEXT + 1, True)]:
        with pytest.raises(ValueError, match="size of this segment"):
            sealer.seal_segment(bytes(size), out, last=last)


def test_the_sealer_refuses_a_segment_after_the_last(entropy):
    out = bytearray(100)
    sealer = Sealer(KEY, BOUND_TO, entropy)
    sealer.seal_segment(b"all", out, last=True)
    with pytest.raises(ValueError, match="sealed before"):
        sealer.seal_segment(b"more", out, last=True)


def test_the_segment_number_never_wraps(entropy, monkeypatch):
    monkeypatch.setattr(streaming, "MAX_SEGMENTS", 2)
    with pytest.raises(TooLarge):
        seal(KEY, BOUND_TO, [bytes(BORDERS[1] + 1)], entropy)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_keys_of_other_sizes_are_refused(entropy, size):
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(bytes(size), BOUND_TO, entropy)


def test_memory_stays_constant(entropy):
    buffer = bytes(4_000_000)

    async def through(conversion: Conversion, plaintext: Iterable[Buffer]) -> int:
        return sum([len(piece) async for piece in convert_stream(conversion, stream(plaintext))])

    def peak(conversion: Conversion, plaintext: Iterable[Buffer], size: int) -> int:
        tracemalloc.start()
        found = run(through(conversion, plaintext))
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == size
        return taken

    def sealing(buffers: int) -> int:
        size = sealed_size(buffers * len(buffer))
        return peak(Sealer(KEY, BOUND_TO, entropy), (buffer for _ in range(buffers)), size)

    def opening(buffers: int) -> int:
        size = buffers * len(buffer)
        sealed = seal(KEY, BOUND_TO, (buffer for _ in range(buffers)), entropy)
        opened = OpenedRange(Opener(KEY, BOUND_TO, sealed[:HEADER_SIZE]), size)
        return peak(opened, chunks(sealed[HEADER_SIZE:], len(buffer)), size)

    for way in (sealing, opening):
        assert way(32) < way(2) + 65_536
        assert way(32) < 5 * SEGMENT_SIZE


@pytest.mark.parametrize(
    ("key", "salt", "info", "okm"),
    [
        (
            bytes([0x0B] * 22),
            bytes(range(13)),
            bytes(range(0xF0, 0xFA)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(0x50)),
            bytes(range(0x60, 0xB0)),
            bytes(range(0xB0, 0x100)),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c6"
            "5e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            bytes([0x0B] * 22),
            b"",
            b"",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_hkdf_sha256_gives_the_vectors_of_rfc_5869(key, salt, info, okm):
    expected = bytes.fromhex(okm)
    assert HKDF(SHA256(), len(expected), salt=salt, info=info).derive(key) == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(0, SEGMENTED), st.integers(0, SEGMENTED), st.integers(1, 3_000_000))
def test_any_range_opens_as_a_stream(one, other, cut):
    start, end = sorted((one, other))
    opened = OpenedRange(Opener(KEY, BOUND_TO, SEALED[:HEADER_SIZE]), SEGMENTED, start, end)
    sealed = SEALED[opened.sealed_start : opened.sealed_end]

    async def plaintext() -> bytes:
        pieces = convert_stream(opened, stream(chunks(sealed, max(cut, 10_000))))
        return b"".join([bytes(piece) async for piece in pieces])

    assert run(plaintext()) == CONTENT[start:end]


@pytest.mark.parametrize("left", [0, 1, SEGMENT_SIZE - 1, SEGMENT_SIZE, 2 * SEGMENT_SIZE - 17])
def test_a_range_that_ends_early_is_refused(left):
    opened = OpenedRange(
        Opener(KEY, BOUND_TO, SEALED[:HEADER_SIZE]), SEGMENTED, 1_500_000, 3_000_000
    )
    sealed = SEALED[opened.sealed_start : opened.sealed_end][:left]

    async def read() -> None:
        async for _ in convert_stream(opened, stream([sealed])):
            pass

    with pytest.raises(Damaged):
        run(read())
