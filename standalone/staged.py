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
from functions.api.dependencies import OriginDep, ServicesDep, limits_of
from functions.api.digests import stated_digests
from functions.api.guard import GuardedRoute, caller_of, public
from functions.api.limits import Limits
from functions.api.telemetry import NO_TELEMETRY
from shared.base.errors import NotFound, StrongroomError, TokenExpired
from shared.documents.sealing import checked_content
from shared.wiring.services import Services

PREFIX = "/staged"

router = APIRouter(route_class=GuardedRoute)


@router.put(PREFIX + "/{name:path}", status_code=201, response_class=Response)
@public
async def put_content(
    name: Annotated[str, Path(max_length=512)],
    request: Request,
    services: ServicesDep,
    origin: OriginDep,
) -> Response:
    """Take the content of a staged upload."""
    try:
        if services.adapters.verify_grant is None:
            raise NotFound("This server takes no staged content.")
        max_size = services.adapters.verify_grant(name, dict(request.query_params))
        digests = stated_digests(request.headers)
    except StrongroomError as error:
        if not limits_of(request).floods.count(caller_of(request, error), at_limit=False):
            # One that has expired is a grant of ours, which says whose upload it was for.
            ours = isinstance(error, TokenExpired)
            whose = (name.partition("/")[0], name.rpartition("/")[2]) if ours else ()
            await services.uploads.record_refusal(error, origin, *whose)
        raise
    content = checked_content(body_stream(request, max_size), digests)
    await services.uploads.receive(name, max_size, content, origin)
    return Response(status_code=201)


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
