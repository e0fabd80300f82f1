"""BlobStore: every adapter keeps what ``shared.ports.blobs`` promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.base.buffers import Buffer
from shared.base.errors import Conflict, NotFound
from shared.ports.blobs import BlobStore

pytestmark = pytest.mark.anyio

MEBIBYTE = 1_048_576


async def stream(*chunks: Buffer) -> AsyncIterator[Buffer]:
    for chunk in chunks:
        yield chunk


async def content(store: BlobStore, name: str, **part: Any) -> bytes:
    return b"".join([piece async for piece in store.get(name, **part)])


async def names(store: BlobStore, prefix: str = "") -> list[str]:
    return [info.name async for info in store.list(prefix)]


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes in which every position can be told from its neighbours."""
    block = bytes((seed + i * 31 + i // 251) % 256 for i in range(65_537))
    return (block * (size // len(block) + 1))[:size]


SIZES = [0, 1, 65_536, MEBIBYTE - 1, MEBIBYTE, MEBIBYTE + 1, 2 * MEBIBYTE, 5 * MEBIBYTE + 17]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunk", [7_919, 65_536, MEBIBYTE, 3 * MEBIBYTE])
async def test_content_comes_back_as_it_was_put(blobs, size, chunk):
    whole = pattern(size)
    if size // chunk > 300:
        whole = whole[: 300 * chunk]
    pieces = [whole[at : at + chunk] for at in range(0, len(whole), chunk)]
    assert await blobs.store.put("ten_a/doc", stream(*pieces)) == len(whole)
    assert await content(blobs.store, "ten_a/doc") == whole
    info = await blobs.store.head("ten_a/doc")
    assert (info.name, info.size) == ("ten_a/doc", len(whole))
    assert abs(info.modified_at - blobs.now()) <= timedelta(minutes=1)
    assert info.modified_at.utcoffset() == timedelta(0)


async def test_an_empty_stream_makes_an_empty_object(blobs):
    assert await blobs.store.put("empty", stream()) == 0
    assert await content(blobs.store, "empty") == b""
    assert (await blobs.store.head("empty")).size == 0


async def test_each_chunk_is_used_before_the_next_is_asked_for(blobs):
    buffer = bytearray(100_000)

    async def reused() -> AsyncIterator[Buffer]:
        for number in range(30):
            buffer[:] = bytes([number]) * len(buffer)
            yield memoryview(buffer)[: 50_000 + number]

    await blobs.store.put("reused", reused())
    expected = b"".join(bytes([number]) * (50_000 + number) for number in range(30))
    assert await content(blobs.store, "reused") == expected


async def test_many_are_put_together(blobs):
    contents = {f"ten_a/{number % 3}/{number}": pattern(number * 100) for number in range(150)}
    await blobs.store.put_all([(name, memoryview(data)) for name, data in contents.items()])
    again = await blobs.reopen()
    assert await names(again) == sorted(contents)
    for name in ["ten_a/0/0", "ten_a/1/100", "ten_a/2/149"]:
        assert await content(again, name) == contents[name]
    await blobs.store.put_all([])


async def test_one_that_exists_is_not_put_with_others(blobs):
    await blobs.store.put("b", stream(b"first"))
    with pytest.raises(Conflict):
        await blobs.store.put_all([("a", b"1"), ("b", b"2"), ("c", b"3")])
    assert await content(blobs.store, "b") == b"first"
    # Whatever was put of the others is whole, and can be put under other names.
    for name in set(await names(blobs.store)) - {"b"}:
        assert len(await content(blobs.store, name)) == 1


async def test_many_are_read_together_in_the_order_asked_for(blobs):
    contents = {f"ten_a/{number % 3}/{number}": pattern(number * 100) for number in range(150)}
    await blobs.store.put_all(list(contents.items()))
    wanted = [(name, 100_000) for name in reversed(contents)]
    assert list(await blobs.store.get_all(wanted)) == list(reversed(contents.values()))
    assert list(await blobs.store.get_all([])) == []


async def test_no_more_of_many_is_read_than_asked_for(blobs):
    whole = pattern(2 * MEBIBYTE + 17)
    await blobs.store.put("large", stream(whole))
    sizes = [0, 1, MEBIBYTE, MEBIBYTE + 1, len(whole), len(whole) + 1]
    read = await blobs.store.get_all([("large", size) for size in sizes])
    assert list(read) == [whole[:size] for size in sizes]


async def test_what_is_missing_of_many_hides_no_other(blobs):
    await blobs.store.put_all([("a/1", b"first"), ("b/2", b""), ("c", b"third")])
    await blobs.store.delete("c")
    wanted = [("a/1", 10), ("a/2", 10), ("no/such", 10), ("b/2", 10), ("c", 10), ("a", 10)]
    assert list(await blobs.store.get_all(wanted)) == [b"first", None, None, b"", None, None]


async def test_less_than_nothing_of_many_is_refused(blobs):
    with pytest.raises(ValueError, match="range"):
        await blobs.store.get_all([("a", -1)])


@pytest.mark.parametrize("name", ["", "/a", "a//b", ".a", "A", "a/../b", "x" * 513])
async def test_no_name_of_many_leads_elsewhere(blobs, name):
    with pytest.raises(ValueError, match="name"):
        await blobs.store.put_all([("a", b"1"), (name, b"2")])
    with pytest.raises(ValueError, match="name"):
        await blobs.store.get_all([("a", 1), (name, 1)])
    assert set(await names(blobs.store)) <= {"a"}


async def test_an_object_survives_the_process(blobs):
    await blobs.store.put("ten_a/doc", stream(b"kept"))
    again = await blobs.reopen()
    assert await content(again, "ten_a/doc") == b"kept"
    assert await names(again) == ["ten_a/doc"]


async def test_an_object_is_never_overwritten(blobs):
    await blobs.store.put("ten_a/doc", stream(b"first"))
    with pytest.raises(Conflict):
        await blobs.store.put("ten_a/doc", stream(b"second"))
    with pytest.raises(Conflict):
        await blobs.store.put("ten_a/doc", stream(pattern(3 * MEBIBYTE)))
    assert await content(blobs.store, "ten_a/doc") == b"first"


@pytest.mark.parametrize("size", [10, 2 * MEBIBYTE])
async def test_of_concurrent_puts_of_one_name_exactly_one_wins(blobs, size):
    async def put(number: int) -> int | None:
        try:
            await blobs.store.put("ten_a/contested", stream(bytes([number]) * size))
        except Conflict:
            return None
        return number

    outcomes = await asyncio.gather(*(put(number) for number in range(20)))
    [winner] = [number for number in outcomes if number is not None]
    assert await content(blobs.store, "ten_a/contested") == bytes([winner]) * size
    assert await names(blobs.store) == ["ten_a/contested"]


async def test_concurrent_puts_into_a_new_folder_all_succeed(blobs):
    wanted = [f"ten_a/new/folder/{number:02}" for number in range(20)]
    await asyncio.gather(*(blobs.store.put(name, stream(name.encode())) for name in wanted))
    assert await names(blobs.store) == wanted


@pytest.mark.parametrize("before", [0, 1, MEBIBYTE, 3 * MEBIBYTE])
async def test_a_stream_that_raises_leaves_nothing(blobs, before):
    async def broken() -> AsyncIterator[Buffer]:
        if before:
            yield pattern(before)
        raise ConnectionResetError("the client disconnected")

    with pytest.raises(ConnectionResetError):
        await blobs.store.put("ten_a/doc", broken())
    with pytest.raises(NotFound):
        await blobs.store.head("ten_a/doc")
    assert await names(blobs.store) == []
    await blobs.store.put("ten_a/doc", stream(b"second try"))
    assert await content(blobs.store, "ten_a/doc") == b"second try"


async def test_a_put_that_is_cancelled_leaves_nothing(blobs):
    half_way = asyncio.Event()

    async def endless() -> AsyncIterator[Buffer]:
        yield pattern(2 * MEBIBYTE)
        half_way.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(blobs.store.put("ten_a/doc", endless()))
    await half_way.wait()
    assert await names(blobs.store) == []
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert await names(blobs.store) == []
    await blobs.store.put("ten_a/doc", stream(b"second try"))


async def test_what_is_missing_is_not_found(blobs):
    await blobs.store.put("ten_a/doc/one", stream(b"x"))
    for name in ("ten_a/doc/two", "ten_b/doc", "ten_a/doc", "ten_a/doc/one/more", "ten_a"):
        with pytest.raises(NotFound):
            await blobs.store.head(name)
        with pytest.raises(NotFound):
            await anext(blobs.store.get(name))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, None),
        (0, 0),
        (0, 1),
        (5, 5),
        (1, None),
        (MEBIBYTE - 1, MEBIBYTE + 1),
        (MEBIBYTE, 2 * MEBIBYTE),
        (100, 3 * MEBIBYTE),
        (3 * MEBIBYTE + 8, None),
        (3 * MEBIBYTE + 8, 3 * MEBIBYTE + 9),
        (3 * MEBIBYTE + 9, None),
        (3 * MEBIBYTE + 9, 3 * MEBIBYTE + 10),
        (10, 90 * MEBIBYTE),
        (90 * MEBIBYTE, 91 * MEBIBYTE),
        (90 * MEBIBYTE, None),
    ],
)
async def test_ranges(blobs, start, end):
    whole = pattern(3 * MEBIBYTE + 9)
    await blobs.store.put("doc", stream(whole))
    assert await content(blobs.store, "doc", start=start, end=end) == whole[start:end]


async def test_a_range_of_an_empty_object_is_empty(blobs):
    await blobs.store.put("doc", stream())
    assert await content(blobs.store, "doc", start=0, end=10) == b""
    assert await content(blobs.store, "doc", start=10) == b""


async def test_a_reader_that_stops_early_and_readers_side_by_side(blobs):
    whole = pattern(4 * MEBIBYTE)
    await blobs.store.put("doc", stream(whole))
    early = blobs.store.get("doc")
    first = await anext(early)
    assert first == whole[: len(first)]
    await early.aclose()
    every = await asyncio.gather(*(content(blobs.store, "doc", start=n * 1000) for n in range(8)))
    assert every == [whole[n * 1000 :] for n in range(8)]


async def test_an_object_that_is_deleted_while_it_is_read_is_whole_or_refused(blobs):
    whole = pattern(4 * MEBIBYTE)
    await blobs.store.put("doc", stream(whole))
    reading = blobs.store.get("doc")
    read = await anext(reading)
    await blobs.store.delete("doc")
    try:
        read += b"".join([piece async for piece in reading])
    except NotFound:
        return
    assert read == whole


GOOD = [
    "a",
    "0",
    "_",
    "-",
    "a.b",
    "a..b",
    "a/b",
    "a-b/c_d/e.f",
    "ten_01jd3v/doc_01jd3v/1",
    "x" * 200,
    "/".join(["y" * 101] * 5) + "/z",
]


@pytest.mark.parametrize("name", GOOD, ids=range(len(GOOD)))
async def test_names_that_are_allowed(blobs, name):
    await blobs.store.put(name, stream(name.encode()))
    assert await content(blobs.store, name) == name.encode()
    assert await names(blobs.store) == [name]
    await blobs.store.delete(name)
    assert await names(blobs.store) == []


HOSTILE = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/..",
    "a/./b",
    ".hidden",
    "a/.hidden",
    ".incoming/a",
    "/etc/passwd",
    "A",
    "a b",
    "a\\b",
    "a\x00b",
    "a\n",
    "\na",
    "é",
    "a\u2215b",
    "\u202ea",
    "\udc80",
    "a%2fb",
    "a:b",
    "a=b",
    "a=",
    "a?b",
    "a#b",
    "a*",
    "~",
    "x" * 201,
    "/".join(["x" * 102] * 5),
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
async def test_names_that_are_refused(blobs, name):
    await blobs.other.put("source", stream(b"x"))
    with pytest.raises(ValueError, match="must be"):
        await blobs.store.put(name, stream(b"x"))
    with pytest.raises(ValueError, match="must be"):
        await anext(blobs.store.get(name))
    with pytest.raises(ValueError, match="must be"):
        await blobs.store.head(name)
    with pytest.raises(ValueError, match="must be"):
        await blobs.store.delete(name)
    with pytest.raises(ValueError, match="must be"):
        await blobs.store.copy_from(blobs.other, "source", name)
    expires_at = blobs.now() + timedelta(hours=1)
    with pytest.raises(ValueError, match="must be"):
        await blobs.store.grant_upload(name, max_size=1, expires_at=expires_at)
    assert await names(blobs.store) == []


async def test_a_name_may_begin_with_another_name(blobs):
    for name in ("a/b", "a", "a/b/c", "a.b", "a-b/c", "ab"):
        await blobs.store.put(name, stream(name.encode()))
    for name in ("a", "a/b", "a/b/c"):
        assert await content(blobs.store, name) == name.encode()
    await blobs.store.delete("a")
    assert await names(blobs.store, "a/") == ["a/b", "a/b/c"]


async def test_objects_are_listed_in_the_order_of_their_names(blobs):
    wanted = ["b/1", "a-b", "a.b", "a/b", "a/a/z", "a0", "a", "a_b", "aa/b", "a-b/c", "b", "a/b.c"]
    for name in wanted:
        await blobs.store.put(name, stream(name.encode()))
    listed = [info async for info in blobs.store.list()]
    assert [info.name for info in listed] == sorted(wanted)
    assert [info.size for info in listed] == [len(name) for name in sorted(wanted)]
    for prefix in ("a", "a/", "a/b", "a-", "aa/", "b", "c", "a/a/z", "a/a/z/", "zz/zz/zz"):
        expected = sorted(name for name in wanted if name.startswith(prefix))
        assert await names(blobs.store, prefix) == expected


async def test_a_long_list_is_complete(blobs):
    wanted = [f"ten_{tenant}/{number:04}" for tenant in "ab" for number in range(150)]
    await asyncio.gather(*(blobs.store.put(name, stream(b"x")) for name in wanted))
    assert await names(blobs.store) == wanted
    assert await names(blobs.store, "ten_b/") == wanted[150:]


async def test_a_list_can_be_left_and_objects_may_go_meanwhile(blobs):
    for number in range(5):
        await blobs.store.put(f"doc/{number}", stream(b"x"))
    seen = []
    async for info in blobs.store.list("doc/"):
        seen.append(info.name)
        await blobs.store.delete("doc/4")
        if len(seen) == 2:
            break
    assert seen == ["doc/0", "doc/1"]
    assert await names(blobs.store) == [f"doc/{number}" for number in range(4)]


@pytest.mark.parametrize("prefix", ["../", "/", "a//", ".", "A", "a/.", "é"])
async def test_a_prefix_that_no_name_has_is_refused(blobs, prefix):
    with pytest.raises(ValueError, match="must be"):
        await names(blobs.store, prefix)


async def test_delete_removes_one_object_for_good(blobs):
    for name in ("a/b/1", "a/b/2", "a/c", "a"):
        await blobs.store.put(name, stream(b"x"))
    await blobs.store.delete("a/b/1")
    assert await names(blobs.store) == ["a", "a/b/2", "a/c"]
    await blobs.store.delete("a/b/2")
    assert await names(blobs.store) == ["a", "a/c"]
    await blobs.store.put("a/b/1", stream(b"again"))
    assert await content(blobs.store, "a/b/1") == b"again"


async def test_deleting_what_is_missing_does_nothing(blobs):
    await blobs.store.put("a/b", stream(b"x"))
    for name in ("a", "a/b/c", "c", "c/d"):
        await blobs.store.delete(name)
    assert await names(blobs.store) == ["a/b"]


@pytest.mark.parametrize("size", [0, 10, 3 * MEBIBYTE + 1])
async def test_copying_from_another_store(blobs, size):
    whole = pattern(size)
    await blobs.other.put("source/doc", stream(whole))
    assert await blobs.store.copy_from(blobs.other, "source/doc", "copy/doc") == size
    assert await content(blobs.store, "copy/doc") == whole
    assert await content(blobs.other, "source/doc") == whole


async def test_a_copy_never_overwrites_and_needs_a_source(blobs):
    await blobs.other.put("doc", stream(b"other"))
    await blobs.store.put("doc", stream(b"mine"))
    with pytest.raises(Conflict):
        await blobs.store.copy_from(blobs.other, "doc", "doc")
    assert await content(blobs.store, "doc") == b"mine"
    with pytest.raises(NotFound):
        await blobs.store.copy_from(blobs.other, "missing", "copy")
    assert await names(blobs.store) == ["doc"]


async def test_a_grant_is_a_url_with_its_own_end(blobs):
    expires_at = blobs.now() + timedelta(hours=1)
    grant = await blobs.store.grant_upload("ten_a/upl_1", max_size=10, expires_at=expires_at)
    parts = urlsplit(grant.url)
    assert parts.scheme in ("http", "https")
    assert parts.path.endswith("/ten_a/upl_1")
    assert parts.query != ""
    assert grant.method == "PUT"
    assert grant.expires_at == expires_at
    other = await blobs.store.grant_upload("ten_a/upl_2", max_size=10, expires_at=expires_at)
    assert urlsplit(other.url).query != parts.query
