"""Whose turn it is to write a SQLite file that two processes write.

SQLite lets whoever comes first write, and has the others sleep up to a tenth of a second between two looks:
under load one process could keep the other out until its patience ends. So a process takes its turn first:
it locks the file ``-next``, then the file ``-turn``, and gives up ``-next``. Whoever holds ``-next`` writes
as soon as the other has finished, however soon that one comes again. The locks are flock's, which end with
the process.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

SUFFIXES: Final = ("-next", "-turn")
"""Of the two files beside the database."""

LOOK_SECONDS: Final = 0.001
"""Between two looks at a turn that another process has: less than its commit takes."""


class Turns:
    """The turns of one writer; to be used by one thread at a time.

    Args:
        path: The SQLite file.
        sleep: How to wait.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = [path.with_name(path.name + suffix) for suffix in SUFFIXES]
        self._sleep = sleep
        self._clock = clock
        self._files: list[int] = []
        self._is_next = False
        self._has_turn = False

    def open(self) -> None:
        """Open the two files, in a folder that exists; opening twice does nothing.

        Raises:
            OSError: The disk refused.
        """
        while len(self._files) < len(self._paths):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._files.append(os.open(self._paths[len(self._files)], flags, 0o600))

    def close(self) -> None:
        """Give up the turn and close the files."""
        while self._files:
            os.close(self._files.pop())
        self._is_next = self._has_turn = False

    def take_at_once(self) -> bool:
        """Take the turn, or tell that another process has it, or is next. Taking it twice does nothing."""
        if self._has_turn:
            return True
        following, turn = self._files
        if not self._is_next:
            self._is_next = _locked(following)
        if self._is_next and _locked(turn):
            self._has_turn = True
            self._is_next = False
            fcntl.flock(following, fcntl.LOCK_UN)
        return self._has_turn

    def take(self, seconds: float) -> bool:
        """Wait for the turn; False: it did not come within this time, and nothing is held."""
        deadline = self._clock() + seconds
        while not self.take_at_once():
            if self._clock() >= deadline:
                self.give()
                return False
            self._sleep(LOOK_SECONDS)
        return True

    def give(self) -> None:
        """Let others have the turn. Without one it does nothing."""
        following, turn = self._files or (-1, -1)
        if self._is_next:
            self._is_next = False
            fcntl.flock(following, fcntl.LOCK_UN)
        if self._has_turn:
            self._has_turn = False
            fcntl.flock(turn, fcntl.LOCK_UN)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
