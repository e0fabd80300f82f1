"""The SDKs' clients: one of each kind and URL a process, opened when first used.

Production signs in with the managed identity (or whatever else ``DefaultAzureCredential`` finds on
an engineer's machine). A connection string holds a key, so only emulators may be reached by one.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from shared.adapters.azure.calls import Timeouts
from shared.base.errors import InternalError

if TYPE_CHECKING:
    from azure.cosmos.aio import CosmosClient
    from azure.identity.aio import DefaultAzureCredential
    from azure.keyvault.keys.aio import KeyClient
    from azure.servicebus.aio import ServiceBusClient
    from azure.storage.blob.aio import BlobServiceClient

T = TypeVar("T")

_TIMEOUTS: Final = Timeouts()

_WRITE_REGION: Final = ("write region",)
"""Not the name of a region. Where all preferred regions are excluded, the SDK reads where it writes, and
follows the account in a failover; otherwise it would repeat a read that failed in a region that is
minutes behind, and let in whom the last write has locked out."""


class AzureClients:
    """Every client of a process, opened lazily on the running loop and closed by ``close``.

    Which user-assigned identity signs in is said by the environment variable ``AZURE_CLIENT_ID``.

    Args:
        timeouts: How long to wait for responses.
    """

    def __init__(self, timeouts: Timeouts = _TIMEOUTS) -> None:
        # At INFO the SDKs log the URL of every request, and with it the names of objects.
        logging.getLogger("azure").setLevel(logging.WARNING)
        # It warns at every start that ``_WRITE_REGION`` is not a region.
        logging.getLogger("azure.cosmos.LocationCache").setLevel(logging.ERROR)
        self.timeouts = timeouts
        self._open: dict[tuple[str, str], Any] = {}
        self._closers: list[Callable[[], Awaitable[None]]] = []

    def blob_service(self, account: str) -> BlobServiceClient:
        """A storage account's client, by URL or, for an emulator, by connection string."""

        def make() -> BlobServiceClient:
            from azure.storage.blob.aio import BlobServiceClient

            options = self._http_options()
            if not is_connection_string(account):
                return BlobServiceClient(account, self.credential(), **options)
            _require_emulator(account, "BlobEndpoint")
            return BlobServiceClient.from_connection_string(account, **options)

        return self._once("blob", account, make)

    def cosmos(self, account: str) -> CosmosClient:
        """A Cosmos DB account's client, by URL or, for an emulator, by connection string."""

        def make() -> CosmosClient:
            from azure.cosmos.aio import CosmosClient

            options = {
                **self._http_options(),
                # The SDK reads 0 as its default of 9, and bounds no single wait: -1 is none.
                "retry_throttle_total": -1,
                "preferred_locations": list(_WRITE_REGION),
                "excluded_locations": list(_WRITE_REGION),
            }
            if not is_connection_string(account):
                return CosmosClient(account, self.credential(), **options)
            _require_emulator(account, "AccountEndpoint")
            return CosmosClient.from_connection_string(account, **options)

        return self._once("cosmos", account, make)

    def keys(self, vault: str) -> KeyClient:
        """A Key Vault's client, by URL."""

        def make() -> KeyClient:
            from azure.keyvault.keys.aio import KeyClient

            return KeyClient(vault, self.credential(), **self._http_options())

        return self._once("keys", vault, make)

    def service_bus(self, namespace: str) -> ServiceBusClient:
        """A namespace's client, by host name or, for an emulator, by connection string."""

        def make() -> ServiceBusClient:
            from azure.servicebus.aio import ServiceBusClient

            timeouts = self.timeouts
            options: dict[str, Any] = {
                "retry_total": 0,
                "auth_timeout": timeouts.response,
                "timeout": timeouts.response,
                "try_timeout": timeouts.response,
                "socket_timeout": timeouts.poll,
            }
            if not is_connection_string(namespace):
                return ServiceBusClient(namespace, self.credential(), **options)
            _require_emulator(namespace, "Endpoint")
            return ServiceBusClient.from_connection_string(namespace, **options)

        return self._once("bus", namespace, make)

    def credential(self) -> DefaultAzureCredential:
        """What this process signs in with."""

        def make() -> DefaultAzureCredential:
            from azure.identity.aio import DefaultAzureCredential

            return DefaultAzureCredential()

        return self._once("credential", "", make)

    async def close(self) -> None:
        """Close every client, the last opened first."""
        self._open.clear()
        while self._closers:
            await self._closers.pop()()

    def _http_options(self) -> dict[str, Any]:
        return {
            "retry_total": 0,
            "connection_timeout": self.timeouts.connect,
            "read_timeout": self.timeouts.response,
        }

    def _once(self, kind: str, url: str, make: Callable[[], T]) -> T:
        client: T | None = self._open.get((kind, url))
        if client is None:
            client = self._open[kind, url] = make()
            self._closers.append(client.close)  # type: ignore[attr-defined]
        return client


def is_connection_string(text: str) -> bool:
    """Whether a setting is a connection string, not a URL or a host name."""
    return ";" in text


def _require_emulator(connection_string: str, field: str) -> None:
    """Refuse a connection string that leads away from this machine.

    Raises:
        InternalError: It does, or it does not name an endpoint: the setting is wrong.
    """
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if "=" in part)
    host = urlsplit(parts.get(field, "")).hostname or ""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise InternalError(
            "Connection strings are for emulators on this machine; set the service's URL and"
            " let the managed identity sign in."
        )
