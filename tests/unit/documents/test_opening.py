"""ContentOpener, where segments are opened ahead of their use: each from wherever it is good, in order."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from shared.adapters.memory import blobs as memory_blobs
from shared.base.errors import Damaged, NotFound, StrongroomError, Unavailable
from shared.crypto.streaming import SEGMENT_PLAINTEXT, SEGMENT_SIZE, Opener
from shared.documents.models import Place, Version
from shared.documents.opening import READ_AHEAD_SEGMENTS
from shared.ports.blobs import BlobStore
from tests.support.contents import Content
from tests.support.keys import TENANT

pytestmark = pytest.mark.anyio

SEGMENTS = 9
CONTENT = os.urandom((SEGMENTS - 1) * SEGMENT_PLAINTEXT + 1_000)


class Seen:
    """Content with a replica, and what was reported of its copies."""

    def __init__(self, content: Content, version: Version) -> None:
        self.content = content
        self.version = version
        self.reported: list[Place] = []

    def damage(self, place: Place, segment: int) -> None:
        """Change a byte of a segment."""
        blobs = self.content.primary if place == "primary" else self.content.replica
        name = self.version.at(place)
        assert name
        kept = bytearray(blobs._blobs[name].content)
        kept[segment * SEGMENT_SIZE + 500] ^= 1
        blobs._blobs[name] = replace(blobs._blobs[name], content=bytes(kept))

    async def open(self, start: int = 0, end: int = len(CONTENT)) -> AsyncIterator[memoryview]:
        async def on_damage(place: Place, name: str) -> str:
            self.reported.append(place)
            return name

        return await self.content.opener.open(
            TENANT, self.content.document, self.version, start, end, on_damage
        )

    async def read(self, start: int = 0, end: int = len(CONTENT)) -> bytes:
        read = b""
        async for part in await self.open(start, end):
            await asyncio.sleep(0)  # what was yielded must stay meanwhile
            read += part
        return read


@pytest.fixture(params=[1, 2, 4])
async def seen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Seen:
    monkeypatch.setattr(memory_blobs, "_PIECE", request.param * SEGMENT_SIZE)
    content = Content()
    version = (await content.sealer.seal(content.incoming(CONTENT))).version
    await content.replica.put("copy", content.primary.get(version.object))
    return Seen(content, version.model_copy(update={"replica": "copy"}))


class Breaking:
    """A store that fails once it has given so many bytes of an object.

    Args:
        store: The store.
        after: Bytes.
        error: How it fails.
    """

    def __init__(self, store: BlobStore, after: int, error: StrongroomError) -> None:
        self._store, self._after, self._error = store, after, error

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        async for piece in self._store.get(name, start=start, end=end):
            start += len(piece)
            if start > self._after:
                raise self._error
            yield piece


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, len(CONTENT)),
        (17, len(CONTENT) - 17),
        (SEGMENT_PLAINTEXT, 7 * SEGMENT_PLAINTEXT),
        (2 * SEGMENT_PLAINTEXT + 1, 7 * SEGMENT_PLAINTEXT + 1),
    ],
)
async def test_every_range_is_what_was_sealed(seen: Seen, start: int, end: int) -> None:
    assert await seen.read(start, end) == CONTENT[start:end]
    assert seen.reported == []


@pytest.mark.parametrize("segment", range(READ_AHEAD_SEGMENTS - 1, SEGMENTS))
async def test_a_damaged_segment_comes_from_the_replica(seen: Seen, segment: int) -> None:
    seen.damage("primary", segment)
    assert await seen.read() == CONTENT
    assert seen.reported == ["primary"]


async def test_every_segment_comes_from_where_it_is_good(seen: Seen) -> None:
    for segment in range(SEGMENTS):
        seen.damage("primary" if segment % 2 else "replica", segment)
    assert await seen.read() == CONTENT
    assert set(seen.reported) == {"primary", "replica"}


@pytest.mark.parametrize("error", [NotFound("gone"), Unavailable("silent"), Damaged("torn")])
@pytest.mark.parametrize("after", [4, 5, 6])
async def test_a_copy_that_cannot_be_read_further_is_left_for_the_other(
    seen: Seen, error: StrongroomError, after: int
) -> None:
    seen.content.opener.primary = Breaking(  # type: ignore[assignment]
        seen.content.primary, after * SEGMENT_SIZE, error
    )
    assert await seen.read() == CONTENT
    assert seen.reported == ([] if isinstance(error, Unavailable) else ["primary"])


@pytest.mark.parametrize("segment", [READ_AHEAD_SEGMENTS, READ_AHEAD_SEGMENTS + 1, SEGMENTS - 1])
async def test_what_is_good_in_no_copy_ends_the_stream_after_all_before_it(
    seen: Seen, segment: int
) -> None:
    for place in ("primary", "replica"):
        seen.damage(place, segment)
    stream = await seen.open()
    before = [await anext(stream) for _ in range(segment)]
    with pytest.raises(Damaged):
        await anext(stream)
    assert len(before[-1]) == SEGMENT_PLAINTEXT


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Which segments were opened, and in which threads."""
    noted: list[tuple[int, int]] = []
    really = Opener.open_segment

    def noting(opener: Opener, index: int, *args: object, **kwargs: object) -> int:
        noted.append((index, threading.get_ident()))
        return really(opener, index, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Opener, "open_segment", noting)
    return noted


async def test_later_segments_are_opened_beside_the_event_loop(
    seen: Seen, opened: list[tuple[int, int]]
) -> None:
    assert await seen.read() == CONTENT
    assert [index for index, _ in opened] == list(range(SEGMENTS))
    here = [index for index, thread in opened if thread == threading.get_ident()]
    assert here == list(range(READ_AHEAD_SEGMENTS))


async def test_one_segment_is_opened_ahead_and_none_after_the_end(
    seen: Seen, opened: list[tuple[int, int]]
) -> None:
    tasks = asyncio.all_tasks()
    stream = await seen.open()
    for _ in range(READ_AHEAD_SEGMENTS + 1):
        await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    ahead = [index for index, _ in opened]
    assert ahead in (list(range(READ_AHEAD_SEGMENTS + each)) for each in (1, 2))
    assert asyncio.all_tasks() == tasks
