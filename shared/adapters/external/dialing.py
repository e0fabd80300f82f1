"""Dialer: resolves a name, looks at what it resolves to, and connects to exactly that."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final

from shared.adapters.external.addresses import (
    HTTPS_PORT,
    IPAddress,
    is_name,
    is_public,
    parse_address,
)

Resolver = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a name; ``OSError`` where it has none."""

_MAX_PORT: Final = 65_535
_MOST_ADDRESSES: Final = 4
"""Of one name; further ones are not tried."""


class Reason(StrEnum):
    """Why nothing was connected."""

    NAME = "The host is neither a full name nor an address."
    PORT = "The port is not one that targets may be on."
    RESOLVE = "The name cannot be resolved; check its spelling."
    NOT_PUBLIC = "The host is not at a public address."
    REFUSED = "The host refused the connection; check its name and its firewall."
    TIMED_OUT = "The host did not respond in time; check its name and its firewall."
    BUSY = "Too many connections are open; try again later."


class NotDialedError(Exception):
    """Nothing was connected.

    Attributes:
        reason: Why.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


_LOOKUPS: Final = ThreadPoolExecutor(8, thread_name_prefix="targets-lookup")
"""Not the threads that disks are waited for in: tenants' names may take long to resolve."""


async def resolve(name: str) -> Sequence[str]:
    """The addresses of a name, as the machine's own resolver says; see ``Resolver``."""
    # With the dot, nothing is looked up below the domains that this machine searches.
    lookup = partial(socket.getaddrinfo, f"{name}.", None, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, lookup)
    return [str(sockaddr[0]) for *_, sockaddr in found]


@dataclass(frozen=True, slots=True)
class Dialer:
    """Connects to public hosts.

    Attributes:
        resolver: Resolves names.
        allows: Whether an address may be connected to. Only tests replace it, to reach this machine.
        ports: What may be connected to; None, in tests alone: every one.
        timeout: Seconds that resolving may take, and connecting.
    """

    resolver: Resolver = resolve
    allows: Callable[[IPAddress], bool] = is_public
    ports: frozenset[int] | None = field(default=frozenset({HTTPS_PORT}))
    timeout: float = 10.0

    async def dial(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a host.

        Raises:
            NotDialedError: It may not be connected to, or cannot.
        """
        connection = await self.connect(await self.addresses(host, port), port)
        return await asyncio.open_connection(sock=connection)

    def takes_port(self, port: int) -> bool:
        """Whether a port may be connected to."""
        return 0 < port <= _MAX_PORT and (self.ports is None or port in self.ports)

    async def addresses(self, host: str, port: int) -> Sequence[IPAddress]:
        """What a host is at, and may be connected to; at least one.

        Raises:
            NotDialedError: There is none.
        """
        if not self.takes_port(port):
            raise NotDialedError(Reason.PORT)
        literal = parse_address(host)
        if literal is not None:
            found: Sequence[IPAddress] = [literal]
        elif is_name(host):
            found = await self._resolved(host)
        else:
            raise NotDialedError(Reason.NAME)
        allowed = [address for address in found if self.allows(address)]
        if not allowed:
            raise NotDialedError(Reason.NOT_PUBLIC if found else Reason.RESOLVE)
        return allowed[:_MOST_ADDRESSES]

    async def connect(self, addresses: Sequence[IPAddress], port: int) -> socket.socket:
        """Connect to the first of some addresses that accepts.

        Raises:
            NotDialedError: None does.
        """
        reason = Reason.REFUSED
        for address in addresses:
            try:
                async with asyncio.timeout(self.timeout / len(addresses)):
                    return await _connect(address, port)
            except TimeoutError:
                reason = Reason.TIMED_OUT
            except OSError:
                continue
        raise NotDialedError(reason)

    async def _resolved(self, name: str) -> Sequence[IPAddress]:
        try:
            async with asyncio.timeout(self.timeout):
                found = await self.resolver(name)
        except TimeoutError:
            raise NotDialedError(Reason.TIMED_OUT) from None
        except (OSError, UnicodeError):
            raise NotDialedError(Reason.RESOLVE) from None
        return [address for each in found if (address := parse_address(each)) is not None]


async def _connect(address: IPAddress, port: int) -> socket.socket:
    """Connect to an address. It is never the name that is handed on, so nobody resolves it again."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection
