"""What routes take as parameters: the services, the caller, where the request came from, the limits.

A dependency is found in the request by a plain call. FastAPI's own dependencies are coroutines, each of
which it solves as it does an endpoint.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, get_args

from fastapi import Request

from functions.api.client_address import client_address
from functions.api.limits import Limits
from shared.access.principal import Origin, Principal
from shared.journal.entries import MAX_USER_AGENT
from shared.wiring.services import Services


@dataclass(frozen=True, slots=True)
class Dependency:
    """Marks a parameter of an endpoint, in its annotation, as found in the request.

    Attributes:
        find: Finds it; what it raises, the endpoint raises.
        headers: The headers that it reads, as parameter objects of the OpenAPI document.
    """

    find: Callable[[Request], Any]
    headers: tuple[Mapping[str, Any], ...] = ()


def with_dependencies(
    endpoint: Callable[..., Any],
) -> tuple[Callable[..., Any], list[Mapping[str, Any]]]:
    """Return an endpoint as FastAPI is to see it, and the headers that its dependencies read.

    It has ``request`` in place of its dependencies.
    """
    signature = inspect.signature(endpoint, eval_str=True)
    others = dict(signature.parameters)
    dependencies = {
        name: mark
        for name, each in signature.parameters.items()
        for mark in get_args(each.annotation)[1:]
        if isinstance(mark, Dependency)
    }
    for name in dependencies:
        del others[name]
    finds = [(name, each.find) for name, each in dependencies.items()]
    takes_request = "request" in others

    @wraps(endpoint)
    async def found(request: Request, **values: Any) -> Any:
        for name, find in finds:
            values[name] = find(request)
        if takes_request:
            values["request"] = request
        return await endpoint(**values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    others["request"] = inspect.Parameter("request", keyword, annotation=Request)
    seen = [each.replace(kind=keyword) for each in others.values()]
    found.__signature__ = signature.replace(parameters=seen)  # type: ignore[attr-defined]
    return found, [header for each in dependencies.values() for header in each.headers]


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


ServicesDep = Annotated[Services, Dependency(services_of)]
PrincipalDep = Annotated[Principal, Dependency(principal_of)]
OriginDep = Annotated[Origin, Dependency(origin_of)]
LimitsDep = Annotated[Limits, Dependency(limits_of)]
