"""What can be wrong with a target."""

from __future__ import annotations

from collections.abc import Sequence

from shared.base.errors import Conflict, StrongroomError
from shared.ports.targets import ProbeResult


class TargetUnusableError(StrongroomError):
    """A target does not take, give back or remove objects as it has to.

    Args:
        detail: As for every error.
        steps: What a probe found, the step that failed last.
    """

    slug = "target-unusable"
    title = "The target cannot be used"

    def __init__(self, detail: str, steps: Sequence[ProbeResult] = ()) -> None:
        super().__init__(detail)
        self.steps = tuple(steps)


class TargetChangedError(Conflict):
    """Where the target was, there is something else now: its ``strongroom.json`` is gone or another one."""

    slug = "target-changed"
    title = "The target is not what it was"


class TargetFailedError(Exception):
    """An operation of a target failed: in place of the error, to tell it from those of our own parts.

    Args:
        error: What happened.
    """

    def __init__(self, error: StrongroomError) -> None:
        super().__init__(error.slug)
        self.error = error
