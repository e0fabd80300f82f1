"""What a command prints: for a terminal, for a pipe, or as JSON.

A command says each thing once: as an event with a kind, a line of text, and fields. A terminal and a pipe
get the text, ``--json`` gets one JSON object a line with the kind in ``event``. Text may hold names of
documents, which are anybody's: characters that a terminal would obey are replaced.
"""

from __future__ import annotations

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from client.units import duration_text, size_text

if TYPE_CHECKING:
    from rich.console import Console

Unit = Literal["bytes", "objects"]

PLAIN_SECONDS: Final = 10
"""A pipe gets a line on the progress this often."""

JSON_SECONDS: Final = 1
PERCENT: Final = 100


def printable(text: str) -> str:
    """The text in one line, without characters that a terminal obeys or that hide others."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def print_error(message: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"strongroom: {printable(message)}\n")


class Meter:
    """Follows how far something is.

    Args:
        total: What ``done`` will be at the end.
        show: Is called when ``done`` or ``total`` has changed.

    Attributes:
        done: In the unit of the meter.
    """

    def __init__(self, total: int, show: Callable[[Meter], None]) -> None:
        self.total = total
        self.done = 0
        self._show = show

    def advance(self, amount: int) -> None:
        """So much more is done; less than nothing where work has to be repeated."""
        self.update(self.done + amount)

    def update(self, done: int, total: int | None = None) -> None:
        """So much is done altogether."""
        self.done = done
        self.total = self.total if total is None else total
        self._show(self)


class Output(ABC):
    """Where a command prints to."""

    @abstractmethod
    def emit(self, kind: str, text: str, /, **fields: Any) -> None:
        """Print an event.

        Args:
            kind: What it is, for programs.
            text: What it is, for people; empty: people need not know.
            fields: What it says, for programs.
        """

    @abstractmethod
    def table(
        self,
        kind: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        fields: Sequence[Any],
    ) -> None:
        """Print a list.

        Args:
            kind: What each row is, for programs.
            columns: Headings.
            rows: For people, a text a column.
            fields: For programs, a mapping a row.
        """

    @abstractmethod
    def progress(self, label: str, total: int, unit: Unit) -> Any:
        """A context manager whose value is a ``Meter``."""


class JsonOutput(Output):
    """One JSON object a line."""

    def __init__(self, stream: IO[str], clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock

    def emit(self, kind: str, text: str, /, **fields: Any) -> None:
        """Print an event."""
        self._stream.write(json.dumps({"event": kind} | fields) + "\n")
        self._stream.flush()

    def table(
        self,
        kind: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        fields: Sequence[Any],
    ) -> None:
        """Print an event a row."""
        for row in fields:
            self.emit(kind, "", **row)

    @contextmanager
    def progress(self, label: str, total: int, unit: Unit) -> Iterator[Meter]:
        """Print an event every second in which something changed."""

        def show(rate: float, meter: Meter) -> None:
            left = (meter.total - meter.done) / rate if rate else None
            self.emit(
                "progress",
                "",
                label=label,
                unit=unit,
                done=meter.done,
                total=meter.total,
                per_second=round(rate),
                seconds_left=None if left is None else round(left),
            )

        yield Meter(total, _seldom(JSON_SECONDS, self._clock, show))


class PlainOutput(Output):
    """Lines, for a pipe or a file."""

    def __init__(self, stream: IO[str], clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock

    def emit(self, kind: str, text: str, /, **fields: Any) -> None:
        """Print the text."""
        if text:
            self._stream.write(printable(text) + "\n")
            self._stream.flush()

    def table(
        self,
        kind: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        fields: Sequence[Any],
    ) -> None:
        """Print a line a row, with tabs between the columns."""
        for row in rows:
            self._stream.write("\t".join(map(printable, row)) + "\n")
        self._stream.flush()

    @contextmanager
    def progress(self, label: str, total: int, unit: Unit) -> Iterator[Meter]:
        """Print a line every ten seconds in which something changed."""

        def show(rate: float, meter: Meter) -> None:
            said: Callable[[float], str] = size_text if unit == "bytes" else "{:,.0f}".format
            parts = [f"{label}: {said(meter.done)} of {said(meter.total)}"]
            if meter.total:
                parts.append(f"{meter.done * PERCENT // meter.total} %")
            if rate:
                parts.append(f"{said(rate)} a second")
                parts.append(f"{duration_text((meter.total - meter.done) / rate)} left")
            self.emit("progress", ", ".join(parts))

        yield Meter(total, _seldom(PLAIN_SECONDS, self._clock, show))


class TerminalOutput(Output):
    """Colours, tables and progress bars."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def emit(self, kind: str, text: str, /, **fields: Any) -> None:
        """Print the text."""
        if text:
            self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def table(
        self,
        kind: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        fields: Sequence[Any],
    ) -> None:
        """Print a table."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        self._console.print(table)

    @contextmanager
    def progress(self, label: str, total: int, unit: Unit) -> Iterator[Meter]:
        """Show a bar with the rate and the time that is left."""
        from rich import progress

        amount, rate = (
            (progress.DownloadColumn(), progress.TransferSpeedColumn())
            if unit == "bytes"
            else (progress.MofNCompleteColumn(), progress.TextColumn(""))
        )
        columns = (
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            amount,
            rate,
            progress.TimeRemainingColumn(),
        )
        with progress.Progress(*columns, console=self._console) as bars:
            task = bars.add_task(label, total=total)
            yield Meter(
                total, lambda meter: bars.update(task, completed=meter.done, total=meter.total)
            )


def open_output(
    *, as_json: bool, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic
) -> Output:
    """The output that suits where standard output leads."""
    stream = stream or sys.stdout
    if as_json:
        return JsonOutput(stream, clock)
    if not stream.isatty():
        return PlainOutput(stream, clock)
    from rich.console import Console

    return TerminalOutput(Console(file=stream))


def _seldom(
    seconds: float, clock: Callable[[], float], show: Callable[[float, Meter], None]
) -> Callable[[Meter], None]:
    """Call ``show`` with the rate so far, but not more often than every so many seconds."""
    started = shown = clock()

    def changed(meter: Meter) -> None:
        nonlocal shown
        now = clock()
        if now - shown >= seconds:
            shown = now
            show(meter.done / (now - started), meter)

    return changed
