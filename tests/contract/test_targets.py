"""TargetStore: every kind of target keeps what ``shared.ports.targets`` promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.base.buffers import Buffer
from shared.base.errors import NotFound
from shared.ports.targets import TargetStore
from tests.support.contract import targets as factories
from tests.support.contract.targets import TargetsHarness

pytestmark = pytest.mark.anyio

MEBIBYTE = 1_048_576

TARGETS = {
    "azure-blob, key": factories.azure_key,
    "azure-blob, signature": factories.azure_sas,
    "folder": factories.folder,
    "google-cloud-storage": factories.google,
    "memory": factories.memory,
    "s3": factories.s3,
}


@pytest.fixture(params=sorted(TARGETS))
async def targets(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TargetsHarness]:
    request.node.user_properties.append(("contract", f"TargetStore x {request.param}"))
    async with TARGETS[request.param](tmp_path) as harness:
        yield harness


async def stream(*chunks: Buffer) -> AsyncIterator[Buffer]:
    for chunk in chunks:
        yield chunk


async def put(store: TargetStore, name: str, *chunks: Buffer) -> None:
    await store.put(name, stream(*chunks), sum(len(chunk) for chunk in chunks))


async def content(store: TargetStore, name: str, **part: Any) -> bytes:
    return b"".join([piece async for piece in store.get(name, **part)])


async def names(store: TargetStore, prefix: str = "") -> list[str]:
    return sorted([info.name async for info in store.list(prefix)])


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes in which every position can be told from its neighbours."""
    block = bytes((seed + i * 31 + i // 251) % 256 for i in range(65_537))
    return (block * (size // len(block) + 1))[:size]


SIZES = [0, 1, 5 * MEBIBYTE, 5 * MEBIBYTE + 1, 17 * MEBIBYTE + 17]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunk", [300_007, 9 * MEBIBYTE])
async def test_content_comes_back_as_it_was_put(targets, size, chunk):
    whole = pattern(size)
    await put(targets.store, "ten_a/doc", *(whole[at : at + chunk] for at in range(0, size, chunk)))
    assert await content(targets.store, "ten_a/doc") == whole
    [info] = [info async for info in targets.store.list("ten_a/")]
    assert (info.name, info.size) == ("ten_a/doc", size)
    assert abs(info.modified_at - targets.now()) <= timedelta(minutes=1)
    assert info.modified_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("size", [60, 4 * MEBIBYTE])
async def test_each_chunk_is_used_before_the_next_is_asked_for(targets, size):
    buffer = bytearray(size)

    async def reused() -> AsyncIterator[Buffer]:
        for number in range(5):
            buffer[:] = bytes([number]) * len(buffer)
            yield memoryview(buffer)

    await targets.store.put("reused", reused(), 5 * size)
    expected = b"".join(bytes([number]) * size for number in range(5))
    assert await content(targets.store, "reused") == expected


@pytest.mark.parametrize("sizes", [(10, 20), (20 * MEBIBYTE, 30), (30, 20 * MEBIBYTE)])
async def test_a_put_takes_the_place_of_the_object_before(targets, sizes):
    for seed, size in enumerate(sizes):
        await put(targets.store, "ten_a/doc", pattern(size, seed))
        assert await content(targets.store, "ten_a/doc") == pattern(size, seed)
    assert await names(targets.store) == ["ten_a/doc"]


@pytest.mark.parametrize("size", [10, 9 * MEBIBYTE])
@pytest.mark.parametrize("difference", [-1, 1, 20 * MEBIBYTE])
async def test_a_stream_of_another_size_than_announced_stores_nothing(targets, size, difference):
    await put(targets.store, "ten_a/doc", b"before")
    with pytest.raises(ValueError, match="announced"):
        await targets.store.put("ten_a/doc", stream(pattern(size + difference)), size)
    with pytest.raises(ValueError, match="announced"):
        await targets.store.put("ten_a/new", stream(pattern(size + difference)), size)
    assert await content(targets.store, "ten_a/doc") == b"before"
    assert await names(targets.store) == ["ten_a/doc"]


@pytest.mark.parametrize("before", [0, 1, 9 * MEBIBYTE])
async def test_a_stream_that_raises_stores_nothing(targets, before):
    async def broken() -> AsyncIterator[Buffer]:
        if before:
            yield pattern(before)
        raise ConnectionResetError("the primary went away")

    await put(targets.store, "ten_a/doc", b"before")
    for name in ("ten_a/doc", "ten_a/new"):
        with pytest.raises(ConnectionResetError):
            await targets.store.put(name, broken(), 20 * MEBIBYTE)
    assert await content(targets.store, "ten_a/doc") == b"before"
    assert await names(targets.store) == ["ten_a/doc"]


@pytest.mark.parametrize("size", [10, 20 * MEBIBYTE])
async def test_a_put_that_is_cancelled_stores_nothing(targets, size):
    half_way = asyncio.Event()

    async def endless() -> AsyncIterator[Buffer]:
        yield pattern(size // 2)
        half_way.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(targets.store.put("ten_a/doc", endless(), size))
    await half_way.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert await names(targets.store) == []
    await put(targets.store, "ten_a/doc", b"second try")
    assert await content(targets.store, "ten_a/doc") == b"second try"


async def test_what_is_missing_is_not_found(targets):
    await put(targets.store, "ten_a/doc/one", b"x")
    for name in ("ten_a/doc/two", "ten_b/doc", "ten_a/doc", "ten_a/doc/one/more", "ten_a"):
        for part in ({}, {"start": 3}, {"start": 0, "end": 0}, {"start": 2, "end": 5}):
            with pytest.raises(NotFound):
                await anext(targets.store.get(name, **part))


SIZE = 18 * MEBIBYTE + 9
RANGES = [
    (0, None),
    (0, 0),
    (0, 1),
    (5, 5),
    (1, None),
    (MEBIBYTE - 1, MEBIBYTE + 1),
    (100, 17 * MEBIBYTE),
    (SIZE - 1, None),
    (SIZE - 1, SIZE),
    (SIZE, None),
    (SIZE, SIZE + 1),
    (10, 90 * MEBIBYTE),
    (90 * MEBIBYTE, 91 * MEBIBYTE),
    (90 * MEBIBYTE, None),
]


async def test_ranges(targets):
    whole = pattern(SIZE)
    await put(targets.store, "doc", whole)
    for start, end in RANGES:
        assert await content(targets.store, "doc", start=start, end=end) == whole[start:end]


async def test_a_range_of_an_empty_object_is_empty(targets):
    await put(targets.store, "doc")
    assert await content(targets.store, "doc", start=0, end=10) == b""
    assert await content(targets.store, "doc", start=10) == b""


@pytest.mark.parametrize(("start", "end"), [(-1, None), (-5, 3), (5, 4)])
async def test_what_is_no_range_is_refused(targets, start, end):
    await put(targets.store, "doc", b"0123456789")
    with pytest.raises(ValueError, match="range"):
        await anext(targets.store.get("doc", start=start, end=end))


async def test_a_reader_that_stops_early_and_readers_side_by_side(targets):
    whole = pattern(4 * MEBIBYTE)
    await put(targets.store, "doc", whole)
    early = targets.store.get("doc")
    first = await anext(early)
    assert first == whole[: len(first)]
    await early.aclose()
    every = await asyncio.gather(*(content(targets.store, "doc", start=n * 1000) for n in range(8)))
    assert every == [whole[n * 1000 :] for n in range(8)]


async def test_lists_are_complete_and_know_prefixes(targets):
    wanted = ["b/1", "a-b", "a.b", "a/b", "a/a/z", "a0", "a_b", "aa/b", "a-b-c/c", "a/b.c", "c.age"]
    for name in wanted:
        await put(targets.store, name, name.encode())
    listed = {info.name: info.size async for info in targets.store.list()}
    assert listed == {name: len(name) for name in wanted}
    for prefix in ("a", "a/", "a/b", "a-", "a/a", "aa", "aa/", "b", "c", "a/a/z", "a/a/z/", "zz/z"):
        expected = sorted(name for name in wanted if name.startswith(prefix))
        assert await names(targets.store, prefix) == expected


async def test_a_long_list_is_complete(targets):
    wanted = [f"ten_{tenant}/{number:04}" for tenant in "ab" for number in range(60)]
    await asyncio.gather(*(put(targets.store, name, b"x") for name in wanted))
    assert await names(targets.store) == wanted
    assert await names(targets.store, "ten_b/") == wanted[60:]


async def test_delete_removes_one_object_for_good(targets):
    for name in ("a/b/1", "a/b/2", "a/c"):
        await put(targets.store, name, b"x")
    await targets.store.delete("a/b/1")
    assert await names(targets.store) == ["a/b/2", "a/c"]
    await put(targets.store, "a/b/1", b"again")
    assert await content(targets.store, "a/b/1") == b"again"


async def test_deleting_what_is_missing_does_nothing(targets):
    await put(targets.store, "a/b", b"x")
    for name in ("a", "a/b/c", "c", "c/d"):
        await targets.store.delete(name)
    assert await names(targets.store) == ["a/b"]


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a/", "a//b", "..", "../a", "a/../b", ".hidden", "A", "a b", "a\x00b", "a%2fb"],
)
async def test_names_that_are_refused(targets, name):
    with pytest.raises(ValueError, match="must be"):
        await put(targets.store, name, b"x")
    with pytest.raises(ValueError, match="must be"):
        await anext(targets.store.get(name))
    with pytest.raises(ValueError, match="must be"):
        await targets.store.delete(name)
    assert await names(targets.store) == []


@pytest.mark.parametrize("prefix", ["../", "/", "a//", ".", "A", "a/.", "é"])
async def test_a_prefix_that_no_name_has_is_refused(targets, prefix):
    with pytest.raises(ValueError, match="must be"):
        await names(targets.store, prefix)


async def test_targets_of_one_bucket_do_not_see_below_each_others_prefixes(targets):
    other = targets.beside("elsewhere/")
    await put(targets.store, "doc", b"here")
    await put(other, "doc", b"there")
    assert await content(targets.store, "doc") == b"here"
    assert await content(other, "doc") == b"there"
    await targets.store.delete("doc")
    assert await names(targets.store) == []
    assert await names(other) == ["doc"]


async def test_a_probe_that_finds_no_fault_leaves_nothing(targets):
    await put(targets.store, "doc", b"x")
    results = await targets.store.probe()
    assert [result.ok for result in results] == [True] * len(results), results
    assert [result.step for result in results][-3:] == ["write", "read", "delete"]
    assert await names(targets.store) == ["doc"]
