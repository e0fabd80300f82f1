"""Setting up targets: addresses and credentials are tried, places are prepared, recovery keys made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from shared.base.errors import Conflict
from shared.base.streams import single
from shared.crypto.recovery import RecoveryKeys, encrypt_to, make_recovery_keys
from shared.ports.clock import Runtime
from shared.ports.targets import ProbeResult, TargetStore
from shared.targets.connections import TargetConnections
from shared.targets.errors import TargetChangedError, TargetFailedError, TargetUnusableError
from shared.targets.format import MANIFEST_NAME, HolderFile, holder_name
from shared.targets.models import TargetConfiguration
from shared.targets.requests import Recovery


@dataclass(frozen=True, slots=True)
class PreparedTarget:
    """A place that is ready for copies.

    Attributes:
        configuration: With what key files are encrypted to.
        steps: What the probe found.
    """

    configuration: TargetConfiguration
    steps: Sequence[ProbeResult]


@dataclass(slots=True)
class TargetSetup:
    """Tries and prepares targets.

    Attributes:
        connections: Opens them.
        runtime: Randomness for shares.
    """

    connections: TargetConnections
    runtime: Runtime

    async def prepare(
        self, tenant: str, configuration: TargetConfiguration, recovery: Recovery | None
    ) -> PreparedTarget:
        """Probe a new target, and write ``strongroom.json`` and the holders' files there.

        Raises:
            Conflict: The place holds a ``strongroom.json`` already; nothing was written.
            InvalidInput: The address or the credentials cannot be those of a target.
            TargetUnusableError: A step failed.
        """
        async with self.connections.opened(tenant, configuration) as store:
            steps = await self._probed(store)
            with _judged(steps):
                if [info async for info in store.list(MANIFEST_NAME)]:
                    raise Conflict(
                        "There is a strongroom.json at this address; choose an empty prefix. What"
                        " a target was copied to before stays as it is."
                    )
                if recovery is not None:
                    keys = make_recovery_keys(
                        recovery.recipients, recovery.quorum, self.runtime.random
                    )
                    configuration = configuration.model_copy(
                        update={
                            "recipients": keys.recipients,
                            "quorum": recovery.quorum,
                            "holders": len(recovery.recipients),
                        }
                    )
                    await _write_shares(store, recovery, keys)
                environment = self.connections.configurations.sealer.environment
                content = configuration.manifest(environment, tenant).to_json()
                await store.put(MANIFEST_NAME, single(content), len(content))
                await self.connections.check(tenant, configuration, store)
        return PreparedTarget(configuration, steps)

    async def withdraw(self, tenant: str, configuration: TargetConfiguration) -> None:
        """Remove what ``prepare`` has written, as nothing came of it."""
        async with self.connections.opened(tenant, configuration) as store:
            with _judged():
                await store.delete(MANIFEST_NAME)
                if configuration.quorum > 1:
                    for index in range(1, configuration.holders + 1):
                        await store.delete(holder_name(index))

    async def verify(
        self, tenant: str, configuration: TargetConfiguration
    ) -> Sequence[ProbeResult]:
        """Probe a target that was set up before; return the steps, all of which went well.

        Raises:
            InvalidInput: The credentials cannot be those of the target.
            TargetChangedError: They lead to another place.
            TargetUnusableError: A step failed.
        """
        async with self.connections.opened(tenant, configuration) as store:
            steps = await self._probed(store)
            with _judged(steps):
                await self.connections.check(tenant, configuration, store)
        return steps

    async def _probed(self, store: TargetStore) -> Sequence[ProbeResult]:
        with _judged():
            steps = await store.probe()
        failed = next((result for result in steps if not result.ok), None)
        if failed is not None:
            raise TargetUnusableError(f"The step {failed.step} failed: {failed.detail}", steps)
        return steps


@contextmanager
def _judged(steps: Sequence[ProbeResult] = ()) -> Iterator[None]:
    """Let a failure of the target come out as the client's problem, not as the service's."""
    try:
        yield
    except TargetFailedError as failed:
        if isinstance(failed.error, TargetChangedError):
            raise failed.error from None
        raise TargetUnusableError(failed.error.detail, steps) from None


async def _write_shares(store: TargetStore, recovery: Recovery, keys: RecoveryKeys) -> None:
    for holder, share in zip(recovery.recipients, keys.shares, strict=False):
        file = HolderFile(index=share.index, threshold=recovery.quorum, share=share.value)
        content = encrypt_to([holder], file.model_dump_json().encode())
        await store.put(holder_name(share.index), single(content), len(content))
