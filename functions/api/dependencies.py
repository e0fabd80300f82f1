"""What routes take as parameters: the services, the caller, where the request came from, the limits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from functions.api.client_address import client_address
from functions.api.limits import Limits
from shared.access.principal import Origin, Principal
from shared.journal.entries import MAX_USER_AGENT
from shared.wiring.services import Services

T = TypeVar("T")


def services_of(request: Request) -> Services:
    """Return the services of the app that takes the request."""
    services: Services = request.app.state.services
    return services


def limits_of(request: Request) -> Limits:
    """Return the rate limits of this process."""
    limits: Limits = request.app.state.limits
    return limits


def principal_of(request: Request) -> Principal:
    """Return the caller, whom the guard has authenticated."""
    principal: Principal = request.state.principal
    return principal


def origin_of(request: Request) -> Origin:
    """Return where a request came from."""
    settings = services_of(request).settings
    return Origin(
        client_address(request, settings.trusted_proxies, settings.client_address_header),
        request.scope["strongroom.traceparent"],
        request.headers.get("user-agent", "")[:MAX_USER_AGENT],
        request.scope["strongroom.request"],
    )


def _dependency(find: Callable[[Request], T]) -> Callable[[Request], Awaitable[T]]:
    """Make a dependency that runs on the event loop; FastAPI would send a plain function to a thread."""

    async def found(request: Request) -> T:
        return find(request)

    return found


ServicesDep = Annotated[Services, Depends(_dependency(services_of))]
PrincipalDep = Annotated[Principal, Depends(_dependency(principal_of))]
OriginDep = Annotated[Origin, Depends(_dependency(origin_of))]
LimitsDep = Annotated[Limits, Depends(_dependency(limits_of))]
