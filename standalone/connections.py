"""How many connections there may be, in all and from one address, by the files that may be open."""

from __future__ import annotations

import resource
from collections import Counter
from enum import Enum
from typing import Final

from functions.api.client_address import network_of
from standalone.errors import StartError

MOST: Final = 1_000
"""Each connection can hold 64 KiB of unread head and as much of unread body."""

FEWEST: Final = 40
SHARE_OF_ONE: Final = 4
"""One address gets one in so many of the connections."""

SPARE: Final = 4
"""One in so many more gets a response that says to come back; what is beyond is dropped at once."""

FILES_OF_ONE: Final = 4
"""A socket, the two files that a request has open at most, and the connections that wait for a refusal."""

FILES_OF_OURS: Final = 256
"""Databases, the outgoing connections to targets, messages and timers in work."""

_WANTED_FILES: Final = FILES_OF_OURS + FILES_OF_ONE * MOST


class Entry(Enum):
    """What becomes of a connection that a client opens."""

    ADMITTED = "admitted"
    ADDRESS_FULL = "address full"
    SERVER_FULL = "server full"
    DROPPED = "dropped"


class Connections:
    """Counts the connections that are open.

    Args:
        most: How many there may be.
        shared: Whether clients come through a proxy of ours, which has one address for all of them.
    """

    def __init__(self, most: int = MOST, *, shared: bool = False) -> None:
        self._most = most
        self._of_one = most if shared else max(1, most // SHARE_OF_ONE)
        self._by_network: Counter[str] = Counter()
        self._all = 0

    def enter(self, address: str) -> Entry:
        """Count a connection, whatever becomes of it, until it leaves."""
        network = network_of(address)
        self._all += 1
        self._by_network[network] += 1
        own, spare = self._by_network[network], self._of_one // SPARE
        # Those that only wait for a refusal are few in all, so that they take no place from others.
        if own > self._of_one + spare or self._all > self._most + self._most // SPARE:
            return Entry.DROPPED
        if own > self._of_one:
            return Entry.ADDRESS_FULL
        return Entry.SERVER_FULL if self._all > self._most else Entry.ADMITTED

    def leave(self, address: str) -> None:
        """Forget a connection that has ended."""
        network = network_of(address)
        self._all -= 1
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]


def connection_limit(open_files: int) -> int:
    """How many connections a process that may open so many files can take.

    Raises:
        StartError: Too few to serve anybody.
    """
    most = min(MOST, (open_files - FILES_OF_OURS) // FILES_OF_ONE)
    if most < FEWEST:
        needed = FILES_OF_OURS + FEWEST * FILES_OF_ONE
        raise StartError(
            f"This process may open only {open_files} files, and needs {needed} at least:"
            f" raise the limit, for example with ulimit -n {_WANTED_FILES}."
        )
    return most


def raise_open_files() -> int:
    """Raise this process's limit of open files as far as it helps and is allowed; the limit then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _WANTED_FILES:
        return _WANTED_FILES
    limit = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit
