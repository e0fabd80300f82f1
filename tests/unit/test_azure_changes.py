"""The feed of changed records on Cosmos DB, against items that appear late and share seconds."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.adapters.azure.changes import LATENESS, FeedPosition
from shared.adapters.azure.items import to_item
from shared.base.partitions import Partition
from shared.ports.records import Changes, Record
from tests.support.clock import FakeClock

HERE = Partition("ten_a", "2026-11")
START = 1_800_000_000


@dataclass
class Service:
    """A partition as Cosmos DB keeps it: each item with a whole second, and seen from a moment on.

    Attributes:
        now: Its clock, in seconds.
    """

    now: float = START
    _states: dict[str, list[tuple[float, dict[str, Any]]]] = field(default_factory=dict)
    _etags: int = 0

    def write(self, number: int, *, appears_after: float = 0.0) -> str:
        """Commit an item that can be read so many seconds later; its etag."""
        self._etags += 1
        record = Record(HERE, "document", f"doc_{number}", {"etag": self._etags})
        item = to_item(record, "commit", FakeClock().now())
        item |= {"_etag": str(self._etags), "_ts": int(self.now)}
        self._states.setdefault(record.id, []).append((self.now + appears_after, item))
        return record.id

    def delete(self, number: int) -> None:
        self._states.pop(f"doc_{number}", None)

    def rows(self, sql: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        """What a query of the feed finds now; items of one second in any order."""
        assert "c._ts >= @since" in sql
        most = int(sql.partition("TOP ")[2].partition(" ")[0])
        found = [item for item in self.items() if item["_ts"] >= values["@since"]]
        random.Random(self.now).shuffle(found)
        return sorted(found, key=lambda item: int(item["_ts"]))[:most]

    def items(self) -> list[dict[str, Any]]:
        """Every item in its newest state that can be read."""
        visible = (
            [item for at, item in states if at <= self.now] for states in self._states.values()
        )
        return [states[-1] for states in visible if states]


@dataclass
class Reader:
    """Follows the feed; notes each state that it was given."""

    service: Service
    position: str | None = None
    seen: list[str] = field(default_factory=list)

    def read(self, limit: int = 10, took: float = 0.0) -> Changes:
        position = (
            FeedPosition() if self.position is None else FeedPosition.parse(self.position, HERE)
        )
        rows = self.service.rows(*position.select(HERE, limit, FakeClock().now()))
        changes = position.page(HERE, rows, limit, took=took)
        assert len(changes.records) <= limit
        self.position = changes.position
        self.seen += [record.etag for record in changes.records]
        return changes

    def drain(self, limit: int = 10) -> None:
        for _ in range(len(self.service.items()) + 1):
            if not self.read(limit).more:
                return
        pytest.fail("The feed gives the same pages again and again.")


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def reader(service: Service) -> Reader:
    return Reader(service)


def test_more_items_than_a_page_in_one_second_are_all_given_once(service, reader):
    for number in range(25):
        service.write(number)
    pages = [reader.read(limit=4) for _ in range(7)]
    assert [page.more for page in pages] == [True] * 6 + [False]
    assert sorted(map(int, reader.seen)) == list(range(1, 26))


def test_a_second_that_goes_on_after_it_was_read_loses_nothing(service, reader):
    service.write(1)
    reader.drain()
    service.write(2)
    service.write(1)
    reader.drain()
    assert sorted(reader.seen) == ["1", "2", "3"]


def test_an_item_that_appears_after_newer_ones_were_read_is_given(service, reader):
    service.write(1, appears_after=LATENESS)
    service.now += 5
    service.write(2)
    reader.drain()
    assert reader.seen == ["2"]
    service.now += LATENESS
    service.write(3)
    reader.drain()
    assert sorted(reader.seen) == ["1", "2", "3"]


def test_an_item_that_appeared_while_a_slow_read_went_on_is_given_by_the_next(service, reader):
    """The read began when only the first item was there, and got the last one half a minute later."""
    service.write(1)
    service.write(2, appears_after=10)
    service.now += 30
    service.write(3)
    found = [item for item in service.items() if item["_etag"] != "2"]
    page = FeedPosition().page(HERE, found, 10, took=30.0)
    assert [record.etag for record in page.records] == ["1", "3"]
    reader.position = page.position
    reader.drain()
    assert reader.seen == ["2"]


def test_a_quiet_partition_keeps_its_position(service, reader):
    for number in range(5):
        service.write(number)
    reader.drain()
    position = reader.position
    for seconds in (0, 1, LATENESS, 3_600):
        service.now += seconds
        page = reader.read()
        assert (list(page.records), page.position, page.more) == ([], position, False)


def test_a_position_remembers_only_what_may_come_again(service, reader):
    for number in range(50):
        service.write(number)
        service.now += 1
    reader.drain(limit=50)
    assert reader.position is not None
    position = FeedPosition.parse(reader.position, HERE)
    assert position.since == START + 49 - LATENESS
    assert len(position.given) == LATENESS + 1


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_late_and_shares_seconds_each_state_is_given_once(service, reader, seed):
    chance = random.Random(seed)
    for _ in range(150):
        for _ in range(chance.choice([0, 0, 1, 1, 2, 12])):
            service.write(
                chance.randrange(60), appears_after=chance.choice([0, 0, 0.5, 5, LATENESS])
            )
        if chance.random() < 0.1:
            service.delete(chance.randrange(60))
        if chance.random() < 0.5:
            reader.read(limit=chance.choice([1, 3, 10]))
        service.now += chance.choice([0, 0, 0.25, 1, 1, 7, 40])
    service.now += LATENESS
    reader.drain(limit=3)
    assert {item["_etag"] for item in service.items()} <= set(reader.seen)
    assert len(reader.seen) == len(set(reader.seen))
    assert list(reader.read().records) == []
