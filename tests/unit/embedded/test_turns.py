"""Turns to write: one at a time, and nobody twice while another waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.adapters.embedded.turns import Turns


class Time:
    """Time that passes by sleeping alone; ``then`` happens in the middle of each sleep."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.now = 0.0
        self.then = then

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.then()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def both(tmp_path: Path, time: Time) -> Iterator[tuple[Turns, Turns]]:
    turns = [Turns(tmp_path / "file.db", sleep=time.sleep, clock=time.clock) for _ in range(2)]
    for one in turns:
        one.open()
    yield turns[0], turns[1]
    for one in turns:
        one.close()


def test_one_at_a_time(both: tuple[Turns, Turns]) -> None:
    first, second = both
    assert first.take_at_once()
    assert first.take_at_once()
    assert not second.take_at_once()
    second.give()
    first.give()
    assert second.take_at_once()
    assert not first.take_at_once()


def test_who_waits_comes_before_who_has_just_written(both: tuple[Turns, Turns], time: Time) -> None:
    first, second = both
    assert first.take_at_once()
    again: list[bool] = []

    def write_again() -> None:
        first.give()
        again.append(first.take_at_once())

    time.then = write_again
    assert second.take(5.0)
    assert again == [False]


def test_patience_ends_and_leaves_nothing_taken(both: tuple[Turns, Turns], time: Time) -> None:
    first, second = both
    assert first.take_at_once()
    assert not second.take(0.05)
    assert time.now == pytest.approx(0.05, abs=0.002)
    first.give()
    assert first.take_at_once()


def test_what_a_process_had_taken_ends_with_it(both: tuple[Turns, Turns]) -> None:
    first, second = both
    assert first.take_at_once()
    assert not second.take_at_once()
    first.close()
    assert second.take_at_once()


def test_the_files_are_private_and_giving_nothing_does_nothing(tmp_path: Path) -> None:
    turns = Turns(tmp_path / "file.db")
    turns.give()
    turns.open()
    turns.open()
    turns.give()
    turns.close()
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"file.db-next": 0o600, "file.db-turn": 0o600}
