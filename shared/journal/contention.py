"""Read-change-commit under contention: try again after growing, jittered pauses, within a budget.

Immediate retries of a contended item buy throttling, not progress. The pauses are those of "full
jitter" (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015): uniform between zero
and a bound that grows with each conflict.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from shared.base.errors import Conflict, Unavailable
from shared.ports.clock import Runtime

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to go on trying, in seconds.

    Attributes:
        first: The bound of the first pause.
        factor: By which the bound grows with each conflict.
        longest: The largest bound.
        budget: What all pauses together may take.
    """

    first: float = 0.05
    factor: float = 4.0
    longest: float = 2.0
    budget: float = 20.0


DEFAULT: Final = Backoff()


async def retry_conflicts(
    attempt: Callable[[], Awaitable[T]], runtime: Runtime, backoff: Backoff = DEFAULT
) -> T:
    """The result of ``attempt``, which reads, changes and commits, tried again at each ``Conflict``.

    Args:
        attempt: Reads afresh at each call. What is no reason to try again it raises as another error, or
            as a kind of ``Conflict`` of its own, such as ``LegalHold``.
        runtime: Randomness for the pauses, and the waiting.
        backoff: How long to go on.

    Raises:
        Unavailable: Every attempt within the budget met a conflict; nothing was changed.
    """
    bound, spent = backoff.first, 0.0
    while True:
        try:
            return await attempt()
        except Conflict as conflict:
            if type(conflict) is not Conflict:
                raise
            pause = runtime.fraction() * bound
            spent += pause
            if spent > backoff.budget:
                raise Unavailable("Others are changing the same record; try again.") from None
        await runtime.sleep(pause)
        bound = min(bound * backoff.factor, backoff.longest)
