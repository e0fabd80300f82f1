"""Reading a log a few objects ahead: over the internet, waiting is most of the time that reading takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Self

Fetch = Callable[[str], bytes | None]
"""Gets what is at a path below the log's URL; None: nothing is there."""

AT_ONCE: Final = 8
"""Requests at the same time; a bundle has 16 MB at most, and is mostly far smaller."""


class Prefetch:
    """Fetches paths before they are asked for, until the end of a ``with`` block.

    Args:
        fetch: Called from several threads.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._coming: deque[str] = deque()
        self._running: dict[str, Future[bytes | None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def announce(self, paths: Iterable[str]) -> None:
        """Say which paths will be asked for next, in this order, each once."""
        self._coming.extend(paths)
        self._fill()

    def __call__(self, path: str) -> bytes | None:
        """What is at a path; None: nothing."""
        running = self._running.pop(path, None)
        self._fill()
        return self._fetch(path) if running is None else running.result()

    def _fill(self) -> None:
        while self._coming and len(self._running) < AT_ONCE:
            path = self._coming.popleft()
            self._running[path] = self._pool.submit(self._fetch, path)
