"""ExternalTargets: opens targets, in object stores through one gate, and in folders."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from shared.adapters.external.dialing import Dialer
from shared.adapters.external.endpoints import check_address, check_credentials, endpoint_of
from shared.adapters.external.folder import FolderTarget
from shared.adapters.external.gate import Gate, GateClient
from shared.adapters.external.objects import ObjectTarget
from shared.adapters.external.pacing import Pacer
from shared.adapters.external.probing import probe_network
from shared.adapters.external.stores import store_maker
from shared.base.errors import InvalidInput
from shared.ports.clock import Runtime
from shared.ports.targets import TargetAddress, TargetCredentials, TargetStore


class ExternalTargets:
    """A ``TargetConnector``.

    Args:
        runtime: Time and randomness.
        folders: Below it lie targets of the kind ``folder``; None: there are none.
        dialer: Connects. Only tests have one that reaches other than public hosts.
        certificate: Tests alone: a certificate, PEM, that is trusted besides the machine's own.
    """

    def __init__(
        self,
        runtime: Runtime,
        folders: Path | None,
        *,
        dialer: Dialer | None = None,
        certificate: str = "",
    ) -> None:
        self._runtime = runtime
        self._folders = folders
        self._dialer = dialer or Dialer()
        self._certificate = certificate
        self._gate = Gate(self._dialer, runtime.entropy)

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
        pacer = Pacer(bytes_per_second, self._runtime)
        if address.kind == "folder":
            if self._folders is None:
                raise InvalidInput("This installation has no targets of the kind `folder`.")
            below = (tenant, address.bucket, *address.prefix.split("/")[:-1])
            return FolderTarget(self._folders, below, pacer, self._runtime)
        endpoint = endpoint_of(address, self._dialer)
        return ObjectTarget(
            make=store_maker(address, credentials, endpoint, self._runtime.now, self._certificate),
            gate=GateClient(self._gate, self._runtime.random(8).hex()),
            prefix=address.prefix,
            pacer=pacer,
            probe_network=partial(probe_network, self._dialer, endpoint, self._certificate),
            runtime=self._runtime,
        )

    async def close(self) -> None:
        """See ``TargetConnector.close``."""
        await self._gate.close()
