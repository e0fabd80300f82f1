"""The ways in which an HTTP service fails once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.support.emulators.servers import FaultProxy

Arm = Callable[[FaultProxy], None]

FAULTS: Mapping[str, Arm] = {
    "throttled": lambda proxy: proxy.answer(429, headers={"Retry-After": "3"}),
    "internal error": lambda proxy: proxy.answer(500),
    "unavailable": lambda proxy: proxy.answer(503, headers={"Retry-After": "2"}),
    "timeout": lambda proxy: proxy.hang(),
    "connection broken": lambda proxy: proxy.hang_up(),
    "answer lost": lambda proxy: proxy.lose_answers(),
}
