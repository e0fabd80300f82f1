"""Measures the calls of a key vault: each of its methods is one operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from shared.base import telemetry

P = ParamSpec("P")
T = TypeVar("T")


def measured(method: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Record how long each call of a key vault's method takes, and the slug of what it raises."""
    operation = {telemetry.OPERATION: method.__name__}

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with telemetry.measured(telemetry.KEY_VAULT_DURATION, operation):
            return await method(*args, **kwargs)

    return call
