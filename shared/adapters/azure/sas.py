"""Shared access signatures: one object, one permission, until a moment.

Signed with a user delegation key, which the service issues to the signed-in identity, or, where
only a connection string is given, with the account's key.
https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from shared.adapters.azure.calls import Attempts, call, classify_http
from shared.adapters.azure.clients import AzureClients, is_connection_string
from shared.ports.clock import Clock

if TYPE_CHECKING:
    from azure.storage.blob import UserDelegationKey

_KEY_LIFE: Final = timedelta(days=1)
"""The service allows seven days; a leaked key should not live that long."""

_CLOCK_SKEW: Final = timedelta(minutes=15)
"""How far the service's clock may be behind ours. An account with a policy on how long accesses last
wants them to say when they begin."""


class SharedAccess:
    """Signs accesses to the objects of one container.

    Args:
        clients: The process's clients.
        account: The account's URL; for an emulator a connection string.
        container: The container's name.
        clock: Decides when a delegation key is too old.
    """

    def __init__(self, clients: AzureClients, account: str, container: str, clock: Clock) -> None:
        self._clients = clients
        self._account = account
        self._container = container
        self._clock = clock
        self._key: UserDelegationKey | None = None
        self._key_ends = datetime.min.replace(tzinfo=clock.now().tzinfo)

    async def signature(self, name: str, permission: str, expires_at: datetime) -> str:
        """The URL query that lets its holder use ``permission`` on one object until ``expires_at``.

        Args:
            name: The object.
            permission: ``c`` to create it, ``r`` to read it.
            expires_at: The end, aware; a week from now at most.

        Raises:
            Unavailable: The service issued no delegation key.
        """
        from azure.storage.blob import generate_blob_sas

        service = self._clients.blob_service(self._account)
        by_key = is_connection_string(self._account)
        return generate_blob_sas(
            service.account_name or "",
            self._container,
            name,
            account_key=service.credential.account_key if by_key else None,
            user_delegation_key=None if by_key else await self._delegation_key(expires_at),
            permission=permission,
            start=self._clock.now() - _CLOCK_SKEW,
            expiry=expires_at,
            protocol="https" if service.primary_endpoint.startswith("https:") else "https,http",
        )

    async def _delegation_key(self, until: datetime) -> UserDelegationKey:
        """The key in use, or a new one where it would end before ``until``."""
        if self._key is None or self._key_ends < until:
            now = self._clock.now()
            starts, ends = now - _CLOCK_SKEW, max(until, now + _KEY_LIFE)

            async def ask(_attempts: Attempts) -> UserDelegationKey:
                service = self._clients.blob_service(self._account)
                return await service.get_user_delegation_key(starts, ends)

            self._key = await call(
                ask, lambda error: classify_http("The object store", error), self._clients.timeouts
            )
            self._key_ends = ends
        return self._key
