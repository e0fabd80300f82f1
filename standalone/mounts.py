"""What the host serves beside the API."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from functions.api.limits import Limits
from shared.wiring.services import Services

PREFIX: Final = "/staged"


@dataclass
class StagedOnDemand:
    """The ASGI app that takes staged content, imported and made when the first of it comes."""

    services: Services
    limits: Limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        await self._app(scope, receive, send)

    @cached_property
    def _app(self) -> ASGIApp:
        from standalone.staged import create_staged

        return create_staged(self.services, self.limits)
