"""ExternalTargets: opens targets."""

from __future__ import annotations

from pathlib import Path

from shared.adapters.external.endpoints import check_address, check_credentials
from shared.adapters.external.folder import FolderTarget
from shared.adapters.external.pacing import Pacer
from shared.base.errors import InvalidInput
from shared.ports.clock import Runtime
from shared.ports.targets import TargetAddress, TargetCredentials, TargetStore


class ExternalTargets:
    """A ``TargetConnector``.

    Args:
        runtime: Time and randomness.
        folders: Below it lie targets of the kind ``folder``; None: there are none.
    """

    def __init__(self, runtime: Runtime, folders: Path | None) -> None:
        self._runtime = runtime
        self._folders = folders

    def open(
        self,
        tenant: str,
        address: TargetAddress,
        credentials: TargetCredentials,
        *,
        bytes_per_second: int = 0,
    ) -> TargetStore:
        """See ``TargetConnector.open``."""
        check_address(address)
        check_credentials(address.kind, credentials)
        if address.kind != "folder" or self._folders is None:
            raise InvalidInput("This installation has no targets of this kind.")
        below = (tenant, address.bucket, *address.prefix.split("/")[:-1])
        pacer = Pacer(bytes_per_second, self._runtime)
        return FolderTarget(self._folders, below, pacer, self._runtime)

    async def close(self) -> None:
        """See ``TargetConnector.close``."""
