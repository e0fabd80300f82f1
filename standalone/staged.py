"""``PUT /staged/{object}``: takes the content of staged uploads where no storage service does.

An upload grant is all that it needs, and it allows one object, of a limited size, once, until it
expires.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Path, Request, Response
from fastapi.routing import APIRouter

from functions.api import problems
from functions.api.app import add_middlewares
from functions.api.bodies import body_stream
from functions.api.dependencies import OriginDep, ServicesDep, limits_of, origin_of, services_of
from functions.api.digests import stated_digests
from functions.api.guard import GuardedRoute, caller_of, public
from functions.api.limits import Limits
from functions.api.rate_limits import LimitReached
from functions.api.telemetry import NO_TELEMETRY
from shared.base.errors import FAILURES, NotFound, StrongroomError, TokenExpired
from shared.documents.sealing import checked_content
from shared.wiring.services import Services
from standalone.mounts import PREFIX


class StagedRoute(GuardedRoute):
    """The route that takes content: whatever it refuses is in the log of whose upload it is."""

    async def audit(self, request: Request, error: StrongroomError) -> None:
        """Put into the audit log that content was not taken, unless that is there."""
        if error.audited or isinstance(error, (*FAILURES, LimitReached)):
            await super().audit(request, error)
            return
        services, name = services_of(request), request.path_params["name"]
        try:
            _verify(services, name, request)
            ours = True
        except StrongroomError as invalid:
            # One that has expired is a grant of ours, which says whose upload it was for.
            ours = isinstance(invalid, TokenExpired)
        if not limits_of(request).floods.count(caller_of(request, error), at_limit=False):
            whose = (name.partition("/")[0], name.rpartition("/")[2]) if ours else ()
            await services.uploads.record_refusal(error, origin_of(request), *whose)


router = APIRouter(route_class=StagedRoute)


@router.put(PREFIX + "/{name:path}", status_code=201, response_class=Response)
@public
async def put_content(
    name: Annotated[str, Path(max_length=512)],
    request: Request,
    services: ServicesDep,
    origin: OriginDep,
) -> Response:
    """Take the content of a staged upload."""
    max_size = _verify(services, name, request)
    digests = stated_digests(request.headers)
    content = checked_content(body_stream(request, max_size), digests)
    await services.uploads.receive(name, max_size, content, origin)
    return Response(status_code=201)


def _verify(services: Services, name: str, request: Request) -> int:
    """Return how many bytes a grant allows to put under a name."""
    if services.adapters.verify_grant is None:
        raise NotFound("This server takes no staged content.")
    return services.adapters.verify_grant(name, dict(request.query_params))


def create_staged(services: Services, limits: Limits) -> FastAPI:
    """Return the app that takes staged content.

    Args:
        services: The services.
        limits: The limits of this process, shared with the API.
    """
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    app.state.services = services
    app.state.limits = limits
    problems.install(app)
    app.include_router(router)
    add_middlewares(app, services, limits)
    return app
