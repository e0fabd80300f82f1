"""What the demo prints, and how it insists on a promise."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from rich.console import Console
from rich.markup import escape

PATIENCE_SECONDS: Final = 20
T = TypeVar("T")

console = Console(highlight=False, soft_wrap=True)


class PromiseBroken(Exception):
    """Something that Strongroom promises did not hold."""


@contextlib.contextmanager
def stage(title: str) -> Iterator[Callable[[str], None]]:
    """Time one stage and print its outcome."""
    outcome: list[str] = []
    started = time.perf_counter()
    yield outcome.append
    elapsed = time.perf_counter() - started
    said = f" [dim]— {escape(outcome[0])}" if outcome else ""
    console.print(f"[green]✓[/] [cyan]{elapsed * 1000:7.0f} ms[/]  {title}{said}")


def fail(reason: str) -> None:
    """Print why the demo failed."""
    console.print(f"✗ {reason}", style="bold red", markup=False)
    console.print("demo: failed")


def check(holds: bool, promise: str) -> None:
    """Go on only if a promise holds."""
    if not holds:
        raise PromiseBroken(f"this did not hold: {promise}")


def wait_until(probe: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Ask until there is a response, for a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        response = probe()
        if response:
            return response
        time.sleep(0.05)
    raise PromiseBroken(f"waited {seconds:.0f} s for {what}")
