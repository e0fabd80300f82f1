"""``bench.coldstart`` reads a server's memory when nothing starts any more."""

from __future__ import annotations

import time
from itertools import chain, count, repeat
from pathlib import Path
from typing import Any

import pytest

from bench import coldstart


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    return made


class FakeServer:
    def __init__(self, looks: Any) -> None:
        self._looks = iter(looks)

    def resident_bytes(self) -> int:
        return int(next(self._looks))


def test_memory_is_read_once_it_no_longer_changes(pauses: list[float]) -> None:
    server: Any = FakeServer(chain((100, 130, 170), repeat(180)))
    assert coldstart.idle_bytes(server) == 180
    assert pauses == [1.0] * 4


def test_memory_that_never_stays_the_same_is_waited_for_no_longer_than_20_seconds(
    pauses: list[float],
) -> None:
    server: Any = FakeServer(count())
    assert coldstart.idle_bytes(server) == 20
    assert sum(pauses) == 20


def test_the_wait_does_not_count_as_time_of_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = [0.0]

    def pause(seconds: float) -> None:
        clock[0] += seconds

    class Context:
        def __enter__(self) -> FakeServer:
            clock[0] += 0.5
            return FakeServer(chain((1, 2), repeat(3)))

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(time, "sleep", pause)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(coldstart, "strongroom", lambda *_: Context())
    monkeypatch.setattr(coldstart, "running", lambda *_: Context())
    assert coldstart.first_response(tmp_path, {}) == (0.5, 3)
    assert coldstart.first_response_of_bare_app(tmp_path) == (0.5, 3)
