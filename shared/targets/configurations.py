"""Configurations of targets: sealed under the tenant's keys, opened to connect."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from shared.base.errors import Damaged
from shared.keys.sealing import ConfigurationSealer, SealedConfiguration
from shared.targets.models import Target, TargetConfiguration


@dataclass(frozen=True, slots=True)
class TargetConfigurations:
    """Seals and opens the configurations of targets."""

    sealer: ConfigurationSealer

    async def seal(
        self, tenant: str, target: str, configuration: TargetConfiguration
    ) -> SealedConfiguration:
        """Seal the configuration of one target."""
        return await self.sealer.seal(tenant, target, configuration.with_secrets())

    async def open(self, tenant: str, target: Target) -> TargetConfiguration:
        """The configuration of a target.

        Raises:
            Damaged: It is not what was sealed.
        """
        sealed = SealedConfiguration(target.epoch, target.configuration)
        opened = await self.sealer.open(tenant, target.id, sealed)
        try:
            return TargetConfiguration.model_validate(opened)
        except ValidationError:
            # Not chained: its message quotes the credentials.
            raise Damaged("The configuration of a target is damaged.") from None
