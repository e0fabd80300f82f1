"""How a command ends."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit code means; ``docs/cli.md`` lists them."""

    DONE = 0
    INCOMPLETE = 1
    USAGE = 2
    IDENTITY = 3
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot go on.

    Args:
        message: One line for the terminal: what was wrong and what to do; no secret.
        code: What the command exits with.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.INCOMPLETE) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
