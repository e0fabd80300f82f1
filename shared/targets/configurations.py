"""Configurations of targets: sealed under the tenant's keys, opened to connect."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from shared.base.errors import Damaged
from shared.crypto.metadata import metadata_associated_data, open_metadata, seal_metadata
from shared.keys.epochs import EpochKeys
from shared.ports.clock import Runtime
from shared.targets.models import Target, TargetConfiguration


@dataclass(frozen=True, slots=True)
class SealedConfiguration:
    """A sealed ``TargetConfiguration`` and the id of the epoch whose key seals it."""

    epoch: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class TargetConfigurations:
    """Seals and opens the configurations of targets."""

    epochs: EpochKeys
    environment: str
    runtime: Runtime

    async def seal(
        self, tenant: str, target: str, configuration: TargetConfiguration
    ) -> SealedConfiguration:
        """Seal the configuration of one target."""
        epoch = await self.epochs.current(tenant)
        sealed = seal_metadata(
            epoch.key,
            self._bound_to(tenant, target),
            configuration.with_secrets(),
            self.runtime.random,
        )
        return SealedConfiguration(epoch.id, sealed)

    async def open(self, tenant: str, target: Target) -> TargetConfiguration:
        """The configuration of a target.

        Raises:
            Damaged: It is not what was sealed.
        """
        epoch = await self.epochs.of(tenant, target.epoch)
        opened = open_metadata(epoch.key, self._bound_to(tenant, target.id), target.configuration)
        try:
            return TargetConfiguration.model_validate(opened)
        except ValidationError:
            # Not chained: its message quotes the credentials.
            raise Damaged("The configuration of a target is damaged.") from None

    def _bound_to(self, tenant: str, target: str) -> bytes:
        return metadata_associated_data(self.environment, tenant, "target", target)
