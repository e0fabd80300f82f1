"""Parts of records that are sealed under the tenant's keys, such as addresses and secrets."""

from __future__ import annotations

from dataclasses import dataclass

from shared.base.models import JsonObject
from shared.crypto.metadata import metadata_associated_data, open_metadata, seal_metadata
from shared.keys.epochs import EpochKeys
from shared.ports.clock import Runtime


@dataclass(frozen=True, slots=True)
class SealedConfiguration:
    """A sealed JSON object and the id of the epoch whose key seals it."""

    epoch: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class ConfigurationSealer:
    """Seals and opens the configurations of one kind of things.

    Attributes:
        epochs: The keys.
        environment: Bound into the encryption.
        kind: Bound into the encryption, as are the thing's tenant and its id.
        runtime: Randomness.
    """

    epochs: EpochKeys
    environment: str
    kind: str
    runtime: Runtime

    async def seal(self, tenant: str, id: str, configuration: JsonObject) -> SealedConfiguration:
        """Seal the configuration of one thing.

        Raises:
            Unavailable: The key vault or the record store does not respond.
        """
        epoch = await self.epochs.current(tenant)
        bound = metadata_associated_data(self.environment, tenant, self.kind, id)
        return SealedConfiguration(
            epoch.id, seal_metadata(epoch.key, bound, configuration, self.runtime.random)
        )

    async def open(self, tenant: str, id: str, configuration: SealedConfiguration) -> JsonObject:
        """The reverse of ``seal``.

        Raises:
            Damaged: It is not what was sealed, or the tenant's keys are gone.
            Unavailable: The key vault or the record store does not respond.
        """
        epoch = await self.epochs.of(tenant, configuration.epoch)
        bound = metadata_associated_data(self.environment, tenant, self.kind, id)
        return open_metadata(epoch.key, bound, configuration.sealed)
