"""Keeping the objects of logs: what is not superseded is retained anew, what is superseded goes in time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from shared.audit.storage import (
    CHECKPOINT_RETENTION,
    PARTIAL_RETENTION,
    LogStore,
    checkpoint_name,
    object_name,
)
from shared.base.concurrency import at_once
from shared.base.errors import NotFound
from shared.crypto.tiles import HEIGHT, WIDTH, TilePath
from shared.ports.clock import Runtime

REMOVED_AT_ONCE: Final = 2_000
"""Objects that one run removes from one log."""

REMOVING_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Superseded:
    """Objects that can go.

    Attributes:
        names: Of the objects.
        bundle: Of the bundles before this one, nothing is left to remove once these are gone.
        checkpoint: Neither is there a checkpoint of less than this size.
    """

    names: Sequence[str]
    bundle: int
    checkpoint: int


@dataclass(frozen=True, slots=True)
class LogKeeper:
    """Looks after the dates of objects.

    Attributes:
        store: Where they are.
        runtime: Time.
    """

    store: LogStore
    runtime: Runtime

    async def extend(self, tenant: str, size: int) -> None:
        """Retain the newest checkpoint, and the tiles at the right edge of its tree, from now on.

        Args:
            tenant: Whose log.
            size: Of the tree.

        Raises:
            Unavailable: The store does not respond.
        """
        now = self.runtime.now()
        for path in _right_edge(size):
            with suppress(NotFound):  # the monitor says so, or it has become full
                await self.store.store.extend(
                    object_name(tenant, str(path)), now + PARTIAL_RETENTION
                )
        with suppress(NotFound):
            await self.store.store.extend(checkpoint_name(tenant, size), now + CHECKPOINT_RETENTION)

    async def superseded(self, tenant: str, size: int, bundle: int, checkpoint: int) -> Superseded:
        """What is superseded and whose date has come: a bounded number of objects.

        Args:
            tenant: Whose log.
            size: Of its signed tree.
            bundle: Of the bundles before this one, nothing is left to remove.
            checkpoint: Neither is there a checkpoint of less than this size.

        Raises:
            Unavailable: The store does not respond.
        """
        names: list[str] = []
        while (bundle + 1) * WIDTH <= size and len(names) < REMOVED_AT_ONCE:
            if not await self._find_partials(tenant, bundle, names):
                break
            bundle += 1
        now = self.runtime.now()
        async for each, info in self.store.checkpoints_between(tenant, checkpoint, size):
            if info.retain_until > now or len(names) >= REMOVED_AT_ONCE:
                break
            if each is not None:
                names.append(info.name)
                checkpoint = each + 1
        return Superseded(names, bundle, checkpoint)

    async def remove(self, names: Sequence[str]) -> None:
        """Remove objects.

        Raises:
            Unavailable: The store does not respond.
        """
        await at_once(self.store.store.delete, names, REMOVING_AT_ONCE)

    async def _find_partials(self, tenant: str, bundle: int, names: list[str]) -> bool:
        """Add what can go of a full bundle and the tiles that are full with it; whether that is all."""
        paths = [TilePath(None, bundle), TilePath(0, bundle)]
        level, index = 0, bundle
        while index % WIDTH == WIDTH - 1:
            level, index = level + 1, index // WIDTH
            paths.append(TilePath(level, index))
        is_all = True
        for path in paths:
            async for info in self.store.partials(tenant, path):
                if info.retain_until > self.runtime.now():
                    is_all = False
                else:
                    names.append(info.name)
        return is_all


def _right_edge(size: int) -> list[TilePath]:
    """The partial bundle and the partial tiles of a tree."""
    level, nodes = 0, size
    paths = [TilePath(None, size // WIDTH, size % WIDTH)] if size % WIDTH else []
    while nodes:
        if nodes % WIDTH:
            paths.append(TilePath(level, nodes // WIDTH, nodes % WIDTH))
        level, nodes = level + 1, nodes >> HEIGHT
    return paths
