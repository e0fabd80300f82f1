"""Counts what is asked of the ports: for tests and benchmarks, never in the path of normal running.

An adapter that is wrapped does what it did, and each call is counted under ``PORT.METHOD``, such as
``records.get``. What a call carries is counted as well: ``records.items`` are the changes of commits,
``records.items.KIND`` those of one kind of record, ``records.found`` the records that queries returned,
``bus.events`` the events that were published and ``source.messages`` those that were received.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar, cast

from shared.ports.records import Change, Create, Delete, Replace

T = TypeVar("T")

Calls = Counter[str]
"""How often each method of each port was called, and what the calls carried."""

RECORDS: Final = "records"
BLOBS: Final = "blobs"
KEYS: Final = "keys"
BUS: Final = "bus"
SOURCE: Final = "source"


def counted(adapter: T, port: str, calls: Calls) -> T:
    """An adapter whose calls are counted.

    Args:
        adapter: Behind any port.
        port: What to count its calls under; several adapters may have the same.
        calls: Where to count.
    """
    return cast("T", _Counted(adapter, port, calls))


class _Counted:
    """Stands in for an adapter; has every method that the adapter has."""

    def __init__(self, inner: Any, port: str, calls: Calls) -> None:
        self._inner = inner
        self._port = port
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found
        if self._port == RECORDS and name == "query":
            return self._returning(found, "query", "found", lambda page: len(page.records))
        if self._port == SOURCE and name == "receive":
            return self._returning(found, "receive", "messages", len)

        def call(*arguments: Any, **named: Any) -> Any:
            self._count(name)
            if name == "commit":
                self._count_changes(arguments[1])
            elif name == "publish":
                self._count("events", len(arguments[0]))
            # An adapter may know a faster way from another one of its own kind.
            plain = [each._inner if isinstance(each, _Counted) else each for each in arguments]
            return found(*plain, **named)

        return call

    def _returning(
        self,
        method: Callable[..., Awaitable[Any]],
        name: str,
        what: str,
        size: Callable[[Any], int],
    ) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **named: Any) -> Any:
            self._count(name)
            result = await method(*arguments, **named)
            self._count(what, size(result))
            return result

        return call

    def _count(self, name: str, how_many: int = 1) -> None:
        self._calls[f"{self._port}.{name}"] += how_many

    def _count_changes(self, changes: Sequence[Change]) -> None:
        self._count("items", len(changes))
        for change in changes:
            self._count(f"items.{_kind(change)}")


def _kind(change: Change) -> str:
    match change:
        case Create(record) | Replace(record):
            return record.kind
        case Delete(kind):
            return kind
