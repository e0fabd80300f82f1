"""Unwrapped keys in memory: for minutes at most, and fetched once however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from shared.keys.gate import as_the_service
from shared.ports.clock import Runtime

K = TypeVar("K")

IN_MEMORY: Final = timedelta(minutes=5)
"""How long an unwrapped key stays in memory."""

Name = tuple[str, str]
"""A tenant and the id of one of its keys."""


@dataclass(frozen=True, slots=True)
class _Held(Generic[K]):
    key: K
    until: datetime
    removal: asyncio.TimerHandle


@dataclass(slots=True)
class KeyMemory(Generic[K]):
    """Keeps unwrapped keys for ``IN_MEMORY``, then lets go of them, in an idle process as well."""

    runtime: Runtime
    _held: dict[Name, _Held[K]] = field(init=False, repr=False, default_factory=dict)
    _loading: dict[Name, asyncio.Task[K]] = field(init=False, repr=False, default_factory=dict)

    async def get(self, name: Name, load: Callable[[], Coroutine[None, None, K]]) -> K:
        """The key of this name: from memory, or else loaded once for all who ask at the same time."""
        held = self._held.get(name)
        if held is not None and held.until > self.runtime.now():
            return held.key
        return await self.once(name, lambda: self._load(name, load))

    async def once(self, name: Name, work: Callable[[], Coroutine[None, None, K]]) -> K:
        """The result of ``work``, done once for all who ask for this name while it is under way."""
        task = self._loading.get(name)
        if task is None:
            # It is for all who ask, and each was admitted before: a grant that ends meanwhile must not end
            # it for the others.
            with as_the_service():
                task = self._loading[name] = asyncio.create_task(work())
            task.add_done_callback(lambda _: self._loading.pop(name, None))
        # One caller that is cancelled must not cancel the work for the others.
        return await asyncio.shield(task)

    def hold(self, name: Name, key: K) -> K:
        """Keep a key, and return it."""
        before = self._held.get(name)
        if before is not None:
            before.removal.cancel()
        removal = asyncio.get_running_loop().call_later(
            IN_MEMORY.total_seconds(), self._held.pop, name, None
        )
        self._held[name] = _Held(key, self.runtime.now() + IN_MEMORY, removal)
        return key

    async def _load(self, name: Name, load: Callable[[], Coroutine[None, None, K]]) -> K:
        return self.hold(name, await load())
