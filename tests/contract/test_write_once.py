"""WriteOnceStore: every adapter keeps what ``shared.ports.write_once`` promises.

Azurite knows neither versions nor immutability policies. On Azure these tests run through
``tests.support.emulators.immutability``, which stands before Azurite and enforces both as the service's
documentation describes them. So they show what the adapter asks for and how it reads the responses, over
real sockets and the real SDK; that the service itself keeps its word, only the service can show.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from shared.base.buffers import Buffer
from shared.base.errors import Conflict, NotFound, Retained
from shared.ports.write_once import WriteOnceStore
from tests.support.contract.harness import WriteOnceHarness

pytestmark = pytest.mark.anyio

MEBIBYTE = 1_048_576
HOUR = timedelta(hours=1)
NAME = "ten_a/packs/1"
CONTENT = b"a sealed pack"


async def stream(*chunks: Buffer) -> AsyncIterator[Buffer]:
    for chunk in chunks:
        yield chunk


async def content(store: WriteOnceStore, name: str, **part: Any) -> bytes:
    return b"".join([piece async for piece in store.get(name, **part)])


async def names(store: WriteOnceStore, prefix: str = "") -> list[str]:
    return [info.name async for info in store.list(prefix)]


def ahead(harness: WriteOnceHarness, time: timedelta = HOUR) -> datetime:
    """A date so far ahead, in whole seconds."""
    return harness.now().replace(microsecond=0) + time


async def assert_untouched(store: WriteOnceStore, date: datetime) -> None:
    assert await content(store, NAME) == CONTENT
    assert (await store.head(NAME)).retain_until == date
    assert [(info.name, info.size, info.retain_until) async for info in store.list(NAME)] == [
        (NAME, len(CONTENT), date)
    ]


@pytest.fixture
async def date(write_once: WriteOnceHarness) -> datetime:
    """The date of an object that is there."""
    date = ahead(write_once)
    await write_once.store.put(NAME, stream(CONTENT), retain_until=date)
    return date


@pytest.mark.parametrize("size", [0, 1, 100, MEBIBYTE, 5 * MEBIBYTE + 17])
async def test_content_comes_back_as_it_was_put_with_its_date(write_once, size):
    whole = random.Random(size).randbytes(size)
    date = ahead(write_once)
    pieces = [whole[at : at + 300_000] for at in range(0, size, 300_000)]
    assert await write_once.store.put(NAME, stream(*pieces), retain_until=date) == size
    assert await content(write_once.store, NAME) == whole
    info = await write_once.store.head(NAME)
    assert (info.name, info.size, info.retain_until) == (NAME, size, date)
    assert abs(info.modified_at - write_once.now()) <= timedelta(minutes=1)
    assert info.modified_at.utcoffset() == info.retain_until.utcoffset() == timedelta(0)
    assert [info async for info in write_once.store.list()] == [info]


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 0), (0, 1), (1, None), (5, 5), (10, 90_000_000), (MEBIBYTE - 1, MEBIBYTE + 70)],
)
async def test_ranges(write_once, start, end):
    whole = random.Random(1).randbytes(MEBIBYTE + 100)
    await write_once.store.put(NAME, stream(whole), retain_until=ahead(write_once))
    assert await content(write_once.store, NAME, start=start, end=end) == whole[start:end]


@pytest.mark.parametrize(("start", "end"), [(-1, None), (-100, 3), (2, 1)])
async def test_a_range_that_cannot_be_is_refused(write_once, date, start, end):
    with pytest.raises(ValueError, match="range must"):
        await content(write_once.store, NAME, start=start, end=end)


async def test_a_date_is_never_earlier_than_asked(write_once):
    asked = ahead(write_once) + timedelta(microseconds=1)
    await write_once.store.put("a", stream(b"x"), retain_until=asked)
    assert (await write_once.store.head("a")).retain_until == ahead(write_once, HOUR * 1) + (
        timedelta(seconds=1)
    )
    eastern = (ahead(write_once)).astimezone(timezone(timedelta(hours=9)))
    await write_once.store.put("b", stream(b"x"), retain_until=eastern)
    assert (await write_once.store.head("b")).retain_until == eastern
    later = eastern + timedelta(hours=1, microseconds=999_999)
    await write_once.store.extend("b", later)
    assert later <= (await write_once.store.head("b")).retain_until < later + timedelta(seconds=1)


REFUSED_DATES: dict[str, Callable[[datetime], datetime]] = {
    "now": lambda now: now,
    "a second ago": lambda now: now - timedelta(seconds=1),
    "the epoch": lambda _: datetime(1970, 1, 1, tzinfo=UTC),
    "without a time zone": lambda now: (now + HOUR).replace(tzinfo=None),
    "in a thousand years": lambda now: now.replace(day=1, year=now.year + 1_000),
}


@pytest.mark.parametrize("wrong", REFUSED_DATES)
async def test_a_date_that_cannot_be_creates_nothing(write_once, wrong):
    refused = REFUSED_DATES[wrong](write_once.now())
    await write_once.other.put("source", stream(b"x"))
    with pytest.raises(ValueError, match="A retention date must be"):
        await write_once.store.put(NAME, stream(b"x"), retain_until=refused)
    with pytest.raises(ValueError, match="A retention date must be"):
        await write_once.store.copy_from(write_once.other, "source", NAME, retain_until=refused)
    assert await names(write_once.store) == []


async def test_an_object_and_its_dates_survive_the_process(write_once, date):
    await write_once.store.extend(NAME, date + HOUR)
    again = await write_once.reopen()
    await assert_untouched(again, date + HOUR)
    with pytest.raises(Retained):
        await again.delete(NAME)


async def test_an_object_is_never_overwritten_and_keeps_its_own_date(write_once, date):
    await write_once.other.put("source", stream(b"other"))
    for other in (date + HOUR, date - HOUR / 2):
        with pytest.raises(Conflict):
            await write_once.store.put(NAME, stream(b"other"), retain_until=other)
        with pytest.raises(Conflict):
            await write_once.store.copy_from(write_once.other, "source", NAME, retain_until=other)
    await assert_untouched(write_once.store, date)


async def test_an_object_whose_date_has_come_is_still_not_overwritten(write_once, date):
    await write_once.advance(7_200)
    with pytest.raises(Conflict):
        await write_once.store.put(NAME, stream(b"other"), retain_until=ahead(write_once))
    await assert_untouched(write_once.store, date)


@pytest.mark.parametrize("size", [10, 2 * MEBIBYTE])
async def test_of_concurrent_puts_one_wins_with_its_own_date(write_once, size):
    dates = [ahead(write_once, HOUR * number) for number in range(1, 13)]

    async def put(number: int) -> int | None:
        try:
            await write_once.store.put(
                NAME, stream(bytes([number]) * size), retain_until=dates[number]
            )
        except Conflict:
            return None
        return number

    outcomes = await asyncio.gather(*(put(number) for number in range(12)))
    [winner] = [number for number in outcomes if number is not None]
    assert await content(write_once.store, NAME) == bytes([winner]) * size
    assert (await write_once.store.head(NAME)).retain_until == dates[winner]


@pytest.mark.parametrize("before", [0, 1, 3 * MEBIBYTE])
async def test_a_stream_that_raises_leaves_nothing(write_once, before):
    async def broken() -> AsyncIterator[Buffer]:
        yield bytes(before)
        raise ConnectionResetError("the other side left")

    with pytest.raises(ConnectionResetError):
        await write_once.store.put(NAME, broken(), retain_until=ahead(write_once))
    assert await names(write_once.store) == []
    await write_once.store.put(NAME, stream(CONTENT), retain_until=ahead(write_once))
    await assert_untouched(write_once.store, ahead(write_once))


async def test_copying_from_another_store(write_once):
    whole = random.Random(2).randbytes(3 * MEBIBYTE + 1)
    await write_once.other.put("source/doc", stream(whole))
    date = ahead(write_once)
    store = write_once.store
    assert await store.copy_from(write_once.other, "source/doc", NAME, retain_until=date) == len(
        whole
    )
    assert await content(store, NAME) == whole
    assert (await store.head(NAME)).retain_until == date
    with pytest.raises(NotFound):
        await store.copy_from(write_once.other, "absent", "copy", retain_until=date)
    assert await names(store) == [NAME]
    with pytest.raises(Retained):
        await store.delete(NAME)


async def test_deleting_before_the_date_is_refused_and_says_until_when(write_once, date):
    with pytest.raises(Retained, match=f"{date:%Y-%m-%dT%H:%M:%SZ}"):
        await write_once.store.delete(NAME)
    await assert_untouched(write_once.store, date)
    await write_once.advance((date - write_once.now()).total_seconds() - 1)
    with pytest.raises(Retained):
        await write_once.store.delete(NAME)
    await assert_untouched(write_once.store, date)


async def test_deleting_after_the_date_removes_the_object_and_frees_its_name(write_once, date):
    await write_once.advance((date - write_once.now()).total_seconds())
    await assert_untouched(write_once.store, date)
    await write_once.store.delete(NAME)
    assert await names(write_once.store) == []
    for missing in (write_once.store.head(NAME), content(write_once.store, NAME)):
        with pytest.raises(NotFound):
            await missing
    await write_once.store.delete(NAME)
    again = ahead(write_once)
    await write_once.store.put(NAME, stream(CONTENT), retain_until=again)
    await assert_untouched(write_once.store, again)


async def test_deleting_what_is_missing_does_nothing(write_once, date):
    for name in ("ten_a", "ten_a/packs", "ten_a/packs/1/more", "ten_b"):
        await write_once.store.delete(name)
    await assert_untouched(write_once.store, date)


async def test_extending_moves_the_date_later_and_never_earlier(write_once, date):
    for asked, kept in [
        (date + HOUR, date + HOUR),
        (date + HOUR, date + HOUR),
        (date, date + HOUR),
        (write_once.now() + timedelta(seconds=2), date + HOUR),
        (write_once.now() - HOUR, date + HOUR),
        (datetime(1970, 1, 1, tzinfo=UTC), date + HOUR),
        (date + 24 * HOUR, date + 24 * HOUR),
        (date + 2 * HOUR, date + 24 * HOUR),
        (date + 24 * HOUR + timedelta(seconds=1), date + 24 * HOUR + timedelta(seconds=1)),
    ]:
        await write_once.store.extend(NAME, asked)
        await assert_untouched(write_once.store, kept)
    await write_once.advance(23 * 3_600)
    with pytest.raises(Retained):
        await write_once.store.delete(NAME)


async def test_an_extended_object_can_be_deleted_at_its_last_date(write_once, date):
    await write_once.store.extend(NAME, date + HOUR)
    await write_once.advance((date - write_once.now()).total_seconds())
    with pytest.raises(Retained):
        await write_once.store.delete(NAME)
    await write_once.advance(3_600)
    await write_once.store.delete(NAME)
    assert await names(write_once.store) == []


async def test_extending_after_the_date_retains_the_object_again(write_once, date):
    await write_once.advance(7_200)
    await write_once.store.extend(NAME, write_once.now() - timedelta(minutes=1))
    await assert_untouched(write_once.store, date)
    await write_once.store.extend(NAME, ahead(write_once))
    with pytest.raises(Retained):
        await write_once.store.delete(NAME)
    await assert_untouched(write_once.store, ahead(write_once))


async def test_extending_to_a_date_that_cannot_be_is_refused(write_once, date):
    for wrong in ("without a time zone", "in a thousand years"):
        with pytest.raises(ValueError, match="A retention date must be"):
            await write_once.store.extend(NAME, REFUSED_DATES[wrong](write_once.now()))
    await assert_untouched(write_once.store, date)


async def test_extending_what_is_missing_is_not_found(write_once, date):
    for name in ("ten_a", "ten_a/packs/1/more", "ten_a/packs/2"):
        for until in (date + HOUR, date - 48 * HOUR):
            with pytest.raises(NotFound):
                await write_once.store.extend(name, until)
    assert await names(write_once.store) == [NAME]


async def test_of_concurrent_extensions_the_latest_counts(write_once, date):
    dates = [date + HOUR * number for number in range(1, 11)]
    random.Random(3).shuffle(dates)
    stores = [write_once.store, await write_once.reopen()]
    await asyncio.gather(
        *(stores[number % 2].extend(NAME, date) for number, date in enumerate(dates))
    )
    await assert_untouched(write_once.store, max(dates))


@pytest.mark.parametrize("extender_first", [True, False])
async def test_an_object_that_is_extended_while_it_is_deleted_is_one_or_the_other(
    write_once, date, extender_first
):
    await write_once.advance(7_200)
    other = await write_once.reopen()
    calls: list[Awaitable[None]] = [
        write_once.store.extend(NAME, ahead(write_once)),
        other.delete(NAME),
    ]
    if not extender_first:
        calls.reverse()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    if await names(write_once.store) == []:
        assert any(isinstance(outcome, NotFound) for outcome in outcomes)
    else:
        assert any(isinstance(outcome, Retained) for outcome in outcomes)
        await assert_untouched(write_once.store, ahead(write_once))


async def test_objects_are_listed_in_order_with_the_dates_that_have_come(write_once):
    wanted = ["b/1", "a-b", "a.b", "a/b", "a/a/z", "a0", "a", "a_b", "aa/b", "a-b/c", "b", "a/b.c"]
    dates = {name: ahead(write_once, HOUR * (1 + at)) for at, name in enumerate(wanted)}
    for name, date in dates.items():
        await write_once.store.put(name, stream(name.encode()), retain_until=date)
    await write_once.advance(5 * 3_600 + 1)
    listed = [(info.name, info.retain_until) async for info in write_once.store.list()]
    assert listed == sorted(dates.items())
    for prefix in ("a", "a/", "a/b", "a-", "aa/", "b", "c", "a/a/z", "a/a/z/", "zz/zz/zz"):
        expected = sorted(name for name in wanted if name.startswith(prefix))
        assert await names(write_once.store, prefix) == expected


async def test_a_long_list_is_complete(write_once):
    wanted = [f"ten_{tenant}/{number:04}" for tenant in "ab" for number in range(30)]
    date = ahead(write_once)
    for at in range(0, 60, 20):
        await asyncio.gather(
            *(
                write_once.store.put(name, stream(b"x"), retain_until=date)
                for name in wanted[at : at + 20]
            )
        )
    assert await names(write_once.store) == wanted
    assert await names(write_once.store, "ten_b/") == wanted[30:]


HOSTILE = ["", "/", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/./b", ".hidden", ".incoming/a"]
HOSTILE += ["A", "a b", "a\\b", "a\x00b", "a\n", "é", "a%2fb", "a=", "a?b", "a#b", "x" * 201]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
async def test_names_that_are_refused(write_once, name):
    store, date = write_once.store, ahead(write_once)
    await write_once.other.put("source", stream(b"x"))
    for call in (
        store.put(name, stream(b"x"), retain_until=date),
        store.copy_from(write_once.other, "source", name, retain_until=date),
        content(store, name),
        store.head(name),
        store.extend(name, date),
        store.delete(name),
    ):
        with pytest.raises(ValueError, match="must be"):
            await call
    assert await names(store) == []


@pytest.mark.parametrize("prefix", ["../", "/", "a//", ".", "A", "a/.", "é"])
async def test_a_prefix_that_no_name_has_is_refused(write_once, prefix):
    with pytest.raises(ValueError, match="must be"):
        await names(write_once.store, prefix)


@pytest.mark.parametrize("seed", range(6))
async def test_no_sequence_of_calls_removes_shortens_or_overwrites_what_is_retained(
    write_once, seed
):
    """Calls at random, on few names, as time passes; a model says what must be there after each."""
    chance = random.Random(seed)
    kept: dict[str, tuple[bytes, datetime]] = {}
    store = write_once.store
    for number in range(80):
        name = chance.choice(["a", "a/b", "a/b/c", "b"])
        date = ahead(write_once, timedelta(minutes=chance.randint(-90, 240)))
        now, there = write_once.now(), kept.get(name)
        refusal: type[Exception] | None = None
        match chance.choice(["put", "copy", "extend", "delete", "delete", "wait", "reopen"]):
            case "put" | "copy" as way:
                whole = b"%d" % number
                refusal = ValueError if date <= now else Conflict if there else None
                await write_once.other.put(f"source/{number}", stream(whole))
                call = (
                    store.put(name, stream(whole), retain_until=date)
                    if way == "put"
                    else store.copy_from(
                        write_once.other, f"source/{number}", name, retain_until=date
                    )
                )
                if refusal is None:
                    kept[name] = whole, date
            case "extend":
                call = store.extend(name, date)
                refusal = None if there else NotFound
                if there and date > now:
                    kept[name] = there[0], max(there[1], date)
            case "delete":
                call = store.delete(name)
                refusal = Retained if there and there[1] > now else None
                if refusal is None:
                    kept.pop(name, None)
            case "wait":
                call = write_once.advance(chance.randint(1, 7_200))
            case _:
                store = await write_once.reopen()
                continue
        if refusal is None:
            await call
        else:
            with pytest.raises(refusal):
                await call
        listed = {info.name: info.retain_until async for info in store.list()}
        assert listed == {name: date for name, (_, date) in kept.items()}
    for name, (whole, _) in kept.items():
        assert await content(store, name) == whole
