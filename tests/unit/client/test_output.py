"""What commands print: for a terminal, for a pipe, as JSON."""

from __future__ import annotations

import io
import json

import pytest

from client.output import open_output, printable
from client.units import duration_text, size_text

HOSTILE = "x\x1b]0;title\x07[bold]\u202e.txt\nsecond line"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that tests set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_pipe_gets_lines_without_control_characters() -> None:
    stream = io.StringIO()
    output = open_output(as_json=False, stream=stream)
    output.emit("note", HOSTILE, name="x")
    output.emit("silent", "", name="x")
    output.table("row", ("a", "b"), [("1", HOSTILE)], [{"a": 1}])
    replaced = "x\ufffd]0;title\ufffd[bold]\ufffd.txt\ufffdsecond line"
    assert stream.getvalue() == f"{replaced}\n1\t{replaced}\n"


def test_a_terminal_gets_a_table_and_no_control_characters_of_names() -> None:
    stream = Terminal()
    output = open_output(as_json=False, stream=stream)
    output.emit("note", HOSTILE)
    output.table("row", ("name",), [(HOSTILE,)], [{}])
    said = stream.getvalue()
    assert "[bold]" in said  # markup means nothing in a name
    assert "\x1b]0;" not in said
    assert "\u202e" not in said


def test_a_terminal_gets_a_bar_with_rate_and_time_left() -> None:
    stream = Terminal()
    with open_output(as_json=False, stream=stream).progress("Recovering", 100, "bytes") as meter:
        meter.advance(50)
    assert "Recovering" in stream.getvalue()
    assert "50/100 bytes" in stream.getvalue()
    assert "━" in stream.getvalue()


def test_json_is_one_object_a_line() -> None:
    stream = io.StringIO()
    output = open_output(as_json=True, stream=stream)
    output.emit("note", "for people", name=HOSTILE)
    output.table("row", ("a",), [("1",)], [{"a": 1}, {"a": 2}])
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "note", "name": HOSTILE},
        {"event": "row", "a": 1},
        {"event": "row", "a": 2},
    ]


def test_progress_in_a_pipe_is_a_line_every_ten_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    output = open_output(as_json=False, stream=stream, clock=clock)
    with output.progress("Recovering", 100_000_000, "bytes") as meter:
        for clock.now in range(1, 26):
            meter.advance(1_000_000)
    assert stream.getvalue().splitlines() == [
        "Recovering: 10.0 MB of 100.0 MB, 10 %, 1.0 MB a second, 2 minutes left",
        "Recovering: 20.0 MB of 100.0 MB, 20 %, 1.0 MB a second, 1 minute left",
    ]


def test_progress_of_objects_counts_them() -> None:
    stream, clock = io.StringIO(), Clock()
    with open_output(as_json=False, stream=stream, clock=clock).progress(
        "X", 0, "objects"
    ) as meter:
        clock.now = 10
        meter.update(0, 0)
        clock.now = 20
        meter.update(3_000, 6_000)
    assert stream.getvalue().splitlines() == [
        "X: 0 of 0",
        "X: 3,000 of 6,000, 50 %, 150 a second, less than a minute left",
    ]


def test_progress_in_json_says_rate_and_seconds_left() -> None:
    stream, clock = io.StringIO(), Clock()
    with open_output(as_json=True, stream=stream, clock=clock).progress("X", 100, "bytes") as meter:
        clock.now = 2.0
        meter.advance(50)
        meter.advance(-10)  # not shown: it is too soon
    assert json.loads(stream.getvalue()) == {
        "event": "progress",
        "label": "X",
        "unit": "bytes",
        "done": 50,
        "total": 100,
        "per_second": 25,
        "seconds_left": 2,
    }


def test_printable_text_is_one_line() -> None:
    assert printable("a\r\nb\tc") == "a\ufffd\ufffdb\ufffdc"
    assert printable("Überschuß 決算") == "Überschuß 決算"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (3_400_000_000, "3.4 GB"),
        (5e18, "5000.0 PB"),
    ],
)
def test_sizes(size: float, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than a minute"),
        (60, "1 minute"),
        (3_599, "1 hour"),
        (3_661, "1 hour 1 minute"),
        (90_000, "25 hours"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
