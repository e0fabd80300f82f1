"""Adapters that are imported and made when something is first asked of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from shared.ports.clock import Runtime
from shared.ports.collectors import Collectors
from shared.ports.posting import Poster
from shared.ports.targets import TargetConnector

Adapter = TypeVar("Adapter")


class Deferred(Generic[Adapter]):
    """Stands for an adapter that most processes never use, or not at their start.

    Args:
        make: Imports it and makes it.
    """

    def __init__(self, make: Callable[[], Adapter]) -> None:
        self._make = make
        self._made: Adapter | None = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)

    async def close(self) -> None:
        """Close the adapter if there is one."""
        if self._made is not None:
            await cast("Any", self._made).close()


def external_targets(runtime: Runtime, folders: Path | None) -> TargetConnector:
    """Opens targets; see ``ExternalTargets``."""

    def make() -> TargetConnector:
        from shared.adapters.external.targets import ExternalTargets

        return ExternalTargets(runtime, folders)

    return cast("TargetConnector", Deferred(make))


def http_collectors(runtime: Runtime) -> Collectors:
    """Sends webhooks; see ``HttpCollectors``."""

    def make() -> Collectors:
        from shared.adapters.external.collectors import HttpCollectors

        return HttpCollectors(runtime)

    return cast("Collectors", Deferred(make))


def http_poster(runtime: Runtime) -> Poster:
    """Posts to witnesses and time stamp authorities; see ``HttpPoster``."""

    def make() -> Poster:
        from shared.adapters.external.posting import HttpPoster

        return HttpPoster(runtime)

    return cast("Poster", Deferred(make))
