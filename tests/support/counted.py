"""Adapters that count what is asked of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from shared.base.topology import load_topology
from shared.ports.clock import Runtime
from shared.wiring.adapters import Adapters
from shared.wiring.services import profile_adapters
from shared.wiring.settings import Settings

STORES = ("primary", "replica", "staging", "backup", "backup_keys")


class Counted:
    """What stands behind a port, with every call counted under ``port.method``.

    The changes of a commit and the events of a publication are counted as well, under ``records.changes``
    and ``bus.events``.
    """

    def __init__(self, inner: Any, port: str, calls: Counter[str]) -> None:
        self._inner = inner
        self._port = port
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            self._calls[f"{self._port}.{name}"] += 1
            if name == "commit":
                self._calls["records.changes"] += len(arguments[1])
            if name == "publish":
                self._calls["bus.events"] += len(arguments[0])
            plain = [each._inner if isinstance(each, Counted) else each for each in arguments]
            return found(*plain, **named)

        return counted


def counted_adapters(settings: Settings, calls: Counter[str], runtime: Runtime) -> Adapters:
    """The embedded adapters, counted: what a service asks for does not depend on what is behind a port."""
    adapters = profile_adapters(settings, load_topology(), runtime)
    ports = dict.fromkeys(STORES, "blobs")
    ports |= {"records": "records", "key_vault": "keys", "bus": "bus", "source": "source"}
    counted: dict[str, Any] = {
        name: Counted(getattr(adapters, name), port, calls) for name, port in ports.items()
    }
    return replace(adapters, **counted)
